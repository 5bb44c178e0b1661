//! Collects the parts of an image while a configuration is read, and a finding for each of its keys.

use super::literal::command;
use super::node::{Node, Value};
use super::template::{COMMAND, Parts, is_python, start};
use super::{Finding, ImportedImage, Outcome};

/// A key whose value is not a table with entries.
pub(super) struct Leaf<'n> {
    /// The names of the tables that contain the key, and its own.
    pub(super) path: Vec<&'n str>,
    pub(super) line: usize,
    pub(super) node: &'n Node,
}

/// Returns all leaves of a configuration in the order of the file.
pub(super) fn leaves(root: &Node) -> Vec<Leaf<'_>> {
    let mut leaves = Vec::new();
    collect(root, &[], &mut leaves);
    leaves
}

fn collect<'n>(node: &'n Node, within: &[&'n str], leaves: &mut Vec<Leaf<'n>>) {
    let Value::Table(table) = &node.value else { return };
    for (key, node) in table {
        let path = [within, &[key.name.as_str()]].concat();
        if matches!(node.value, Value::Table(_)) && !node.is_empty() {
            collect(node, &path, leaves);
        } else {
            leaves.push(Leaf { path, line: key.line, node });
        }
    }
}

/// The findings about the keys or instructions of an origin.
#[derive(Default)]
pub(super) struct Notes(Vec<Finding>);

impl Notes {
    /// Returns all findings in the order of their lines.
    pub(super) fn findings(mut self) -> Vec<Finding> {
        self.0.sort_by_key(|finding| finding.line);
        self.0
    }

    pub(super) fn import(&mut self, what: &str, line: usize, to: impl Into<String>) {
        self.0.push(Finding { line, what: what.to_owned(), outcome: Outcome::Imported(to.into()) });
    }

    pub(super) fn skip(&mut self, what: &str, line: usize, reason: impl Into<String>) {
        let outcome = Outcome::Skipped(reason.into());
        self.0.push(Finding { line, what: what.to_owned(), outcome });
    }
}

/// Reads the leaves of a configuration. A key that cannot be imported is skipped with its reason.
pub(super) struct Reader<'a> {
    notes: Notes,
    pub(super) imported: &'a mut ImportedImage,
    pub(super) parts: Parts,
    /// The lines of the generated requirement file.
    pub(super) requirements: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(imported: &'a mut ImportedImage) -> Self {
        let (notes, parts) = (Notes::default(), Parts::default());
        Self { notes, imported, parts, requirements: Vec::new() }
    }

    pub(super) fn finish(self) {
        let Self { notes, imported, mut parts, requirements } = self;
        if !requirements.is_empty() {
            parts.requirements.push(requirements_file(imported, &requirements));
        }
        imported.gpu = parts.gpu;
        imported.template = parts.template();
        imported.findings = notes.findings();
    }

    pub(super) fn import(&mut self, leaf: &Leaf<'_>, to: impl Into<String>) {
        self.notes.import(&leaf.path.join("."), leaf.line, to);
    }

    pub(super) fn skip(&mut self, leaf: &Leaf<'_>, reason: impl Into<String>) {
        self.notes.skip(&leaf.path.join("."), leaf.line, reason);
    }

    /// Parses the text of a leaf.
    pub(super) fn parse<T>(
        &mut self,
        leaf: &Leaf<'_>,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let parsed = leaf.node.text().ok_or_else(|| "it is not a text".to_owned()).and_then(parse);
        parsed.map_err(|reason| self.skip(leaf, reason)).ok()
    }

    /// Parses the text of a leaf, and notes that it was imported `to` a place.
    pub(super) fn take<T>(
        &mut self,
        leaf: &Leaf<'_>,
        to: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let parsed = self.parse(leaf, parse)?;
        self.import(leaf, to);
        Some(parsed)
    }

    /// Parses the items of a list, or a single text. Skips the items that `parse` refuses.
    pub(super) fn items(
        &mut self,
        leaf: &Leaf<'_>,
        to: &str,
        parse: impl Fn(&str) -> Result<String, String>,
    ) -> Vec<String> {
        let items = match &leaf.node.value {
            Value::List(items) => items.as_slice(),
            Value::Scalar(_) => std::slice::from_ref(leaf.node),
            Value::Null => &[],
            Value::Table(_) => {
                self.skip(leaf, "it is not a list");
                return Vec::new();
            }
        };
        let mut parsed = Vec::new();
        for item in items {
            match item.text().ok_or_else(|| "it is not a text".to_owned()).and_then(&parse) {
                Ok(text) => parsed.push(text),
                Err(reason) => self.notes.skip(&leaf.path.join("."), item.line, reason),
            }
        }
        match parsed.len() {
            0 if items.is_empty() => self.skip(leaf, "it is empty"),
            0 => {}
            1 => self.import(leaf, to),
            count => self.import(leaf, format!("{to} ({count})")),
        }
        parsed
    }

    pub(super) fn name(&mut self, leaf: &Leaf<'_>) {
        if let Some(name) = self.take(leaf, "the name of the image", |text| Ok(slug(text))) {
            self.imported.name = name;
        }
    }

    pub(super) fn commands(&mut self, leaf: &Leaf<'_>, to: &str) -> Vec<String> {
        self.items(leaf, to, command)
    }

    /// Makes `version` the value of the axis `python`.
    pub(super) fn python(&mut self, leaf: &Leaf<'_>, version: &str) {
        if is_python(version) {
            self.import(leaf, format!("axis `python`: {version}"));
            self.imported.pythons = vec![version.to_owned()];
        } else {
            let text = leaf.node.text().unwrap_or_default().escape_debug();
            self.skip(leaf, format!("`{text}` is not a Python version"));
        }
    }

    /// Copies a file. Returns its path below the templates' folder.
    pub(super) fn file(&mut self, leaf: &Leaf<'_>) -> Option<String> {
        let from = self.parse(leaf, path)?;
        let to = format!("{}/{from}", self.imported.name);
        self.import(leaf, format!("dockerfiles/{to}, a copy"));
        self.imported.copies.push((from, to.clone()));
        Some(to)
    }

    /// Copies a file of pip requirements.
    pub(super) fn requirements_file(&mut self, leaf: &Leaf<'_>) {
        let file = self.file(leaf);
        self.parts.requirements.extend(file);
    }

    /// Reads the command of containers.
    pub(super) fn start(&mut self, leaf: &Leaf<'_>) {
        self.parts.start = self.take(leaf, COMMAND, start);
    }

    pub(super) fn port(&mut self, leaf: &Leaf<'_>) {
        let port =
            self.parse(leaf, |text| text.parse::<u16>().map_err(|_| "it is not a port".to_owned()));
        if let Some(port) = port {
            self.import(leaf, format!("`EXPOSE {port}`"));
            self.parts.port = Some(port);
        }
    }

    /// Adds the axis `gpu` if `is_requested` and the base image permits it.
    pub(super) fn gpu(&mut self, leaf: &Leaf<'_>, is_requested: bool) {
        if !is_requested {
            self.skip(leaf, "no GPU is requested");
        } else if self.parts.base.is_debian_python() {
            self.import(
                leaf,
                "axis `gpu`: with and without; remove `false` to build only GPU images",
            );
            self.parts.gpu = true;
        } else {
            self.skip(leaf, "the base image is not modified: choose one that has CUDA");
        }
    }
}

/// Converts `text` to a valid value of an axis and part of a repository name.
pub(super) fn slug(text: &str) -> String {
    let mut slug = String::new();
    for character in text.chars() {
        match character.to_ascii_lowercase() {
            c if c.is_ascii_alphanumeric() => slug.push(c),
            _ if !slug.ends_with('-') && !slug.is_empty() => slug.push('-'),
            _ => {}
        }
    }
    match slug.trim_end_matches('-') {
        // `partials` is the folder of the partial templates.
        "" | "partials" => "image".to_owned(),
        slug => slug.to_owned(),
    }
}

/// Generates a requirement file for an image. Returns its path below the templates' folder.
fn requirements_file(imported: &mut ImportedImage, lines: &[String]) -> String {
    let named = |name: &str| format!("{}/{name}.txt", imported.name);
    let is_copied = imported.copies.iter().any(|(_, to)| *to == named("requirements"));
    let file = if is_copied { named("dependencies") } else { named("requirements") };
    imported.files.push((file.clone(), lines.join("\n") + "\n"));
    file
}

/// Parses a path in an origin, relative to its folder.
fn path(text: &str) -> Result<String, String> {
    let parts: Vec<&str> =
        text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if text.starts_with('/') || parts.contains(&"..") || text.contains('\\') || parts.is_empty() {
        return Err(format!("`{}` is outside of its folder", text.escape_debug()));
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-+@/".contains(c);
    if text.chars().all(is_plain) && !parts[0].starts_with('-') {
        Ok(parts.join("/"))
    } else {
        Err(format!("`{}` has unsupported characters", text.escape_debug()))
    }
}
