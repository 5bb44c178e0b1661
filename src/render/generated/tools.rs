//! The programs that install packages: stages of the Dockerfile, and programs that the base image may lack.

use super::Generator;
use super::commands::calls;
use super::script::Script;
use crate::matrix::{Diagnostic, PackageItem, SourceError, Tool};

/// Programs that commands call and whose Debian package has the same name.
const CALLED: [&str; 3] = ["curl", "git", "wget"];

impl Generator<'_> {
    /// The stages from which steps mount uv and micromamba.
    pub(super) fn package_tools(&self) -> Result<Script, SourceError> {
        let mut script = Script::default();
        if self.has_python_packages() {
            script.append(self.uv());
        }
        if !self.contents.libraries.is_empty() {
            script.append(self.libraries_stage()?);
        }
        if !self.contents.conda.is_empty() {
            script.append(self.micromamba()?);
        }
        Ok(script)
    }

    fn has_python_packages(&self) -> bool {
        !self.contents.pip.is_empty() || !self.contents.libraries.is_empty()
    }

    pub(super) fn tool(&self, name: &str) -> &[Tool] {
        self.matrix.build.tools.get(name).map_or(&[], Vec::as_slice)
    }

    fn micromamba(&self) -> Result<Script, SourceError> {
        let tools = self.tool("micromamba");
        let has = |architecture: &str| {
            tools.iter().any(|tool| tool.platform.architecture() == architecture)
        };
        if let Some(missing) = self.architectures.iter().find(|architecture| !has(architecture)) {
            let mut items = self.contents.conda.iter().flat_map(|layer| &layer.items);
            let place = items.find_map(PackageItem::text).unwrap_or(&self.contents.base);
            let message = format!("conda packages for linux/{missing} need micromamba");
            let help = format!(
                "add it: `[build.tools.micromamba]`, `\"linux/{missing}\" = {{ url = \"…\", sha256 = \"…\" }}`"
            );
            return Err(self.fault(Diagnostic::new(place.span(), message, "").help(help)));
        }
        Ok(self.downloaded(
            "micromamba",
            "micromamba, which installs conda packages. Only build steps use it.",
        ))
    }

    /// A stage with a program from a URL, for the architecture of the image.
    pub(super) fn downloaded(&self, name: &str, comment: &str) -> Script {
        let mut script = Script::default();
        script.comment(comment);
        let used = self.tool(name).iter().filter(|tool| {
            self.architectures.iter().any(|used| tool.platform.architecture() == *used)
        });
        let used: Vec<&Tool> = used.collect();
        for tool in &used {
            let stage = match used.len() {
                1 => name.to_owned(),
                _ => format!("{name}-{}", tool.platform.architecture()),
            };
            script.line(&format!("FROM scratch AS {stage}"), &tool.url.span());
            let add =
                format!("ADD --checksum=sha256:{} --chmod=755 {} /{name}", tool.sha256, *tool.url);
            script.line(&add, &tool.url.span());
        }
        if used.len() > 1 {
            script.line(&format!("FROM {name}-$TARGETARCH AS {name}"), &(0..0));
        }
        script
    }

    /// Returns the programs that steps call and that may be missing in the base image.
    pub(super) fn missing_programs(&self) -> Result<Vec<&'static str>, SourceError> {
        let mut installed: Vec<String> = Vec::new();
        for item in self.contents.apt.iter().flat_map(|layer| &layer.items) {
            match item {
                PackageItem::Package(package) => installed.push(package.to_string()),
                PackageItem::File(path) => installed.extend(self.packages_in(path)?),
                PackageItem::Option { .. } => {}
            }
        }
        let is_installed =
            |name: &str| installed.iter().any(|package| package.split('=').next() == Some(name));
        let called = |commands: &[crate::matrix::Text], program: &str| {
            commands.iter().any(|command| calls(command, program))
        };
        let pip = self.contents.pip.iter().flat_map(|layer| &layer.items);
        let has_repository = pip.filter_map(PackageItem::text).any(|text| text.contains("git+"));
        let mut programs = Vec::new();
        for program in CALLED {
            let is_early = called(&self.contents.pre_build_commands, program);
            let is_late = called(&self.contents.shell_commands, program)
                || (program == "git" && has_repository);
            if is_early || (is_late && !is_installed(program)) {
                programs.push(program);
            }
        }
        if self.has_python_packages() && !self.has_python() && !is_installed("python3") {
            programs.push("python3");
        }
        Ok(programs)
    }

    /// Returns true if the base image or conda has Python for sure.
    fn has_python(&self) -> bool {
        let base = self.contents.base.split([':', '@']).next().unwrap_or_default();
        let is_python_image = base.rsplit('/').next().is_some_and(|name| name.contains("python"));
        let mut conda = self.contents.conda.iter().flat_map(|layer| &layer.items);
        is_python_image
            || self.python_option().is_some()
            || conda.any(|item| match item {
                PackageItem::Package(package) => package.starts_with("python"),
                // An environment file usually has a version of Python.
                PackageItem::File(_) => true,
                PackageItem::Option { .. } => false,
            })
    }
}
