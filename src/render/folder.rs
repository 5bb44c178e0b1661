//! Rendered variants as files of a folder.
//!
//! [`Rendered`] holds the files of the selected variants by their paths. It writes them to a folder, and compares
//! a folder with them: each [`Difference`] is a file that is missing, changed, or not rendered by the matrix.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::{self, Read as _};
use std::ops::Bound;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::on_disk::{Entry, OnDisk};
use super::{BuildContext, ContextFile, first_link};
use crate::error::{self, ExitCode, Explain, FileError};
use crate::files;
use crate::matrix::Selected;

/// The number of differences that a message lists.
const MAX_LISTED: usize = 20;

/// A folder of rendered files that cannot be written, or that differs from them.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("`{}` differs from the rendered files:{}", folder.display(), list(differences))]
    Drift { folder: PathBuf, differences: Vec<(Difference, String)> },
    /// A rendered file would be written through a link.
    #[error("`{}` is a symbolic link; basegen does not write rendered files through links", .0.display())]
    Link(PathBuf),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Explain for FolderError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Drift { .. } => ExitCode::Drift,
            Self::Link(_) | Self::File(_) => ExitCode::Failure,
        }
    }

    fn hint(&self) -> Option<String> {
        let (folder, differences) = match self {
            Self::Drift { folder, differences } => (folder.display(), differences),
            Self::Link(_) => return Some("remove the link, or render into another folder".into()),
            Self::File(error) => return error.hint(),
        };
        let extra = differences.iter().filter(|(kind, _)| *kind == Difference::Extra).count();
        Some(match (extra, differences.len() - extra) {
            (0, _) => format!("run `basegen render -o {folder}` to update it"),
            (_, 0) => "remove the extra files: `basegen` deletes nothing".to_owned(),
            _ => format!(
                "run `basegen render -o {folder}` to update it, and remove the extra files yourself"
            ),
        })
    }
}

/// How a file on disk differs from the rendered one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// The file does not exist.
    Missing,
    /// The content or the executable bit differs.
    Changed,
    /// The matrix renders no such file.
    Extra,
}

/// Formats differences as lines that each begin with a line break; of many, the first ones.
#[must_use]
pub fn list(differences: &[(Difference, String)]) -> String {
    let lines = differences.iter().map(|(difference, path)| match difference {
        Difference::Missing => format!("missing  {path}"),
        Difference::Changed => format!("changed  {path}"),
        Difference::Extra => format!("extra    {path}"),
    });
    error::list(MAX_LISTED, lines)
}

/// The content and mode of a rendered file.
#[derive(Debug, Clone)]
pub struct RenderedFile {
    pub content: Arc<[u8]>,
    /// Whether the file is executable.
    pub executable: bool,
    /// Whether it is a symbolic link. Its content is then the path that it points to.
    pub is_link: bool,
}

impl From<&ContextFile> for RenderedFile {
    fn from(file: &ContextFile) -> Self {
        let ContextFile { executable, is_link, content, .. } = file;
        Self { content: Arc::clone(content), executable: *executable, is_link: *is_link }
    }
}

impl RenderedFile {
    /// Returns a file that is not executable.
    pub fn plain(content: impl Into<Arc<[u8]>>) -> Self {
        Self { content: content.into(), executable: false, is_link: false }
    }

    /// Compares with the file at `path` in `folder`. A file differs from every symbolic link.
    pub fn compare(&self, folder: &Path, path: &Path) -> io::Result<Option<Difference>> {
        let entry = OnDisk::new(folder).entry(path)?;
        self.compare_entry(&folder.join(path), &entry)
    }

    fn compare_entry(&self, path: &Path, entry: &Entry) -> io::Result<Option<Difference>> {
        Ok(match entry {
            Entry::Missing => Some(Difference::Missing),
            Entry::Link(link) if self.is_link && path.ends_with(link) => {
                let target = fs_err::read_link(path)?;
                (target.as_os_str().as_bytes() != &*self.content).then_some(Difference::Changed)
            }
            Entry::File if self.is_link => Some(Difference::Changed),
            Entry::Link(_) | Entry::Other => Some(Difference::Changed),
            Entry::File => (!self.is_equal(path)?).then_some(Difference::Changed),
        })
    }

    fn is_equal(&self, path: &Path) -> io::Result<bool> {
        let mut file = fs_err::File::open(path)?;
        let metadata = file.metadata()?;
        let is_executable = metadata.permissions().mode() & 0o100 != 0;
        if is_executable != self.executable || metadata.len() != self.content.len() as u64 {
            return Ok(false);
        }
        let mut content = Vec::with_capacity(self.content.len() + 1);
        file.read_to_end(&mut content)?;
        Ok(content == *self.content)
    }

    fn write(&self, path: &Path, entry: &Entry) -> io::Result<()> {
        match self.compare_entry(path, entry)? {
            None => Ok(()),
            Some(_) if self.is_link => files::link(path, OsStr::from_bytes(&self.content)),
            Some(Difference::Missing) => files::create(path, &self.content, self.executable),
            Some(_) => files::replace(path, &self.content, self.executable),
        }
    }
}

/// The files of rendered variants, by path: `<variant>/Dockerfile` and the files that it copies, which are beside it, or in
/// `<variant>/context` and `<variant>/contexts/<name>`.
#[derive(Debug)]
pub struct Rendered<'a> {
    pub files: BTreeMap<PathBuf, RenderedFile>,
    variants: Vec<&'a str>,
    /// Whether these are all variants of the matrix.
    is_whole: bool,
}

impl<'a> Rendered<'a> {
    /// Collects the files of `contexts`, one for each selected variant.
    #[must_use]
    pub fn new(selected: &Selected<'a>, contexts: &[BuildContext]) -> Self {
        let variants: Vec<_> =
            selected.variants.iter().map(|variant| variant.id.as_str()).collect();
        let mut files = BTreeMap::new();
        for (variant, context) in variants.iter().zip(contexts) {
            let folder = Path::new(variant);
            add_files(folder, context, &mut files);
            for (platform, other) in &context.platforms {
                let platform = platform.to_string().replace('/', "-");
                add_files(&folder.join("platforms").join(platform), other, &mut files);
            }
        }
        Self { files, variants, is_whole: selected.whole }
    }

    /// Fails if `folder` differs from these files.
    pub fn check(&self, folder: &Path) -> Result<(), FolderError> {
        let differences = self.differences(folder)?;
        if differences.is_empty() {
            return Ok(());
        }
        Err(FolderError::Drift { folder: folder.to_owned(), differences })
    }

    /// Returns the differences between `folder` and these files, with paths relative to `folder`.
    pub fn differences(&self, folder: &Path) -> Result<Vec<(Difference, String)>, FileError> {
        let mut on_disk = OnDisk::new(folder);
        let entries = self.files.keys().map(|path| on_disk.entry(path));
        let entries = entries.collect::<io::Result<Vec<_>>>().map_err(comparing(folder))?;
        let files: Vec<_> = self.files.iter().zip(entries).collect();
        let compared = files.par_iter().map(|((path, file), entry)| {
            let difference = file.compare_entry(&folder.join(path), entry)?;
            Ok(difference.map(|difference| (difference, path.display().to_string())))
        });
        let compared: Vec<io::Result<_>> = compared.collect();
        let compared = compared.into_iter().collect::<io::Result<Vec<_>>>();
        let differences = compared.map_err(comparing(folder))?.into_iter().flatten();
        Ok(differences.chain(self.extra(folder)?).collect())
    }

    /// Returns the files and folders of `folder` that are not rendered, sorted. Of a part of the
    /// matrix, looks into the folders of its variants only.
    pub fn extra(&self, folder: &Path) -> Result<Vec<(Difference, String)>, FileError> {
        let mut extra = Vec::new();
        if self.is_whole {
            self.find_extra(folder, Path::new(""), &mut extra).map_err(comparing(folder))?;
            return Ok(extra);
        }
        for path in self.variants.iter().map(Path::new) {
            if first_link(folder, path).is_none() {
                self.find_extra(folder, path, &mut extra).map_err(comparing(folder))?;
            }
        }
        Ok(extra)
    }

    fn find_extra(
        &self,
        folder: &Path,
        path: &Path,
        extra: &mut Vec<(Difference, String)>,
    ) -> io::Result<()> {
        let on_disk = folder.join(path);
        if !on_disk.is_dir() {
            return Ok(());
        }
        let mut entries: Vec<_> = fs_err::read_dir(on_disk)?.collect::<Result<_, _>>()?;
        entries.sort_by_key(fs_err::DirEntry::file_name);
        for entry in entries {
            let inner = path.join(entry.file_name());
            let is_folder = entry.file_type()?.is_dir();
            if self.contains(&inner) {
                if is_folder {
                    self.find_extra(folder, &inner, extra)?;
                }
            } else if !is_folder {
                extra.push((Difference::Extra, inner.display().to_string()));
            } else if !has_only_folders(&entry.path())? {
                extra.push((Difference::Extra, format!("{}/", inner.display())));
            }
        }
        Ok(())
    }

    /// Returns true if there is a file at `path` or below it.
    fn contains(&self, path: &Path) -> bool {
        let mut from = self.files.range::<Path, _>((Bound::Included(path), Bound::Unbounded));
        from.next().is_some_and(|(first, _)| first.starts_with(path))
    }
}

/// Adds the files of a context in `folder`.
fn add_files(folder: &Path, context: &BuildContext, files: &mut BTreeMap<PathBuf, RenderedFile>) {
    let dockerfile = RenderedFile::plain(context.dockerfile.as_bytes());
    files.insert(folder.join("Dockerfile"), dockerfile);
    // A context of its own can contain a file `Dockerfile`.
    let is_apart = context.origin.context.is_some() || context.folders().next().is_some();
    for (name, file) in context.all_files() {
        let folder = match name {
            Some(name) => folder.join("contexts").join(name),
            None if is_apart => folder.join("context"),
            None => folder.to_owned(),
        };
        files.insert(folder.join(&file.path), file.into());
    }
}

fn comparing(folder: &Path) -> impl FnOnce(io::Error) -> FileError {
    FileError::failed_to(format!("compare the files in `{}`", folder.display()))
}

/// Writes the files that differ from those on disk; the others keep their modification time. Writes
/// nothing if a symbolic link is on the way, since its target belongs to somebody else.
pub fn write(folder: &Path, files: &BTreeMap<PathBuf, RenderedFile>) -> Result<(), FolderError> {
    let failed =
        |path: &Path| FileError::failed_to(format!("write `{}`", folder.join(path).display()));
    let mut on_disk = OnDisk::new(folder);
    let (mut entries, mut missing) = (Vec::with_capacity(files.len()), BTreeSet::new());
    for (path, file) in files {
        let entry = on_disk.entry(path).map_err(failed(path))?;
        match &entry {
            Entry::Link(link) if !file.is_link || link != path => {
                return Err(FolderError::Link(folder.join(link)));
            }
            Entry::Missing => missing.extend(path.parent()),
            Entry::Link(_) | Entry::File | Entry::Other => {}
        }
        entries.push((path, file, entry));
    }
    for parent in missing {
        fs_err::create_dir_all(folder.join(parent)).map_err(failed(parent))?;
    }
    let written = entries
        .par_iter()
        .map(|(path, file, entry)| file.write(&folder.join(path), entry).map_err(failed(path)));
    // The first one in the order of paths, so that the same one of several errors is returned each time.
    written.find_first(Result::is_err).unwrap_or(Ok(())).map_err(FolderError::from)
}

/// Returns true if a folder contains no file, at any depth.
fn has_only_folders(folder: &Path) -> io::Result<bool> {
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() || !has_only_folders(&entry.path())? {
            return Ok(false);
        }
    }
    Ok(true)
}
