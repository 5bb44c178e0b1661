//! `--metadata-file`: what was built, for other programs.

use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::error::{ExitCode, Explain};
use crate::image::{Digest, Reference};
use crate::plan::Plan;
use crate::report::Record;

/// A file that a run needs and cannot have.
#[derive(Debug, thiserror::Error)]
#[error("failed to {doing}")]
pub(super) struct FileError {
    doing: String,
    #[source]
    source: io::Error,
}

impl FileError {
    pub(super) fn runtime(source: io::Error) -> Self {
        Self { doing: "start the threads that builds are watched by".to_owned(), source }
    }

    pub(super) fn manual(source: io::Error) -> Self {
        Self { doing: "write the manual pages".to_owned(), source }
    }

    pub(super) fn logs(source: io::Error) -> Self {
        Self { doing: "make a folder for the logs".to_owned(), source }
    }

    pub(super) fn lock(source: io::Error) -> Self {
        Self { doing: "write the lock of the upstream images".to_owned(), source }
    }

    pub(super) fn generated(path: &Path, source: io::Error) -> Self {
        Self { doing: format!("write the generated file `{}`", path.display()), source }
    }

    pub(super) fn comparing(folder: &Path, source: io::Error) -> Self {
        Self { doing: format!("compare what is in `{}`", folder.display()), source }
    }

    pub(super) fn base(source: io::Error) -> Self {
        Self { doing: "prepare the files of the pull request".to_owned(), source }
    }

    pub(super) fn notes(source: io::Error) -> Self {
        Self { doing: "write the notes of the release".to_owned(), source }
    }

    pub(super) fn outputs(source: io::Error) -> Self {
        Self { doing: "write to the file that `GITHUB_OUTPUT` names".to_owned(), source }
    }

    fn metadata(path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self {
            doing: format!("write the metadata file `{}`", path.display()),
            source,
        }
    }
}

impl Explain for FileError {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Failure
    }
}

/// What is told of a run.
pub(super) struct RunOutcome<'a> {
    /// What came of each variant.
    pub(super) record: &'a Record,
    /// Whether the images have their names.
    pub(super) named: bool,
    /// The release set, where one was written.
    pub(super) set: Option<&'a (Reference, Digest)>,
}

/// Writes `path` in one step: whoever reads it finds all of it or what was there before.
pub(super) fn write(
    path: &Path,
    plan: &Plan<'_>,
    outcome: &RunOutcome<'_>,
) -> Result<(), FileError> {
    let failed = FileError::metadata(path);
    let text = serde_json::to_string_pretty(&document(plan, outcome)).expect("a record is JSON");
    let mut file = temporary(path).map_err(&failed)?;
    writeln!(file, "{text}").map_err(&failed)?;
    let readable = std::fs::Permissions::from_mode(0o644);
    file.as_file().set_permissions(readable).map_err(&failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// Makes sure that `path` can be written, before a run begins whose end it is to tell.
pub(super) fn check(path: &Path) -> Result<(), FileError> {
    temporary(path).map(drop).map_err(FileError::metadata(path))
}

fn temporary(path: &Path) -> io::Result<tempfile::NamedTempFile> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    tempfile::NamedTempFile::new_in(folder)
}

fn document(plan: &Plan<'_>, outcome: &RunOutcome<'_>) -> Value {
    let RunOutcome { record, named, set } = outcome;
    let mut targets = Map::new();
    let mut add = |target: &str, digest: &Digest, references: &[Reference], kept, cached| {
        let references = references.iter().filter(|_| *named);
        let references: Map<String, Value> =
            references.map(|reference| (reference.to_string(), json!(digest))).collect();
        let image = json!({
            "digest": digest, "references": references, "cached": cached, "kept": kept,
        });
        targets.insert(target.to_owned(), image);
    };
    for row in &record.finished {
        add(&row.target, &row.digest, &row.references, false, row.cached);
    }
    for row in &record.kept {
        add(&row.target, &row.digest, &row.references, true, true);
    }
    let failed: Vec<&str> = record.failed.iter().map(|failed| failed.target.as_str()).collect();
    let cancelled: Vec<&str> = record.cancelled.iter().map(|(target, _)| target.as_str()).collect();
    let set = set.map(|(reference, digest)| json!({ "reference": reference, "digest": digest }));
    json!({
        "schema": 1,
        "version": plan.version,
        "whole": plan.whole && *named && failed.is_empty() && cancelled.is_empty(),
        "targets": targets,
        "failed": failed,
        "cancelled": cancelled,
        "set": set,
    })
}
