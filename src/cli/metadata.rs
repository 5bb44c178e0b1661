//! `--metadata-file`: what was built, for other programs.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::error::{ExitCode, Explain};
use crate::image::{Digest, Reference};
use crate::plan::{Fingerprint, Plan, Target};
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

    pub(super) fn output(source: io::Error) -> Self {
        Self { doing: "write the output".to_owned(), source }
    }

    pub(super) fn manual(source: io::Error) -> Self {
        Self { doing: "write the manual pages".to_owned(), source }
    }

    pub(super) fn logs(source: io::Error) -> Self {
        Self { doing: "make a folder for the logs".to_owned(), source }
    }

    pub(super) fn summary(source: io::Error) -> Self {
        Self { doing: "write the summary of the step".to_owned(), source }
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

    pub(super) fn outputs(source: io::Error) -> Self {
        Self { doing: "write to the file that `GITHUB_OUTPUT` names".to_owned(), source }
    }

    pub(super) fn notes(source: io::Error) -> Self {
        Self { doing: "write the notes of the release".to_owned(), source }
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
    /// What the targets of the plan are made of, as far as that is certain; nothing where the run
    /// did not come so far.
    pub(super) fingerprints: &'a [Option<Fingerprint>],
    /// Whether the images have their names.
    pub(super) named: bool,
    /// Whether they were to have none.
    pub(super) staged: bool,
    /// Whether they were to be built anew, whatever was there.
    pub(super) forced: bool,
    /// The release set, where one was written.
    pub(super) set: Option<&'a (Reference, Digest)>,
}

impl RunOutcome<'_> {
    /// Whether all images of the matrix are there under their names.
    pub(super) fn is_whole(&self, plan: &Plan<'_>) -> bool {
        let Record { failed, cancelled, .. } = self.record;
        plan.whole && self.named && failed.is_empty() && cancelled.is_empty()
    }
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
    let RunOutcome { record, fingerprints, named, staged, forced, set } = outcome;
    let made_of: HashMap<&str, (&Target<'_>, Option<&Fingerprint>)> = plan
        .targets
        .iter()
        .enumerate()
        .map(|(at, target)| (target.id(), (target, fingerprints.get(at).and_then(Option::as_ref))))
        .collect();
    let mut targets = Map::new();
    let mut add = |target: &str, digest: &Digest, references: &[Reference], kept, cached| {
        let references = references.iter().filter(|_| *named);
        let references: Map<String, Value> =
            references.map(|reference| (reference.to_string(), json!(digest))).collect();
        let known = made_of.get(target);
        let image = json!({
            "digest": digest,
            "references": references,
            "cached": cached,
            "kept": kept,
            "fingerprint": known.and_then(|(_, fingerprint)| *fingerprint),
            "platforms": known.map(|(target, _)| &target.platforms[..]),
            "size": record.sizes.get(target),
        });
        targets.insert(target.to_owned(), image);
    };
    for row in &record.finished {
        add(&row.target, &row.digest, &row.references, false, row.cached);
    }
    for row in &record.kept {
        let staged = record.staged.get(&row.target);
        let cached = staged.copied().unwrap_or(true);
        add(&row.target, &row.digest, &row.references, staged.is_none(), cached);
    }
    let failed: Vec<&str> = record.failed.iter().map(|failed| failed.target.as_str()).collect();
    let cancelled: Vec<&str> = record.cancelled.iter().map(|(target, _)| target.as_str()).collect();
    let set = set.map(|(reference, digest)| json!({ "reference": reference, "digest": digest }));
    json!({
        "schema": 1,
        "version": plan.version,
        "whole": outcome.is_whole(plan),
        "staged": staged,
        "forced": forced,
        "targets": targets,
        "failed": failed,
        "cancelled": cancelled,
        "set": set,
    })
}
