//! The folders that images copy files from: that of the templates, and contexts of their own.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::RenderError;
use super::files::{Files, IGNORE_FILE, Role, ignore_file_beside};
use crate::error::{Explain as _, one_line};
use crate::files::{Access, IgnoreRules, MAX_TEXT};
use crate::matrix::{
    ContextSource, Diagnostic, Dockerignore, Matrix, SourceError, SourceFile, Spanned, Variant,
};

/// The patterns of contexts without others: what development leaves behind.
pub(crate) const DEFAULT_PATTERNS: [&str; 9] = [
    "**/.DS_Store",
    "**/__pycache__",
    "**/*.py[cod]",
    "**/.venv",
    "**/.mypy_cache",
    "**/.pytest_cache",
    "**/.ruff_cache",
    "**/node_modules",
    "**/*.sw[op]",
];

/// The folders of the variants of a matrix. [`Folders::open`] reads their patterns before they are used.
#[derive(Debug)]
pub(super) struct Folders<'a> {
    matrix: &'a Matrix,
    templates: Role,
    by_use: HashMap<Use, Arc<Files>>,
    opened: HashMap<(PathBuf, Patterns), Arc<Files>>,
}

/// A folder and the setting of its patterns.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Use {
    /// The folder, relative to that of the matrix file; `None` is that of the templates.
    folder: Option<String>,
    /// The Dockerfile that uses it as its main context.
    dockerfile: Option<String>,
    patterns: Option<Patterns>,
}

/// Where the patterns of a folder come from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Patterns {
    /// A file, relative to the folder of the matrix file.
    File(PathBuf),
    /// An array in the matrix file, by its address in memory.
    Array(usize),
    Defaults,
}

impl<'a> Folders<'a> {
    pub(super) fn new(matrix: &'a Matrix) -> Self {
        let dockerfiles = matrix.variants.iter().filter_map(|variant| matrix.dockerfile(variant));
        let templates = Role::templates(dockerfiles);
        Self { matrix, templates, by_use: HashMap::new(), opened: HashMap::new() }
    }

    /// Opens the folders of a variant.
    pub(super) fn open(&mut self, variant: &Variant) -> Result<(), RenderError> {
        let context = self.matrix.context(variant);
        self.open_one(
            &self.main_use(variant),
            context.as_ref(),
            self.matrix.dockerignore(variant),
        )?;
        for source in self.matrix.named_contexts(variant).into_values() {
            if let ContextSource::Folder(folder) = source.get_ref() {
                let folder = Spanned::new(source.span(), folder.clone());
                self.open_one(&Use::named(&folder), Some(&folder), None)?;
            }
        }
        Ok(())
    }

    /// Returns the main context of a variant, which is open.
    pub(super) fn main(&self, variant: &Variant) -> &Files {
        &self.by_use[&self.main_use(variant)]
    }

    /// Returns a folder that is a named context, which is open.
    pub(super) fn named(&self, folder: &str) -> &Files {
        &self.by_use[&Use::named(folder)]
    }

    /// Returns the private files that copied folders have not included so far.
    pub(super) fn private(&self) -> BTreeSet<String> {
        self.opened.values().flat_map(|files| files.private()).collect()
    }

    fn main_use(&self, variant: &Variant) -> Use {
        let patterns = self.matrix.dockerignore(variant).map(|patterns| match patterns {
            Dockerignore::File(path) => Patterns::File(path.as_str().into()),
            Dockerignore::Patterns(rules) => Patterns::Array(Arc::as_ptr(rules) as usize),
        });
        let folder = self.matrix.context(variant).map(Spanned::into_inner);
        Use { folder, dockerfile: self.matrix.dockerfile(variant), patterns }
    }

    fn open_one(
        &mut self,
        wanted: &Use,
        context: Option<&Spanned<String>>,
        setting: Option<&Dockerignore>,
    ) -> Result<(), RenderError> {
        if self.by_use.contains_key(wanted) {
            return Ok(());
        }
        let folder = PathBuf::from(context.map_or(&self.matrix.image.templates, Spanned::get_ref));
        if let Some(context) = context {
            self.check_folder(context)?;
        }
        let patterns = wanted.patterns.clone().unwrap_or_else(|| self.patterns(&folder, wanted));
        let files = if let Some(files) = self.opened.get(&(folder.clone(), patterns.clone())) {
            Arc::clone(files)
        } else {
            let role = if context.is_some() { Role::Context } else { self.templates.clone() };
            let rules = self.rules(&patterns, setting)?;
            Arc::new(Files::new(&self.matrix.folder().join(&folder), role, rules))
        };
        self.opened.insert((folder, patterns), Arc::clone(&files));
        self.by_use.insert(wanted.clone(), files);
        Ok(())
    }

    fn check_folder(&self, context: &Spanned<String>) -> Result<(), SourceError> {
        let path = self.matrix.resolve_path(context, Access::Read)?;
        if path.is_dir() {
            return Ok(());
        }
        let message = format!("there is no folder `{}`", context.as_str());
        let diagnostic = Diagnostic::new(context.span(), message, "")
            .help("create it, or correct the path, which is relative to the matrix file");
        Err(SourceError::new(&self.matrix.source, vec![diagnostic]))
    }

    /// Finds the patterns of a folder like Docker: a file beside the Dockerfile comes before that of the context.
    fn patterns(&self, folder: &Path, wanted: &Use) -> Patterns {
        let templates = Path::new(&self.matrix.image.templates);
        let beside =
            wanted.dockerfile.as_ref().map(|path| templates.join(ignore_file_beside(path)));
        let mut files = beside.into_iter().chain([folder.join(IGNORE_FILE)]);
        let exists = |path: &PathBuf| self.matrix.folder().join(path).symlink_metadata().is_ok();
        files.find(exists).map_or(Patterns::Defaults, Patterns::File)
    }

    fn rules(
        &self,
        patterns: &Patterns,
        setting: Option<&Dockerignore>,
    ) -> Result<IgnoreRules, RenderError> {
        let path = match (patterns, setting) {
            (Patterns::Array(_), Some(Dockerignore::Patterns(rules))) => {
                return Ok(IgnoreRules::clone(rules));
            }
            (Patterns::File(path), _) => path,
            _ => return Ok(defaults()),
        };
        let text =
            self.matrix.checkout.read_text(path, MAX_TEXT).map_err(|error| match setting {
                Some(Dockerignore::File(named)) => {
                    let diagnostic = Diagnostic::new(named.span(), one_line(&error), "");
                    let diagnostic = diagnostic.maybe_help(error.hint());
                    SourceError::new(&self.matrix.source, vec![diagnostic]).into()
                }
                _ => RenderError::from(error),
            })?;
        let shown = self.matrix.folder().join(path);
        IgnoreRules::parse(&text, &shown.display().to_string()).map_err(|(line, error)| {
            let begin: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
            let length = text[begin..].lines().next().unwrap_or_default().len();
            let diagnostic = Diagnostic::new(begin..begin + length, error.to_string(), "");
            SourceError::new(&SourceFile::new(&shown, &text), vec![diagnostic]).into()
        })
    }
}

impl Use {
    fn named(folder: &str) -> Self {
        Self { folder: Some(folder.to_owned()), dockerfile: None, patterns: None }
    }
}

fn defaults() -> IgnoreRules {
    let mut rules = IgnoreRules::default();
    for pattern in DEFAULT_PATTERNS {
        rules.add(pattern, "a default pattern".to_owned()).expect("the defaults are valid");
    }
    rules
}
