//! Reads an origin, and collects the findings about its keys.

use std::path::Path;

use super::node::{self, Node, Value};
use super::{Finding, ImportedImage, Origin, Outcome, cerebrium, dockerfile, truss};
use crate::error::{ExitCode, Explain};
use crate::matrix::SourceError;

/// Why an origin cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The syntax of the file is invalid.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The file is YAML or TOML of another tool.
    #[error("`{path}` is not {expected}")]
    Kind { path: String, expected: &'static str },
}

impl Explain for ReadError {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Failure
    }

    fn hint(&self) -> Option<String> {
        matches!(self, Self::Kind { .. }).then(|| {
            "pass `--from` a Truss config.yaml, a cerebrium.toml or a Dockerfile".to_owned()
        })
    }
}

/// Reads an origin by its extension: `.yaml` and `.yml` are Truss', `.toml` is Cerebrium's, and everything else is a
/// Dockerfile. `name` is the name of the image if the origin has none.
pub fn read(origin: &Origin, name: &str) -> Result<ImportedImage, ReadError> {
    let kind = |expected| ReadError::Kind { path: origin.path.display().to_string(), expected };
    let mut imported = ImportedImage { name: slug(name), ..ImportedImage::default() };
    match origin.path.extension().and_then(|ending| ending.to_str()) {
        Some("yaml" | "yml") => {
            let node = node::yaml(&origin.path, &origin.text)?;
            let Value::Table(table) = &node.value else {
                return Err(kind("the configuration of a Truss"));
            };
            truss::read(table, &mut imported);
        }
        Some("toml") => {
            let node = node::toml(&origin.path, &origin.text)?;
            let table = match &node.value {
                Value::Table(table) => table.iter().find(|(key, _)| key.name == "cerebrium"),
                _ => None,
            };
            let Some((_, Node { value: Value::Table(_), .. })) = table else {
                return Err(kind(
                    "the configuration of Cerebrium: the table `[cerebrium]` is missing",
                ));
            };
            cerebrium::read(&node, &mut imported);
        }
        _ => dockerfile::read(&origin.path, &origin.text, &mut imported)?,
    }
    Ok(imported)
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

/// Returns the default name of an image: the folder of its origin.
#[must_use]
pub fn name_of(path: &Path) -> String {
    let folder = path.parent().and_then(Path::file_name);
    let name = folder.or_else(|| path.file_stem()).map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_default()
}

/// Collects findings while an origin is read.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) findings: Vec<Finding>,
    /// The prefix of each key, such as `resources.`.
    pub(super) within: String,
}

impl Notes {
    /// Returns all findings in the order of their lines.
    pub(super) fn findings(mut self) -> Vec<Finding> {
        self.findings.sort_by_key(|finding| finding.line);
        self.findings
    }

    pub(super) fn import(&mut self, key: &str, line: usize, to: impl Into<String>) {
        self.note(key, line, Outcome::Imported(to.into()));
    }

    pub(super) fn skip(&mut self, key: &str, line: usize, reason: impl Into<String>) {
        self.note(key, line, Outcome::Skipped(reason.into()));
    }

    fn note(&mut self, key: &str, line: usize, outcome: Outcome) {
        let what = format!("{}{key}", self.within);
        self.findings.push(Finding { line, what, outcome });
    }

    /// Skips a key and all keys below it for the same reason, with one finding for each leaf.
    pub(super) fn skip_all(&mut self, key: &str, line: usize, node: &Node, reason: &str) {
        match &node.value {
            Value::Table(table) if !table.is_empty() => {
                for (inner, node) in table {
                    self.skip_all(&format!("{key}.{}", inner.name), inner.line, node, reason);
                }
            }
            _ => self.skip(key, line, reason),
        }
    }

    /// Returns the text of a node. Skips nodes of other types.
    pub(super) fn text<'n>(&mut self, key: &str, line: usize, node: &'n Node) -> Option<&'n str> {
        let text = node.text();
        if text.is_none() {
            self.skip_all(key, line, node, "it is not a text");
        }
        text
    }

    /// Parses the items of a list, or a single text. Skips the items that `parse` refuses.
    pub(super) fn items(
        &mut self,
        key: &str,
        line: usize,
        node: &Node,
        to: &str,
        parse: impl Fn(&str) -> Result<String, String>,
    ) -> Vec<String> {
        let single = std::slice::from_ref(node);
        let items = match &node.value {
            Value::List(items) => items.as_slice(),
            Value::Scalar(_) => single,
            Value::Null => &[],
            Value::Table(_) => {
                self.skip_all(key, line, node, "it is not a list");
                return Vec::new();
            }
        };
        let mut parsed = Vec::new();
        for item in items {
            match item.text().ok_or_else(|| "it is not a text".to_owned()).and_then(&parse) {
                Ok(text) => parsed.push(text),
                Err(reason) => self.skip(key, item.line, reason),
            }
        }
        match parsed.len() {
            0 if items.is_empty() => self.skip(key, line, "it is empty"),
            0 => {}
            1 => self.import(key, line, to),
            count => self.import(key, line, format!("{to} ({count})")),
        }
        parsed
    }
}

/// Generates a requirement file for an image. Returns its path below the templates' folder.
pub(super) fn requirements_file(imported: &mut ImportedImage, lines: &[String]) -> String {
    let named = |name: &str| format!("{}/{name}.txt", imported.name);
    let is_copied = imported.copies.iter().any(|(_, to)| *to == named("requirements"));
    let file = if is_copied { named("dependencies") } else { named("requirements") };
    imported.files.push((file.clone(), lines.join("\n") + "\n"));
    file
}

/// Parses a path in an origin, relative to its folder.
pub(super) fn path(text: &str) -> Result<String, String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn imported(path: &str, text: &str) -> ImportedImage {
        let origin = Origin { path: path.into(), text: text.to_owned() };
        read(&origin, "My Model!").expect(text)
    }

    #[test]
    fn the_python_of_the_base_image_wins() {
        let truss =
            imported("c.yaml", "python_version: py310\nbase_image: {image: 'python:3.11-slim'}\n");
        assert_eq!((truss.name.as_str(), truss.pythons), ("my-model", vec!["3.11".to_owned()]));
        assert!(truss.template.contains("FROM python:{{python}}-slim\n"), "{}", truss.template);
        let text = "[cerebrium.deployment]\npython_version = 3.10\ndocker_base_image_url = \"python:3.11\"\n";
        assert_eq!(imported("c.toml", text).pythons, ["3.11"]);
        // Without a base image, the key counts.
        assert_eq!(imported("c.yaml", "python_version: py313\n").pythons, ["3.13"]);
    }

    #[test]
    fn every_leaf_has_a_finding() {
        let text = "a: 1\nresources: {cpu: 1, memory: {x: 2}}\nmodel_metadata: {}\nsecrets: []\nrequirements:\n";
        let truss = imported("c.yaml", text);
        let notes: Vec<&str> = truss.findings.iter().map(|finding| &*finding.what).collect();
        let expected = [
            "a",
            "resources.cpu",
            "resources.memory.x",
            "model_metadata",
            "secrets",
            "requirements",
        ];
        assert_eq!(notes, expected);
    }
}
