//! The variables of a table of the matrix file: its own, and those of a JSON, TOML or YAML file that `from` names.
//!
//! [`FileVariables`] has all tables that a key can select. Faults of a table are errors only if a variant selects it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::data::{Content, Key, Node};
use super::diagnostic::{Diagnostic, SourceError, SourceFile, nearest_spelling, suggestion};
use super::pattern::Pattern;
use super::safe;
use super::spanned::Span;

/// The variables of one table of the matrix file.
#[derive(Debug, Clone, Default)]
pub(super) struct TableVariables {
    /// Those that the table itself has.
    pub(super) own: Map<String, Json>,
    /// Those of files, which override others of the same name.
    pub(super) files: Vec<Arc<FileVariables>>,
}

/// The variables of files, by the position of `file` in the matrix file.
pub(super) type VariableFiles = BTreeMap<usize, Arc<FileVariables>>;

/// The variables of a file, for all values of its key.
#[derive(Debug)]
pub(super) struct FileVariables {
    source: SourceFile,
    root: Node,
    /// The parts of `key`.
    key: Vec<Pattern>,
    /// The variables of each table, or its faults, by the parts of the filled key.
    tables: BTreeMap<Vec<String>, Result<FileTable, Vec<Diagnostic>>>,
}

type FileTable = BTreeMap<String, FileVariable>;

/// A variable and its line in the file, from 1.
#[derive(Debug)]
pub(super) struct FileVariable {
    pub(super) value: Json,
    pub(super) line: usize,
}

/// The names of variables from a file.
#[derive(Debug, Clone, Copy)]
pub(super) enum Naming<'a> {
    /// A variable each, unless the entry has one of the `reserved` names, or one that no variable can have.
    Entries { reserved: &'a [&'a str] },
    /// One variable with this name. Its entries override those of the default.
    Whole { name: &'a str, default: Option<&'a Map<String, Json>> },
}

impl TableVariables {
    pub(super) fn is_empty(&self) -> bool {
        self.own.is_empty() && self.files.is_empty()
    }

    /// Returns the names of all variables, for any values of the keys of files.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let of_files = self.files.iter().flat_map(|file| file.names());
        self.own.keys().map(String::as_str).chain(of_files)
    }

    /// Returns a variable. `value` returns the values of axes.
    pub(super) fn get<'v>(
        &self,
        name: &str,
        value: impl Fn(&str) -> Cow<'v, str>,
    ) -> Option<&Json> {
        let mut of_files = self.files.iter().rev().filter_map(|file| file.table(&value)?.get(name));
        of_files.next().map(|found| &found.value).or_else(|| self.own.get(name))
    }

    /// Returns the variables of files, in their order.
    pub(super) fn of_files<'v>(
        &self,
        value: impl Fn(&str) -> Cow<'v, str>,
    ) -> impl Iterator<Item = (&FileVariables, &str, &FileVariable)> {
        self.files.iter().flat_map(move |file| {
            let table = file.table(&value).into_iter().flatten();
            table.map(|(name, variable)| (&**file, name.as_str(), variable))
        })
    }
}

impl FileVariables {
    /// Reads all tables of a file that `key` can select.
    pub(super) fn new(
        source: SourceFile,
        root: Node,
        key: Vec<Pattern>,
        naming: Naming<'_>,
    ) -> Self {
        let mut tables = Tables { source: &source, naming, found: BTreeMap::new() };
        tables.collect(&root, &key, &mut Vec::new());
        let tables = tables.found;
        Self { source, root, key, tables }
    }

    /// Returns the path of the file, as the user would write it.
    pub(super) fn path(&self) -> &Path {
        &self.source.path
    }

    /// Returns the names of the axes in the key.
    pub(super) fn axes(&self) -> impl Iterator<Item = &str> {
        self.key.iter().flat_map(Pattern::names).map(|(name, _)| name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.tables.values().flatten().flat_map(BTreeMap::keys).map(String::as_str)
    }

    fn table<'v>(&self, value: impl Fn(&str) -> Cow<'v, str>) -> Option<&FileTable> {
        self.tables.get(&self.filled(value))?.as_ref().ok()
    }

    /// Returns the parts of the key with the values of axes.
    pub(super) fn filled<'v>(&self, value: impl Fn(&str) -> Cow<'v, str>) -> Vec<String> {
        self.key.iter().map(|part| part.fill(&value)).collect()
    }

    /// Returns the faults of the table at `key`, which `variant` selects.
    pub(super) fn faults(&self, key: &[String], variant: &str) -> Vec<Diagnostic> {
        match self.tables.get(key) {
            Some(Ok(_)) => Vec::new(),
            Some(Err(faults)) => faults.clone(),
            None => vec![self.missing(key, variant)],
        }
    }

    pub(super) fn error(&self, faults: Vec<Diagnostic>) -> SourceError {
        SourceError::new(&self.source, faults)
    }

    /// Explains why the file has no table at `key`.
    fn missing(&self, key: &[String], variant: &str) -> Diagnostic {
        let (mut node, mut at, mut owner) = (&self.root, 0..1, "the file".to_owned());
        let label = format!("`{variant}` needs it");
        for part in key {
            let Some((found, inner)) = node.entry(part) else {
                let known = node.entries().unwrap_or_default();
                let known = known.iter().map(|(key, _)| key.name.as_str());
                let help = match nearest_spelling(part, known) {
                    Some(near) => suggestion(near),
                    None => "add it, or exclude its variants".to_owned(),
                };
                let message = format!("{owner} has no key `{}`", part.escape_debug());
                return Diagnostic::new(at, message, label).help(help);
            };
            (node, at) = (inner, found.span.clone());
            owner = format!("`{}`", found.name.escape_debug());
        }
        let help = "add `as = \"NAME\"` for one variable with this value";
        Diagnostic::new(at, format!("{owner} is not a table of variables"), label).help(help)
    }
}

/// Reads the tables of a file.
struct Tables<'a> {
    source: &'a SourceFile,
    naming: Naming<'a>,
    found: BTreeMap<Vec<String>, Result<FileTable, Vec<Diagnostic>>>,
}

impl Tables<'_> {
    fn collect(&mut self, node: &Node, key: &[Pattern], path: &mut Vec<String>) {
        let Some((first, rest)) = key.split_first() else {
            if let Some(table) = self.table(path, node) {
                self.found.insert(path.clone(), table);
            }
            return;
        };
        let is_fixed = first.names().next().is_none();
        for (Key { name, .. }, inner) in node.entries().unwrap_or_default() {
            if !is_fixed || first.fill(|_| "".into()) == *name {
                path.push(name.clone());
                self.collect(inner, rest, path);
                path.pop();
            }
        }
    }

    /// Converts the value at `path` to variables. Returns `None` if it must be a table and is not.
    fn table(&self, path: &[String], node: &Node) -> Option<Result<FileTable, Vec<Diagnostic>>> {
        let (mut table, mut faults) = (FileTable::new(), Vec::new());
        let mut add = |name: &str, span: &Span, value: Json| {
            table.insert(
                name.to_owned(),
                FileVariable { value, line: self.source.line(span.start) },
            );
        };
        match self.naming {
            Naming::Whole { name, default } => {
                let key = path.last().map_or(name, String::as_str);
                let value = value(key, node, &mut faults);
                let value = match (default, value) {
                    (Some(default), Json::Object(own)) => {
                        default.clone().into_iter().chain(own).collect::<Map<_, _>>().into()
                    }
                    (_, value) => value,
                };
                add(name, &node.span, value);
            }
            Naming::Entries { reserved } => {
                for (key, node) in node.entries()? {
                    let name = key.name.as_str();
                    if safe::refuse_name(name).is_none() && !reserved.contains(&name) {
                        add(name, &key.span, value(name, node, &mut faults));
                    }
                }
            }
        }
        Some(if faults.is_empty() { Ok(table) } else { Err(faults) })
    }
}

/// Converts a value, and adds its faults. `name` is the key that contains it.
fn value(name: &str, node: &Node, faults: &mut Vec<Diagnostic>) -> Json {
    let refuse = |span: &Span, reason: String| {
        let message = format!("the value of `{}` is not allowed", name.escape_debug());
        Diagnostic::new(span.clone(), message, reason)
    };
    match &node.content {
        Content::Null => Json::Null,
        Content::Text(text) => {
            faults.extend(safe::refuse_text(text).map(|reason| refuse(&node.span, reason)));
            text.as_str().into()
        }
        Content::Plain(text) => plain(text).unwrap_or_else(|| {
            let reason = "expected a string, a boolean, an integer, or a list or table of these";
            let help = format!("put it in quotes: `\"{}\"`", text.escape_debug());
            faults.push(refuse(&node.span, reason.to_owned()).help(help));
            Json::Null
        }),
        Content::List(items) => items.iter().map(|item| value(name, item, faults)).collect(),
        Content::Table(entries) => {
            let mut table = Map::new();
            for (key, node) in entries {
                // A template can print keys.
                if let Some(reason) = safe::refuse_text(&key.name) {
                    let message = format!("the key `{}` is not allowed", key.name.escape_debug());
                    faults.push(Diagnostic::new(key.span.clone(), message, reason));
                }
                table.insert(key.name.clone(), value(&key.name, node, faults));
            }
            table.into()
        }
    }
}

/// Converts a boolean or an integer. Returns `None` for other numbers and for dates.
fn plain(text: &str) -> Option<Json> {
    match text {
        "true" | "True" | "TRUE" => Some(true.into()),
        "false" | "False" | "FALSE" => Some(false.into()),
        _ => text.parse::<i64>().ok().map(Json::from),
    }
}
