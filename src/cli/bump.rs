//! `basegen bump`: a new version, in every place that says it.

use serde_json::json;

use crate::error::{ExitCode, Explain, Report};
use crate::matrix::{Matrix, Selection, VersionTable};
use crate::plan::{Plan, PublishedState, with_readme};
use crate::publish::ReleaseSet;
use crate::report::{Outputs, escape_json, format};
use crate::version::{self, FileEdit, Level, Prerelease, Version, VersionOccurrence};

use super::args::{AnswerFormat, BumpArgs, PrereleaseKind};
use super::{Session, answer};
use crate::ops::{ArgumentError, Context, Naming, lookup, registries, release_set, since};

/// There is no version to raise.
#[derive(Debug, thiserror::Error)]
#[error("the matrix does not say where its version lives")]
pub(super) struct NoVersion;

impl Explain for NoVersion {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Matrix
    }

    fn hint(&self) -> Option<String> {
        Some("add `[version]` to it, with `file` and what names the place in it".to_owned())
    }
}

pub(super) fn run(args: &BumpArgs, session: &Session) -> Result<ExitCode, Report> {
    let context = &session.context;
    let matrix = context.matrix()?;
    let table = matrix.version.as_ref().ok_or(NoVersion)?;
    let (before, to) = target(args, table, matrix)?;
    let stays = match args.if_changed {
        true => unchanged(args, matrix, &before.version, context)?,
        false => None,
    };
    let edits = match &stays {
        Some(_) => Vec::new(),
        None => edits(table, matrix, &to)?,
    };
    if args.format == AnswerFormat::Github && !args.dry_run {
        answer::check(context)?;
    }
    if !args.dry_run {
        version::write(&matrix.checkout, &edits)?;
    }
    let edits = edits
        .into_iter()
        .map(|edit| FileEdit { path: version::display_path(matrix.folder(), &edit.path), ..edit });
    let edits = edits.collect();
    let now = if stays.is_some() { before.version.clone() } else { to };
    Answer { before: before.version, now, edits, stays }.tell(args, session)?;
    Ok(ExitCode::Success)
}

/// What the first place says, and what all are to say.
fn target(
    args: &BumpArgs,
    table: &VersionTable,
    matrix: &Matrix,
) -> Result<(VersionOccurrence, Version), Report> {
    let kind = args.pre.map(|kind| match kind {
        PrereleaseKind::Dev => Prerelease::Dev,
        PrereleaseKind::Alpha => Prerelease::Alpha,
        PrereleaseKind::Beta => Prerelease::Beta,
        PrereleaseKind::Rc => Prerelease::Rc,
    });
    let Ok(level) = args.to.parse::<Level>() else {
        if args.pre.is_some() {
            let reason = "`--pre` goes with `patch`, `minor`, `major` or `prerelease`";
            return Err(ArgumentError::new("bump", &args.to, &reason).into());
        }
        // Places that disagree are what a version is given for.
        let first = version::locate(&table.first(), &matrix.checkout)?;
        let to = version::target(&first, &args.to, args.allow_downgrade)?;
        return Ok((first, to));
    };
    if args.allow_downgrade {
        let reason = "`--allow-downgrade` goes with a version, such as `v0.13.0`";
        return Err(ArgumentError::new("bump", &args.to, &reason).into());
    }
    let first = version::agreed(table, &matrix.checkout)?.swap_remove(0);
    let to = version::bump(&first, level, kind)?;
    Ok((first, to))
}

/// The edits of all places, and of the README.
fn edits(table: &VersionTable, matrix: &Matrix, to: &Version) -> Result<Vec<FileEdit>, Report> {
    let edits = version::edits(table, &matrix.checkout, to)?;
    let plan = plan(matrix, to)?;
    Ok(with_readme(&plan, edits)?)
}

fn plan<'a>(matrix: &'a Matrix, version: &Version) -> Result<Plan<'a>, Report> {
    let request = Naming::default().with_version(Some(version.clone()));
    Ok(Plan::new(matrix, &matrix.select(&Selection::default())?, request)?)
}

/// Why the version stays, if no image has changed since it was released.
fn unchanged(
    args: &BumpArgs,
    matrix: &Matrix,
    version: &Version,
    context: &Context,
) -> Result<Option<String>, Report> {
    if let Some(revision) = &args.since {
        let naming = Naming::default();
        let since = since::compare(context, &Selection::default(), &naming, revision)?;
        let is_built = since.comparison.affected.iter().any(crate::plan::Affected::is_built);
        return Ok((!is_built).then(|| format!("no image has changed since {revision}")));
    }
    let plan = plan(matrix, version)?;
    if !is_released(&plan, context)? {
        return Ok(Some(format!(
            "{version} is not released yet, and what has changed goes with it"
        )));
    }
    let stands = context.block_on(lookup::required_status(context, &plan))?;
    let is_published = stands.iter().all(|stand| stand.state == PublishedState::Published);
    Ok(is_published.then(|| format!("no image has changed since {version} was released")))
}

/// Whether the registries have a release of the plan's version, or any of its tags.
pub(super) fn is_released(plan: &Plan<'_>, context: &Context) -> Result<bool, Report> {
    let registries = context.registries()?;
    context.block_on(async {
        if let Some(set) = release_set::of_version(plan)?
            && ReleaseSet::read(&registries, &set).await?.is_some()
        {
            return Ok(true);
        }
        let tags = plan.targets.iter().map(|target| &target.reference);
        for found in registries::digests(&registries, tags).await {
            if found?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    })
}

/// What came of it.
struct Answer {
    before: Version,
    now: Version,
    /// With paths as the user would write them.
    edits: Vec<FileEdit>,
    /// Why the version stays as it is.
    stays: Option<String>,
}

impl Answer {
    fn tell(&self, args: &BumpArgs, session: &Session) -> Result<(), Report> {
        let printer = &session.printer;
        if args.dry_run && args.format == AnswerFormat::Text {
            printer.note(self.headline().as_str());
            printer.result(&version::diff(&self.edits));
            return Ok(());
        }
        match args.format {
            AnswerFormat::Text => printer.done(&self.text()),
            AnswerFormat::Json => printer.result(&escape_json(&self.json(args.dry_run))),
            // The steps after this one would take it for done.
            AnswerFormat::Github if args.dry_run => printer.result(&self.outputs().to_string()),
            AnswerFormat::Github => {
                answer::hand_on(&self.outputs(), &self.text(), session)?;
            }
        }
        Ok(())
    }

    fn files(&self) -> Vec<String> {
        self.edits.iter().map(|edit| edit.path.display().to_string()).collect()
    }

    fn headline(&self) -> String {
        match (&self.stays, self.before == self.now, self.edits.len()) {
            (Some(reason), ..) => format!("the version stays {}: {reason}", self.now),
            (None, true, 0) => format!("the version is {} already", self.now),
            (None, true, count) => {
                format!("the version is {}, now in {} more", self.now, format::count(count, "file"))
            }
            (None, false, _) => format!("{} → {}", self.before, self.now),
        }
    }

    fn text(&self) -> String {
        let files = self.files().into_iter().map(|file| format!("\n  {file}"));
        format!("{}{}\n", self.headline(), files.collect::<String>())
    }

    fn json(&self, dry_run: bool) -> String {
        let document = json!({
            "schema": 1,
            "version_changed": self.before != self.now,
            "version_before": self.before,
            "version": self.now,
            "files": self.files(),
            "reason": self.stays,
            "diff": dry_run.then(|| version::diff(&self.edits)),
        });
        format!("{}\n", serde_json::to_string_pretty(&document).expect("an answer is JSON"))
    }

    fn outputs(&self) -> Outputs {
        Outputs::default()
            .with("version_changed", self.before != self.now)
            .with("version_before", &self.before)
            .with("version", &self.now)
            .with("files", json!(self.files()))
    }
}
