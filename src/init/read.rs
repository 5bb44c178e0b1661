//! Reads what a repository is begun from.

use std::path::Path;

use super::node::{self, Node, Value};
use super::{Finding, Origin, Outcome, Wish, cerebrium, dockerfile, truss};
use crate::error::{ExitCode, Explain};
use crate::matrix::SourceError;

/// Why an origin cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is not what its ending says.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// It is YAML or TOML, but neither tool's.
    #[error("`{path}` is no {what}")]
    Kind {
        /// Its path.
        path: String,
        /// What it should be by its ending.
        what: &'static str,
    },
}

impl Explain for ReadError {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Failure
    }

    fn hint(&self) -> Option<String> {
        matches!(self, Self::Kind { .. }).then(|| {
            "`--from` takes Truss' config.yaml, a cerebrium.toml, or a Dockerfile".to_owned()
        })
    }
}

/// Reads an origin by its ending: `.yaml` and `.yml` are Truss', `.toml` is Cerebrium's,
/// everything else is a Dockerfile. `name` is what its image is called where it does not say.
pub fn read(origin: &Origin, name: &str) -> Result<Wish, ReadError> {
    let kind = |what| ReadError::Kind { path: origin.path.display().to_string(), what };
    let mut wish = Wish { name: slug(name), ..Wish::default() };
    match origin.path.extension().and_then(|ending| ending.to_str()) {
        Some("yaml" | "yml") => {
            let node = node::yaml(&origin.path, &origin.text)?;
            let Value::Table(table) = &node.value else {
                return Err(kind("configuration of a Truss"));
            };
            truss::read(table, &mut wish);
        }
        Some("toml") => {
            let node = node::toml(&origin.path, &origin.text)?;
            let table = match &node.value {
                Value::Table(table) => table.iter().find(|(key, _)| key.name == "cerebrium"),
                _ => None,
            };
            let Some((_, Node { value: Value::Table(_), .. })) = table else {
                return Err(kind("configuration of Cerebrium: it has no `[cerebrium]`"));
            };
            cerebrium::read(&node, &mut wish);
        }
        _ => dockerfile::read(&origin.path, &origin.text, &mut wish)?,
    }
    Ok(wish)
}

/// `text` as an axis' value, and a part of a repository's name.
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
        // The folder of the partials is called so.
        "" | "partials" => "image".to_owned(),
        slug => slug.to_owned(),
    }
}

/// The name of an image where its origin has none: that of the folder that it is in.
#[must_use]
pub fn name_of(path: &Path) -> String {
    let folder = path.parent().and_then(Path::file_name);
    let name = folder.or_else(|| path.file_stem()).map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_default()
}

/// The two lists while an origin is read.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) findings: Vec<Finding>,
    /// What stands before each key: `resources.`.
    pub(super) within: String,
}

impl Notes {
    /// All notes, in the order of their lines.
    pub(super) fn findings(mut self) -> Vec<Finding> {
        self.findings.sort_by_key(|finding| finding.line);
        self.findings
    }

    pub(super) fn taken(&mut self, key: &str, line: usize, to: impl Into<String>) {
        self.note(key, line, Outcome::Taken(to.into()));
    }

    pub(super) fn left(&mut self, key: &str, line: usize, reason: impl Into<String>) {
        self.note(key, line, Outcome::Left(reason.into()));
    }

    fn note(&mut self, key: &str, line: usize, outcome: Outcome) {
        let what = format!("{}{key}", self.within);
        self.findings.push(Finding { line, what, outcome });
    }

    /// Leaves a key and all that is in it, each with the same reason: one note for each leaf.
    pub(super) fn leave(&mut self, key: &str, line: usize, node: &Node, reason: &str) {
        match &node.value {
            Value::Table(table) if !table.is_empty() => {
                for (inner, node) in table {
                    self.leave(&format!("{key}.{}", inner.name), inner.line, node, reason);
                }
            }
            _ => self.left(key, line, reason),
        }
    }

    /// The text of a node; a node that has none is left.
    pub(super) fn text<'n>(&mut self, key: &str, line: usize, node: &'n Node) -> Option<&'n str> {
        let text = node.text();
        if text.is_none() {
            self.leave(key, line, node, "it is no text");
        }
        text
    }

    /// The entries of a list that `parse` takes; of a single text, it alone. The others are left.
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
                self.leave(key, line, node, "it is no list");
                return Vec::new();
            }
        };
        let mut taken = Vec::new();
        for item in items {
            match item.text().ok_or_else(|| "it is no text".to_owned()).and_then(&parse) {
                Ok(text) => taken.push(text),
                Err(reason) => self.left(key, item.line, reason),
            }
        }
        match taken.len() {
            0 if items.is_empty() => self.left(key, line, "it is empty"),
            0 => {}
            1 => self.taken(key, line, to),
            count => self.taken(key, line, format!("{to} ({count})")),
        }
        taken
    }
}

/// Makes a file of pip's requirements for an image, and gives its path below the templates'
/// folder.
pub(super) fn requirements_file(wish: &mut Wish, lines: &[String]) -> String {
    let named = |name: &str| format!("{}/{name}.txt", wish.name);
    // Beside a copied file of that name.
    let is_taken = wish.copies.iter().any(|(_, to)| *to == named("requirements"));
    let file = if is_taken { named("dependencies") } else { named("requirements") };
    wish.files.push((file.clone(), lines.join("\n") + "\n"));
    file
}

/// A path in an origin, relative to its folder.
pub(super) fn path(text: &str) -> Result<String, String> {
    let parts: Vec<&str> =
        text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if text.starts_with('/') || parts.contains(&"..") || text.contains('\\') || parts.is_empty() {
        return Err(format!("`{}` is not below its folder", text.escape_debug()));
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-+@/".contains(c);
    match text.chars().all(is_plain) && !parts[0].starts_with('-') {
        true => Ok(parts.join("/")),
        false => Err(format!("`{}` is no plain path", text.escape_debug())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(path: &str, text: &str) -> Wish {
        let origin = Origin { path: path.into(), text: text.to_owned() };
        read(&origin, "My Model!").expect(text)
    }

    #[test]
    fn the_tag_of_a_base_has_the_last_word_on_python() {
        let truss =
            wish("c.yaml", "python_version: py310\nbase_image: {image: 'python:3.11-slim'}\n");
        assert_eq!((truss.name.as_str(), truss.pythons), ("my-model", vec!["3.11".to_owned()]));
        assert!(truss.template.contains("FROM python:{{python}}-slim\n"), "{}", truss.template);
        let text = "[cerebrium.deployment]\npython_version = 3.10\ndocker_base_image_url = \"python:3.11\"\n";
        assert_eq!(wish("c.toml", text).pythons, ["3.11"]);
        // Without a base, the key is all there is.
        assert_eq!(wish("c.yaml", "python_version: py313\n").pythons, ["3.13"]);
    }

    #[test]
    fn every_leaf_has_a_note() {
        let text = "a: 1\nresources: {cpu: 1, memory: {x: 2}}\nmodel_metadata: {}\nsecrets: []\nrequirements:\n";
        let truss = wish("c.yaml", text);
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
