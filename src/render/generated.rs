//! Generates Dockerfiles from the contents in the matrix file.
//!
//! [`Generator::dockerfile`] writes the Dockerfile of a variant without a template, and [`Generator::part`] the part of it
//! that a template includes. Steps are ordered by how often they change: those of all images come first, then those that
//! a value of an axis, a `[[set]]` or an `[[extra]]` adds. Installed files get a fixed time, so that equal packages give
//! equal layers. Errors are faults of the matrix file, or of a file that it names.

mod apt;
mod commands;
mod conda;
mod libraries;
mod pip;
mod requirements;
mod script;
mod tools;

pub(super) use script::Script;

use crate::matrix::{
    Contents, Diagnostic, FactSource, Matrix, PackageManager, SourceError, Text, is_image_call,
};

/// Gives the files that a step installs the first time that a zip file can store. [`Run::begin`](script::Run::begin)
/// creates the file before.
const FIXED_TIME: &str = "find /etc /opt /usr /var -xdev -newer /tmp/before\n\
                          -exec touch --no-dereference --date=1980-01-01T00:00:00Z {} +";

/// Explains the end of each step that installs packages.
const EQUAL_LAYERS: &str = "Installed files get a fixed time, and logs are removed, so that equal packages are equal layers.";

/// The parts of a generated Dockerfile that templates can include, unless the repository has a partial of that name.
pub(super) const PARTS: [&str; 9] = [
    "package_tools",
    "pre_build_commands",
    "packages",
    "apt",
    "conda",
    "pip",
    "files",
    "shell_commands",
    "configuration",
];

/// Reads a file of the build context. An error is the reason without the path.
pub(super) type ReadFile<'a> = &'a dyn Fn(&str) -> Result<String, String>;

/// Generates the Dockerfile of one variant.
pub(super) struct Generator<'a> {
    pub(super) matrix: &'a Matrix,
    pub(super) contents: &'a Contents<'a>,
    /// The architectures of the variant, as in `TARGETARCH`.
    pub(super) architectures: Vec<&'a str>,
    pub(super) read: ReadFile<'a>,
}

impl Generator<'_> {
    /// Generates the whole Dockerfile.
    pub(super) fn dockerfile(&self) -> Result<Script, SourceError> {
        let tools = self.part("package_tools")?;
        let is_alone = tools.text.is_empty();
        let mut script = Script::default();
        if PackageManager::ALL.iter().any(|manager| !self.contents.packages(*manager).is_empty()) {
            script.comment(EQUAL_LAYERS);
        }
        script.append(tools);
        let mut image = Script::default();
        if !is_alone {
            image.comment("The image.");
        }
        let base = &self.contents.base;
        if !is_image(base) && !is_image_call(base) {
            let message = format!("`{}` is not the name of an image", base.escape_debug());
            return Err(self.error(base, message));
        }
        image.line(&format!("FROM {}", **base), &base.span());
        script.append(image);
        for part in ["pre_build_commands", "packages", "files", "shell_commands", "configuration"] {
            script.append(self.part(part)?);
        }
        Ok(script)
    }

    /// Generates a part of [`PARTS`].
    pub(super) fn part(&self, name: &str) -> Result<Script, SourceError> {
        Ok(match name {
            "package_tools" => self.package_tools()?,
            "pre_build_commands" => {
                let mut script = self.programs()?;
                script.append(self.pre_build_commands());
                script
            }
            "packages" => {
                let mut script = self.apt()?;
                script.append(self.conda()?);
                script.append(self.pip()?);
                script
            }
            "apt" => self.apt()?,
            "conda" => self.conda()?,
            "pip" => self.pip()?,
            "files" => self.files()?,
            "shell_commands" => self.shell_commands(),
            "configuration" => self.configuration()?,
            _ => Script::default(),
        })
    }

    fn error(&self, place: &Text, message: impl Into<String>) -> SourceError {
        self.fault(Diagnostic::new(place.span(), message, ""))
    }

    /// Returns a fault of the matrix file.
    fn fault(&self, diagnostic: Diagnostic) -> SourceError {
        SourceError::new(&self.matrix.source, vec![diagnostic])
    }

    fn has_certificates(&self) -> bool {
        self.matrix.build.ca_certificates.is_some()
    }
}

/// Returns the comment before a layer of packages. The first needs no reason.
fn more(what: &str, number: usize, source: &FactSource<'_>) -> String {
    let axes = source.axes().join("`, `");
    match (number, source) {
        (0, FactSource::Base) => format!("{what}."),
        (_, FactSource::Axis(_) | FactSource::Set { .. }) if !axes.is_empty() => {
            format!("{what} for this `{axes}`.")
        }
        _ => format!("{what} for this image."),
    }
}

/// Returns true for one word that can name an image in a `FROM`.
fn is_image(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "._/:@-".contains(c))
}

#[cfg(test)]
mod tests;
