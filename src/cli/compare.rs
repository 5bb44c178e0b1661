//! Comparing what is on disk with what is rendered now.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::render::{Rendered, RenderedFile};
use crate::error::{ExitCode, Explain};
use crate::render::first_link;

/// What is on disk is not what is rendered.
#[derive(Debug, thiserror::Error)]
#[error("`{}` is not what the matrix renders to:{}", .folder.display(), told(.differences))]
pub(super) struct DriftError {
    folder: PathBuf,
    differences: Vec<(Difference, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Difference {
    Missing,
    Changed,
    Extra,
}

/// How many differences are told one by one.
const MAX_TOLD: usize = 20;

/// The differences, a line each; of many, the first.
pub(super) fn told(differences: &[(Difference, String)]) -> String {
    let shown = differences.iter().take(MAX_TOLD).map(|(difference, path)| match difference {
        Difference::Missing => format!("\n  missing  {path}"),
        Difference::Changed => format!("\n  changed  {path}"),
        Difference::Extra => format!("\n  extra    {path}"),
    });
    let more = differences.len().saturating_sub(MAX_TOLD);
    let more = (more > 0).then(|| format!("\n  and {more} more"));
    shown.chain(more).collect()
}

impl Explain for DriftError {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Drift
    }

    fn hint(&self) -> Option<String> {
        let is_extra = |(difference, _): &&(Difference, String)| *difference == Difference::Extra;
        let extra = self.differences.iter().filter(is_extra).count();
        let write = format!("`basegen render -o {}` writes", self.folder.display());
        Some(match (extra, self.differences.len() - extra) {
            (0, _) => format!("{write} it anew"),
            (_, 0) => "remove what is extra: `basegen` removes nothing".to_owned(),
            _ => format!("{write} what is missing or changed; remove what is extra yourself"),
        })
    }
}

/// Compares `rendered` with what is in `folder`.
pub(super) fn compare(folder: &Path, rendered: &Rendered) -> io::Result<Result<(), DriftError>> {
    let differences = differences(folder, rendered)?;
    match differences.is_empty() {
        true => Ok(Ok(())),
        false => Ok(Err(DriftError { folder: folder.to_owned(), differences })),
    }
}

/// What differs between `rendered` and what is in `folder`, by paths below it.
pub(super) fn differences(
    folder: &Path,
    rendered: &Rendered,
) -> io::Result<Vec<(Difference, String)>> {
    let mut differences = Vec::new();
    for (path, file) in &rendered.files {
        let difference = difference(folder, path, file)?;
        differences.extend(difference.map(|difference| (difference, path.display().to_string())));
    }
    differences.extend(extra(folder, rendered)?);
    Ok(differences)
}

/// How what is at `path` below `folder` differs from `file`, if it does. A link differs from
/// every file, whatever it leads to.
pub(super) fn difference(
    folder: &Path,
    path: &Path,
    file: &RenderedFile,
) -> io::Result<Option<Difference>> {
    if first_link(folder, path).is_some() {
        return Ok(Some(Difference::Changed));
    }
    let on_disk = folder.join(path);
    let metadata = match fs_err::symlink_metadata(&on_disk) {
        Ok(metadata) => metadata,
        Err(error) if is_absence(&error) => return Ok(Some(Difference::Missing)),
        Err(error) => return Err(error),
    };
    let is_executable = metadata.permissions().mode() & 0o100 != 0;
    let is_same = metadata.is_file()
        && is_executable == file.executable
        && fs_err::read(&on_disk)? == file.content;
    Ok((!is_same).then_some(Difference::Changed))
}

/// Whether there is nothing, or a file where a folder should be.
fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// What is in `folder` and not rendered, sorted: files, and folders in which nothing is
/// rendered. Of a part of the matrix, only the folders of its variants are looked at.
pub(super) fn extra(folder: &Path, rendered: &Rendered) -> io::Result<Vec<(Difference, String)>> {
    let mut extra = Vec::new();
    if rendered.is_whole {
        walk(folder, Path::new(""), rendered, &mut extra)?;
        return Ok(extra);
    }
    for variant in &rendered.variants {
        let path = Path::new(variant);
        if first_link(folder, path).is_none() {
            walk(folder, path, rendered, &mut extra)?;
        }
    }
    Ok(extra)
}

fn walk(
    folder: &Path,
    path: &Path,
    rendered: &Rendered,
    extra: &mut Vec<(Difference, String)>,
) -> io::Result<()> {
    let here = folder.join(path);
    if !here.is_dir() {
        return Ok(());
    }
    let mut entries: Vec<_> = fs_err::read_dir(here)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(fs_err::DirEntry::file_name);
    for entry in entries {
        let inner = path.join(entry.file_name());
        let is_folder = entry.file_type()?.is_dir();
        match (rendered.has(&inner), is_folder) {
            (true, true) => walk(folder, &inner, rendered, extra)?,
            (true, false) => {}
            (false, true) if is_hollow(&entry.path())? => {}
            (false, true) => extra.push((Difference::Extra, format!("{}/", inner.display()))),
            (false, false) => extra.push((Difference::Extra, inner.display().to_string())),
        }
    }
    Ok(())
}

/// Whether a folder holds nothing but such folders.
fn is_hollow(folder: &Path) -> io::Result<bool> {
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() || !is_hollow(&entry.path())? {
            return Ok(false);
        }
    }
    Ok(true)
}
