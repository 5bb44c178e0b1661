//! Rendered variants as files of a folder.
//!
//! [`Rendered`] holds the files of the selected variants by their paths. It writes them to a folder, and compares
//! a folder with them: each [`Difference`] is a file that is missing, changed, or not rendered by the matrix.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::{BuildContext, first_link};
use crate::error::{ExitCode, Explain, FileError};
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
    let lines = differences.iter().take(MAX_LISTED).map(|(difference, path)| match difference {
        Difference::Missing => format!("\n  missing  {path}"),
        Difference::Changed => format!("\n  changed  {path}"),
        Difference::Extra => format!("\n  extra    {path}"),
    });
    let more = differences.len().saturating_sub(MAX_LISTED);
    let more = (more > 0).then(|| format!("\n  and {more} more"));
    lines.chain(more).collect()
}

/// The content and mode of a rendered file.
#[derive(Debug, Clone)]
pub struct RenderedFile {
    pub content: Vec<u8>,
    /// Whether the file is executable.
    pub executable: bool,
}

impl RenderedFile {
    /// Returns a file that is not executable.
    pub fn plain(content: impl Into<Vec<u8>>) -> Self {
        Self { content: content.into(), executable: false }
    }

    /// Compares with the file at `path` in `folder`. A symbolic link differs from every file.
    pub fn compare(&self, folder: &Path, path: &Path) -> io::Result<Option<Difference>> {
        if first_link(folder, path).is_some() {
            return Ok(Some(Difference::Changed));
        }
        let on_disk = folder.join(path);
        let metadata = match fs_err::symlink_metadata(&on_disk) {
            Ok(metadata) => metadata,
            // `NotADirectory`: a file has the path of a parent folder.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(Some(Difference::Missing));
            }
            Err(error) => return Err(error),
        };
        let is_executable = metadata.permissions().mode() & 0o100 != 0;
        let is_same = metadata.is_file()
            && is_executable == self.executable
            && fs_err::read(&on_disk)? == self.content;
        Ok((!is_same).then_some(Difference::Changed))
    }
}

/// The files of rendered variants, by path: `<variant>/Dockerfile` and the files that it copies.
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
            let dockerfile = RenderedFile::plain(context.dockerfile.as_bytes());
            files.insert(folder.join("Dockerfile"), dockerfile);
            for file in &context.files {
                let content = file.content.to_vec();
                let copied = RenderedFile { content, executable: file.executable };
                files.insert(folder.join(&file.path), copied);
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
        let mut differences = Vec::new();
        for (path, file) in &self.files {
            if let Some(difference) = file.compare(folder, path).map_err(comparing(folder))? {
                differences.push((difference, path.display().to_string()));
            }
        }
        differences.extend(self.extra(folder)?);
        Ok(differences)
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

fn comparing(folder: &Path) -> impl FnOnce(io::Error) -> FileError {
    FileError::failed_to(format!("compare the files in `{}`", folder.display()))
}

/// Writes the files that differ from those on disk; the others keep their modification time. Writes
/// nothing if a symbolic link is on the way, since its target belongs to somebody else.
pub fn write(folder: &Path, files: &BTreeMap<PathBuf, RenderedFile>) -> Result<(), FolderError> {
    if let Some(link) = files.keys().find_map(|path| first_link(folder, path)) {
        return Err(FolderError::Link(folder.join(link)));
    }
    for (path, file) in files {
        let on_disk = folder.join(path);
        let written = file.compare(folder, path).and_then(|difference| match difference {
            Some(_) => files::replace(&on_disk, &file.content, file.executable),
            None => Ok(()),
        });
        written.map_err(FileError::failed_to(format!("write `{}`", on_disk.display())))?;
    }
    Ok(())
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
