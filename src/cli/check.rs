//! Comparing what is on disk with what is rendered now.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{ExitCode, Explain};

/// What is on disk is not what is rendered.
#[derive(Debug, thiserror::Error)]
#[error("`{}` is not what the matrix renders to:{}", .folder.display(), told(.differences))]
pub(super) struct DriftError {
    folder: PathBuf,
    differences: Vec<(Difference, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Difference {
    Missing,
    Changed,
    Extra,
}

/// How many differences are told one by one.
const MAX_TOLD: usize = 20;

fn told(differences: &[(Difference, String)]) -> String {
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
        Some(format!("`basegen render -o {}` writes it anew", self.folder.display()))
    }
}

/// Compares `expected`, content by path below `folder`, with what is there.
pub(super) fn compare(
    folder: &Path,
    expected: &BTreeMap<PathBuf, (bool, Vec<u8>)>,
) -> std::io::Result<Result<(), DriftError>> {
    let mut differences = Vec::new();
    for (path, (executable, content)) in expected {
        let difference = match super::render::read(&folder.join(path))? {
            None => Some(Difference::Missing),
            Some(found) if found != (*executable, content.clone()) => Some(Difference::Changed),
            Some(_) => None,
        };
        differences.extend(difference.map(|difference| (difference, path.display().to_string())));
    }
    let mut found = Vec::new();
    walk(folder, Path::new(""), &mut found)?;
    let extra = found.iter().filter(|path| !expected.contains_key(*path));
    differences.extend(extra.map(|path| (Difference::Extra, path.display().to_string())));
    match differences.is_empty() {
        true => Ok(Ok(())),
        false => Ok(Err(DriftError { folder: folder.to_owned(), differences })),
    }
}

/// All files below `folder`, sorted.
fn walk(folder: &Path, path: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let here = folder.join(path);
    if !here.is_dir() {
        return Ok(());
    }
    let mut entries: Vec<_> = fs_err::read_dir(here)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(fs_err::DirEntry::file_name);
    for entry in entries {
        let inner = path.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => walk(folder, &inner, found)?,
            false => found.push(inner),
        }
    }
    Ok(())
}
