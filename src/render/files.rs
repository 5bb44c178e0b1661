//! The files of the templates' folder that contexts are made of.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use glob::{MatchOptions, Pattern};

use super::context::ContextFile;
use super::copied::Source;
use super::dockerfile::Misuse;
use super::error::RenderError;
use super::templates::PARTIALS;

/// The largest context, in MiB. Contexts are held in memory, and what is larger belongs into
/// a build step that fetches it.
pub const MAX_CONTEXT: u64 = 64;

/// The ending of a file that is rendered before it is copied.
const TEMPLATE: &str = ".hbs";

/// A folder, and what has been read of it.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    read: Mutex<HashMap<PathBuf, Content>>,
}

/// Whether a file may be executed, and its bytes.
type Content = (bool, Arc<[u8]>);

/// A file that a context needs.
#[derive(Debug)]
pub(super) struct Found {
    /// Its path in the context.
    path: String,
    /// Where it is on disk.
    on_disk: PathBuf,
    /// Whether it is a template of what the context holds.
    is_template: bool,
}

impl Files {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), read: Mutex::default() }
    }

    /// The files that `source` means: itself, its template, everything in it, or all that match.
    pub(super) fn find(&self, source: &Source) -> Result<Vec<Found>, Misuse> {
        let refuse = |what: String| Misuse { line: source.line, what };
        let path = &source.path;
        if path.contains(['*', '?', '[']) {
            let pattern = Pattern::new(path).map_err(|error| refuse(error.msg.to_owned()))?;
            let options = MatchOptions { require_literal_separator: true, ..MatchOptions::new() };
            let mut found = Vec::new();
            self.walk("", &mut found).map_err(refuse)?;
            found.retain(|file| pattern.matches_with(&file.path, options));
            return match found.is_empty() {
                true => {
                    Err(refuse(format!("nothing matches `{path}` in `{}`", self.folder.display())))
                }
                false => Ok(found),
            };
        }
        let on_disk = self.folder.join(path);
        let template = self.folder.join(format!("{path}{TEMPLATE}"));
        let mut found = Vec::new();
        if on_disk.symlink_metadata().is_ok() {
            self.add(path, &on_disk, &mut found).map_err(refuse)?;
        } else if template.symlink_metadata().is_ok() {
            self.add(&format!("{path}{TEMPLATE}"), &template, &mut found).map_err(refuse)?;
        } else {
            return Err(refuse(format!("there is no `{path}` in `{}`", self.folder.display())));
        }
        Ok(found)
    }

    fn walk(&self, path: &str, found: &mut Vec<Found>) -> Result<(), String> {
        let unreadable = |error: std::io::Error| error.to_string();
        let entries = fs_err::read_dir(self.folder.join(path)).map_err(unreadable)?;
        let mut entries: Vec<_> = entries.collect::<Result<_, _>>().map_err(unreadable)?;
        entries.sort_by_key(fs_err::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name();
            let name = name.to_str().ok_or_else(|| format!("`{}` is not UTF-8", name.display()))?;
            let inner = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
            let is_source = inner == PARTIALS || inner.ends_with("Dockerfile.hbs");
            if !is_source {
                self.add(&inner, &entry.path(), found)?;
            }
        }
        Ok(())
    }

    fn add(&self, path: &str, on_disk: &Path, found: &mut Vec<Found>) -> Result<(), String> {
        let metadata = fs_err::symlink_metadata(on_disk).map_err(|error| error.to_string())?;
        let kind = metadata.file_type();
        if kind.is_dir() {
            return self.walk(path, found);
        }
        if kind.is_symlink() {
            return Err(format!("`{path}` is a symbolic link; a context holds files only"));
        }
        if !kind.is_file() {
            return Err(format!("`{path}` is neither a file nor a folder"));
        }
        let rendered = path.strip_suffix(TEMPLATE);
        found.push(Found {
            path: rendered.unwrap_or(path).to_owned(),
            on_disk: on_disk.to_owned(),
            is_template: rendered.is_some(),
        });
        Ok(())
    }

    /// Reads what was found, each file once, sorted by path.
    pub(super) fn read(
        &self,
        found: Vec<Found>,
        variant: &str,
        render: impl Fn(&Path) -> Result<String, RenderError>,
    ) -> Result<Vec<ContextFile>, RenderError> {
        let found: BTreeMap<String, Found> =
            found.into_iter().map(|file| (file.path.clone(), file)).collect();
        check_size(&found, variant)?;
        let mut files = Vec::with_capacity(found.len());
        for (path, file) in found {
            let (executable, content) = match file.is_template {
                true => (is_executable(&file.on_disk)?, render(&file.on_disk)?.into_bytes().into()),
                false => self.content(&file.on_disk)?,
            };
            files.push(ContextFile { path, executable, content });
        }
        Ok(files)
    }

    fn content(&self, path: &Path) -> Result<Content, RenderError> {
        let lock = || self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(path) {
            return Ok(known.clone());
        }
        let content: Arc<[u8]> = fs_err::read(path).map_err(RenderError::Read)?.into();
        let read = (is_executable(path)?, content);
        // Another thread may have been quicker: all of them share what came first.
        Ok(lock().entry(path.to_owned()).or_insert(read).clone())
    }
}

fn is_executable(path: &Path) -> Result<bool, RenderError> {
    let metadata = fs_err::metadata(path).map_err(RenderError::Read)?;
    Ok(metadata.permissions().mode() & 0o100 != 0)
}

fn check_size(found: &BTreeMap<String, Found>, variant: &str) -> Result<(), RenderError> {
    let mut sizes: Vec<(String, u64)> = Vec::with_capacity(found.len());
    for (path, file) in found {
        let metadata = fs_err::metadata(&file.on_disk).map_err(RenderError::Read)?;
        sizes.push((path.clone(), metadata.len()));
    }
    if sizes.iter().map(|(_, size)| size).sum::<u64>() <= MAX_CONTEXT << 20 {
        return Ok(());
    }
    sizes.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    sizes.truncate(3);
    Err(RenderError::TooLarge { variant: variant.to_owned(), limit: MAX_CONTEXT, largest: sizes })
}
