//! Reads the files that `from` in tables of variables names.

use std::collections::HashSet;
use std::path::Path;
use std::ptr;
use std::sync::Arc;

use indexmap::IndexMap;

use super::checker::Checker;
use super::data::{Format, read_data};
use super::diagnostic::{Diagnostic, SourceError, SourceFile};
use super::keys::key_parts;
use super::model::Matrix;
use super::pattern::Pattern;
use super::placeholders::{PatternKind, Placeholders, VERSION};
use super::safe;
use super::schema::{FromTable, MatrixFile, Variable};
use super::spanned::Spanned;
use super::validate::RESERVED;
use super::variables::{FileVariables, Naming, VariableFiles};
use crate::files::{Checkout, MAX_PROJECT_FILE};

/// Reads the files of all `from` tables.
pub(super) fn variable_files(
    source: &SourceFile,
    checkout: &Checkout,
    file: &MatrixFile,
) -> Result<VariableFiles, SourceError> {
    let (none, mut files) = (VariableFiles::new(), VariableFiles::new());
    let axes = file.axes.keys().map(|name| name.as_str());
    let placeholders = Placeholders::new(axes, file.variable_names());
    let mut checker = Checker::new(source, checkout, placeholders, &none);
    for table in file.variables() {
        for from in &table.from {
            if let Some(found) = checker.variable_file(from, &table.own)? {
                files.insert(from.file.span().start, Arc::new(found));
            }
        }
    }
    checker.finish()?;
    Ok(files)
}

/// Returns the paths in all `from` tables.
pub(super) fn variable_paths(file: &MatrixFile) -> impl Iterator<Item = &str> {
    file.variables().flat_map(|table| &table.from).map(|from| from.file.as_str())
}

impl Matrix {
    /// Checks that files have valid variables for all variants. The errors are those of the first file that has any.
    pub(super) fn check_files(&self) -> Result<(), SourceError> {
        let mut checked = HashSet::new();
        let mut faulty: Option<(&FileVariables, Vec<Diagnostic>)> = None;
        for variant in &self.variants {
            let tables = self.settings(variant).of_tables();
            for file in tables.flat_map(|table| &table.variables.files) {
                let (file, key) = (&**file, file.filled(|name| self.check_part(variant, name)));
                if !checked.insert((ptr::from_ref(file), key.clone())) {
                    continue;
                }
                let faults = file.faults(&key, &variant.id);
                match &mut faulty {
                    Some((first, all)) if ptr::eq(*first, file) => all.extend(faults),
                    None if !faults.is_empty() => faulty = Some((file, faults)),
                    _ => {}
                }
            }
        }
        faulty.map_or(Ok(()), |(file, faults)| Err(file.error(faults)))
    }
}

impl Checker<'_> {
    /// Reads the file of a `from` table in a table with the variables `own`. Reports faults of the table, and returns those
    /// of the file.
    fn variable_file(
        &mut self,
        table: &FromTable,
        own: &IndexMap<Spanned<String>, Spanned<Variable>>,
    ) -> Result<Option<FileVariables>, SourceError> {
        let FromTable { file, key, name } = table;
        if let Some(name) = name {
            self.check_name(name, "variable");
        }
        let key = key.as_ref().map(|key| self.key_patterns(key)).unwrap_or_default();
        let Some(format) = Format::of(Path::new(file.as_str())) else {
            let message = format!("`{}` is not a data file", file.escape_debug());
            self.report(file.span(), message, "expected `.json`, `.toml`, `.yaml` or `.yml`");
            return Ok(None);
        };
        if let Some(reason) = safe::refuse_project_path(file) {
            self.report_path(file, reason);
            return Ok(None);
        }
        let text = match self.checkout.read_text(Path::new(file.as_str()), MAX_PROJECT_FILE) {
            Ok(text) => text,
            Err(error) => {
                self.report_unreadable(file, &error);
                return Ok(None);
            }
        };
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let folder = self.source.path.parent().unwrap_or(Path::new(""));
        let source = SourceFile::new(&folder.join(file.as_str()), text);
        let root = read_data(&source, format)?;
        // `version` has a fixed meaning only in the names of images.
        let reserved = RESERVED.into_iter().filter(|name| *name != VERSION);
        let reserved: Vec<&str> = reserved.chain(self.placeholders.axes.iter().copied()).collect();
        let naming = match name {
            Some(name) => {
                let default = own.iter().find(|(own, _)| ***own == **name);
                let default = default.and_then(|(_, variable)| variable.0.as_object());
                Naming::Whole { name: name.as_str(), default }
            }
            None => Naming::Entries { reserved: &reserved },
        };
        Ok(Some(FileVariables::new(source, root, key, naming)))
    }

    /// Parses the parts of a key, which can contain the names of axes.
    fn key_patterns(&mut self, key: &Spanned<String>) -> Vec<Pattern> {
        self.pattern(key, PatternKind::Key);
        key_parts(key).iter().filter_map(|part| Pattern::parse(part).ok()).collect()
    }
}
