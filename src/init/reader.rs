//! Maps the keys of a configuration to those of the matrix file, with a finding for each.

use std::path::Path;

use toml::Value as Toml;

use super::base::is_python;
use super::credentials::{refuse_in_command, refuse_in_variable};
use super::{ImportedImage, PATHS, Python};
use crate::matrix::{self, Content, Diagnostic, Node, SourceError, SourceFile, did_you_mean};
use crate::render::check_path;

/// A key whose value is not a table with entries.
pub(super) struct Leaf<'n> {
    /// The names of the tables that contain the key, and its own.
    pub(super) path: Vec<&'n str>,
    pub(super) line: usize,
    pub(super) node: &'n Node,
}

impl Leaf<'_> {
    /// Returns the key itself.
    pub(super) fn name(&self) -> &str {
        self.path.last().copied().unwrap_or_default()
    }
}

/// What becomes of a key.
pub(super) type Action = fn(&mut Reader<'_>, &Leaf<'_>);

/// The keys of a format in the order in which they are read, each with its path. In a path, `*` is any key, and a final
/// `**` any keys.
pub(super) type Keys = [(&'static [&'static str], Action)];

/// What becomes of conda packages: no release of micromamba is built into basegen.
const NEEDS_MICROMAMBA: &str =
    "is a comment in matrix.toml until you fill in the URL and the SHA-256 of micromamba there";

/// The channel of conda packages, which a configuration does not name.
const CHANNEL: &str = "conda-forge";

/// Reads the keys of a configuration.
pub(super) struct Reader<'a> {
    source: &'a SourceFile,
    pub(super) root: &'a Node,
    /// The files that do not exist.
    missing: Vec<Diagnostic>,
    pub(super) imported: &'a mut ImportedImage,
}

/// Reads all keys of `root`. A file that does not exist is an error.
pub(super) fn read(
    source: &SourceFile,
    root: &Node,
    keys: &Keys,
    imported: &mut ImportedImage,
) -> Result<(), SourceError> {
    let mut reader = Reader { source, root, missing: Vec::new(), imported };
    let mut leaves = Vec::new();
    collect(source, root, &[], &mut leaves);
    for (path, action) in keys {
        let (found, others): (Vec<_>, Vec<_>) =
            leaves.into_iter().partition(|leaf| matches(&leaf.path, path));
        for leaf in &found {
            action(&mut reader, leaf);
        }
        leaves = others;
    }
    for leaf in &leaves {
        let reason = unknown(leaf, keys);
        reader.leave_out(leaf, reason);
    }
    reader.finish()
}

fn collect<'n>(
    source: &SourceFile,
    node: &'n Node,
    within: &[&'n str],
    leaves: &mut Vec<Leaf<'n>>,
) {
    for (key, node) in node.entries().unwrap_or_default() {
        let path = [within, &[key.name.as_str()]].concat();
        if node.entries().is_some_and(|entries| !entries.is_empty()) {
            collect(source, node, &path, leaves);
        } else {
            leaves.push(Leaf { path, line: source.line(key.span.start), node });
        }
    }
}

fn matches(path: &[&str], pattern: &[&str]) -> bool {
    match pattern.split_last() {
        Some((&"**", begin)) => path.len() >= begin.len() && is_same(&path[..begin.len()], begin),
        _ => path.len() == pattern.len() && is_same(path, pattern),
    }
}

fn is_same(path: &[&str], pattern: &[&str]) -> bool {
    path.iter().zip(pattern).all(|(name, wanted)| name == wanted || *wanted == "*")
}

/// Explains why a key is in none of `keys`.
fn unknown(leaf: &Leaf<'_>, keys: &Keys) -> String {
    let path = leaf.path.as_slice();
    let is_within = |(pattern, _): &&(&[&str], Action)| {
        pattern.len() < path.len() && is_same(&path[..pattern.len()], pattern)
    };
    if keys.iter().any(|key| is_within(&key)) {
        return "a table is not allowed here".to_owned();
    }
    let is_above = |(pattern, _): &&(&[&str], Action)| {
        pattern.len() > path.len() && is_same(path, &pattern[..path.len()])
    };
    if keys.iter().any(|key| is_above(&key)) {
        let is_empty = leaf.node.is_empty();
        return if is_empty { "it is empty" } else { "it is not a table" }.to_owned();
    }
    // The first name that no key has, and those that it could have been.
    let known = |depth: usize| {
        let similar = keys.iter().map(|(pattern, _)| pattern);
        let similar = similar.filter(move |pattern| {
            pattern.len() > depth && is_same(&path[..depth], &pattern[..depth])
        });
        similar.map(move |pattern| pattern[depth]).filter(|name| !name.starts_with('*'))
    };
    let depth = (0..path.len()).find(|depth| known(*depth).all(|name| name != path[*depth]));
    let depth = depth.unwrap_or(path.len() - 1);
    unknown_key(path[depth], known(depth))
}

/// Explains that a key is unknown, with the known one that it most likely misspells.
pub(super) fn unknown_key<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    match did_you_mean(name, known) {
        Some(suggestion) => format!("basegen does not know this key; {suggestion}"),
        None => "basegen does not know this key".to_owned(),
    }
}

impl Reader<'_> {
    fn finish(self) -> Result<(), SourceError> {
        // One file needs neither an array nor a table.
        for manager in ["apt", "conda", "pip"] {
            let file = match self.imported.settings.get(manager) {
                Some(Toml::Array(items)) => match items.as_slice() {
                    [Toml::String(only)] => only.strip_prefix("-r ").map(str::to_owned),
                    _ => None,
                },
                Some(Toml::Table(table)) if table.len() == 1 => {
                    table.get("-r").and_then(Toml::as_str).map(str::to_owned)
                }
                _ => None,
            };
            if let Some(file) = file {
                self.imported.settings.insert(manager.to_owned(), Toml::String(file));
            }
        }
        if self.missing.is_empty() {
            Ok(())
        } else {
            Err(SourceError::new(self.source, self.missing))
        }
    }

    pub(super) fn import(&mut self, leaf: &Leaf<'_>, to: impl Into<String>) {
        self.imported.import(&leaf.path.join("."), leaf.line, to);
    }

    pub(super) fn leave_out(&mut self, leaf: &Leaf<'_>, reason: impl Into<String>) {
        self.imported.leave_out(&leaf.path.join("."), leaf.line, reason);
    }

    /// Notes a key that describes something other than an image.
    pub(super) fn skip(&mut self, leaf: &Leaf<'_>, reason: &str) {
        self.imported.skip(&leaf.path.join("."), leaf.line, reason);
    }

    /// Returns the text of a leaf, or leaves it out.
    pub(super) fn text<'n>(&mut self, leaf: &Leaf<'n>) -> Option<&'n str> {
        let text = leaf.node.text();
        if text.is_none() {
            let is_empty = leaf.node.is_empty();
            self.leave_out(leaf, if is_empty { "it is empty" } else { "it is not a text" });
        }
        text
    }

    /// Imports a setting, unless the matrix file refuses it.
    pub(super) fn set(&mut self, leaf: &Leaf<'_>, key: &str, value: impl Into<Toml>) {
        self.try_set(leaf, key, value.into(), &format!("`{key}`"));
    }

    fn try_set(&mut self, leaf: &Leaf<'_>, key: &str, value: Toml, to: &str) {
        if let Some(reason) = self.refuse(key, &value) {
            return self.leave_out(leaf, reason);
        }
        self.import(leaf, to);
        self.imported.settings.insert(key.to_owned(), value);
    }

    /// Returns true if the image is copied and not built.
    pub(super) fn is_mirrored(&self) -> bool {
        self.imported.settings.contains_key("mirror")
    }

    /// Returns why the image cannot have a setting, if so.
    fn refuse(&self, key: &str, value: &Toml) -> Option<String> {
        if self.is_mirrored() {
            return Some("the image stays as it is".to_owned());
        }
        refuse(key, value)
    }

    /// Imports an entry of a table of the matrix file, such as a variable of `env`.
    pub(super) fn entry(&mut self, leaf: &Leaf<'_>, key: &str, name: &str, value: impl Into<Toml>) {
        let entry = toml::Table::from_iter([(name.to_owned(), value.into())]);
        if let Some(reason) = self.refuse(key, &Toml::Table(entry.clone())) {
            return self.leave_out(leaf, reason);
        }
        if key == "conda" {
            self.leave_out(leaf, NEEDS_MICROMAMBA);
        } else {
            self.import(leaf, format!("`{key}`"));
        }
        let table = self.imported.settings.entry(key.to_owned());
        if let Toml::Table(table) = table.or_insert_with(|| toml::Table::new().into()) {
            if key == "conda" {
                table.insert("-c".to_owned(), CHANNEL.into());
            }
            table.extend(entry);
        }
    }

    /// Adds a text to an array of the matrix file.
    pub(super) fn push(&mut self, leaf: &Leaf<'_>, key: &str, text: String) {
        if let Some(reason) = self.refuse(key, &Toml::Array(vec![Toml::String(text.clone())])) {
            return self.leave_out(leaf, reason);
        }
        self.import(leaf, format!("`{key}`"));
        self.add(key, text);
    }

    fn add(&mut self, key: &str, text: String) {
        let list = self.imported.settings.entry(key.to_owned());
        if let Toml::Array(list) = list.or_insert_with(|| Toml::Array(Vec::new())) {
            list.push(text.into());
        }
    }

    /// Imports the texts of a list, or a single one, as entries of an array of the matrix file. Leaves out those that
    /// `convert` or the matrix file refuses.
    pub(super) fn items(
        &mut self,
        leaf: &Leaf<'_>,
        key: &str,
        convert: impl Fn(&str) -> Result<String, String>,
    ) {
        let items = match &leaf.node.content {
            Content::List(items) => items.as_slice(),
            Content::Text(_) | Content::Plain(_) => std::slice::from_ref(leaf.node),
            Content::Null | Content::Table(_) => &[],
        };
        if items.is_empty() {
            return self.leave_out(leaf, "it is empty");
        }
        let mut count = 0;
        for item in items {
            let line = self.source.line(item.span.start);
            let text = item.text().ok_or_else(|| "it is not a text".to_owned()).and_then(&convert);
            let refused = text.and_then(|text| {
                let value = Toml::Array(vec![Toml::String(text.clone())]);
                self.refuse(key, &value).map_or(Ok(text), Err)
            });
            match refused {
                Err(reason) => self.imported.leave_out(&leaf.path.join("."), line, reason),
                Ok(text) => {
                    count += 1;
                    self.add(key, text);
                }
            }
        }
        match count {
            0 => {}
            1 => self.import(leaf, format!("`{key}`")),
            _ => self.import(leaf, format!("`{key}` ({count})")),
        }
    }

    /// Imports shell commands.
    pub(super) fn commands(&mut self, leaf: &Leaf<'_>, key: &str) {
        self.items(leaf, key, |text| {
            refuse_in_command(text)?;
            Ok(escaped(text.trim()))
        });
    }

    pub(super) fn name(&mut self, leaf: &Leaf<'_>) {
        if let Some(name) = self.text(leaf) {
            self.import(leaf, "the name of the image");
            self.imported.name = slug(name);
        }
    }

    /// Makes `version` the value of the axis `python`, unless the base image has a Python.
    pub(super) fn python(&mut self, leaf: &Leaf<'_>, version: &str) {
        if !is_python(version) {
            let text = leaf.node.text().unwrap_or_default().escape_debug();
            return self.leave_out(leaf, format!("`{text}` is not a Python version"));
        }
        match &self.imported.python {
            Python::OfBase => self.leave_out(leaf, "the base image has its own Python"),
            Python::Version(other) if other != version => {
                let reason = format!("the image already has Python {other}");
                self.leave_out(leaf, reason);
            }
            Python::Any | Python::Version(_) => {
                self.import(leaf, format!("axis `python`: {version}"));
                self.imported.python = Python::Version(version.to_owned());
            }
        }
    }

    /// Returns the path of a file with packages.
    pub(super) fn package_file(&mut self, leaf: &Leaf<'_>) -> Option<String> {
        match path(self.text(leaf)?) {
            Ok(path) => {
                if let Err(reason) = check_path(&self.imported.context, &path) {
                    let diagnostic = Diagnostic::new(leaf.node.span.clone(), reason, "");
                    self.missing.push(diagnostic.help(PATHS));
                }
                self.imported.package_files.push(path.clone());
                Some(path)
            }
            Err(reason) => {
                self.leave_out(leaf, reason);
                None
            }
        }
    }

    /// Imports the variable `name` of the image.
    pub(super) fn variable(&mut self, leaf: &Leaf<'_>, name: &str) {
        let Some(value) = self.text(leaf) else { return };
        match refuse_in_variable(name, value) {
            Err(reason) => self.leave_out(leaf, reason),
            // A reference to another variable would begin with the dollar sign.
            Ok(()) => self.entry(leaf, "env", name, escaped(value).replace('$', "\\$")),
        }
    }

    /// Imports the command of containers: a line for a shell, or a program and its arguments. It replaces the entrypoint of
    /// the base image, which would receive it as arguments.
    pub(super) fn start(&mut self, leaf: &Leaf<'_>) {
        let words = match &leaf.node.content {
            Content::List(items) => items.iter().map(Node::text).collect::<Option<Vec<&str>>>(),
            _ => leaf.node.text().map(|text| vec![text]),
        };
        let Some(words) = words.filter(|words| !words.is_empty()) else {
            return self.leave_out(leaf, "it is neither a text nor a list of texts");
        };
        if let Some(reason) = words.iter().find_map(|word| refuse_in_command(word).err()) {
            return self.leave_out(leaf, reason);
        }
        let is_list = matches!(leaf.node.content, Content::List(_));
        let mut words = words.into_iter().map(|word| Toml::String(escaped(word.trim())));
        let value = if is_list {
            Toml::Array(words.collect())
        } else {
            words.next().expect("there is a word")
        };
        if self.refuse("cmd", &value).is_none() {
            self.imported.settings.insert("entrypoint".to_owned(), Toml::Array(Vec::new()));
        }
        self.try_set(leaf, "cmd", value, "`cmd`, with an empty `entrypoint`");
    }

    pub(super) fn port(&mut self, leaf: &Leaf<'_>) {
        let Some(text) = self.text(leaf) else { return };
        match text.parse::<u16>() {
            Ok(port) => self.set(leaf, "expose", i64::from(port)),
            Err(_) => self.leave_out(leaf, "it is not a port"),
        }
    }

    /// Makes the image one for GPUs if `is_requested`.
    pub(super) fn gpu(&mut self, leaf: &Leaf<'_>, is_requested: bool) {
        if is_requested {
            self.import(leaf, "axis `gpu`");
            self.imported.gpu = true;
        } else {
            self.skip(leaf, "no GPU is requested");
        }
    }
}

/// Returns why the matrix file refuses a setting, if so.
pub(super) fn refuse(key: &str, value: &Toml) -> Option<String> {
    let text =
        format!("[image]\nrepository = \"a\"\n{key} = {value}\n[axes]\npython = [\"3.11\"]\n");
    let reason = matrix::parse(Path::new("matrix.toml"), &text).err()?.summary();
    let is_unknown = reason.starts_with(&format!("unknown key `{key}`"));
    Some(if is_unknown { format!("matrix.toml has no key `{key}`") } else { reason })
}

/// Writes a text that the matrix file does not interpret: without placeholders.
pub(super) fn escaped(text: &str) -> String {
    text.replace("{{", "\\{{")
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
        "" => "image".to_owned(),
        slug => slug.to_owned(),
    }
}

/// Parses a path in a configuration, relative to its folder.
pub(super) fn path(text: &str) -> Result<String, String> {
    let parts: Vec<&str> =
        text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
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
