//! Publishing: a release is whole, or it is not there.
//!
//! In this order, each step only when the one before it has succeeded for every row:
//!
//! 1. *survey*: what do the registries have of each row? A version tag that stands for other
//!    bytes ends it here, before anything is done.
//! 2. *preflight*: may this run push to the repositories of the rows that are missing?
//! 3. *build* the missing images, check them, and push each by its digest. An image is then in its
//!    repository under its *staging tags*, a sign for later runs on any machine, and no names that
//!    anybody pulls: one is made of its fingerprint, the other of its fingerprint and the checks
//!    that it has passed. If an image exists and has not passed the current checks, only these run.
//! 4. *barrier*: every row's digest is in its repository, and no other run has set a tag since.
//! 5. *version tags*, by sending the pushed manifest once more: no blob moves.
//! 6. the *release set*, an artifact that lists the images which belong together. It claims the
//!    release's place among those of the matrix.
//! 7. *aliases*, those tags that move from release to release, and the newest set, which never go back.
//!
//! The registry is the only memory. The same call, after a crash or a failure, does the rest; a
//! [`RunLock`] keeps the runs of one machine apart.
//!
//! The two halves can be had one by one, on several machines: [`stage`] does the first two steps
//! for some rows, and [`promote`] the others for all of them, without an engine.

mod audit;
mod contents;
mod error;
mod join;
mod labels;
mod lock;
mod metadata;
mod naming;
mod order;
mod platforms;
mod preflight;
mod promote;
mod publication_status;
mod set;
mod size;
mod staging;
mod stale;
mod survey;

pub use audit::{Audited, Finding, StrayAlias, audit, stray_aliases};
pub use contents::{ImageContent, Since, contents};
pub use error::{Absence, PublishError};
pub use join::{JobFile, JobImage, JoinError, Joined, join};
pub use lock::{LockFile, RunLock, RunLockError, user_folder};
pub(crate) use metadata::{Metadata, SetMetadata, TargetMetadata};
pub use platforms::platforms;
pub use promote::{PromoteRequest, gather, promote};
pub use publication_status::{Candidate, publication_status};
pub use set::{ReleaseSet, SetForm, SetImage, SetName};
pub use size::size;
pub use stale::{delete_tags, stale_tags};
pub use survey::Survey;

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use crate::engine::{self, BuildJob, Engine, Outcome, RunRequest};
use crate::error::Report;
use crate::event::{Event, Events};
use crate::image::{Digest, Reference};
use crate::plan::Fingerprint;
use crate::registry::Registries;
use crate::version::Version;

use naming::Naming;
use staging::Staging;

/// One image of a release.
#[derive(Debug, Clone)]
pub struct Row {
    /// How it is built. Its references are its version tag first, then its aliases.
    pub job: BuildJob,
    /// The fingerprint of its inputs; `None` if they are uncertain, and it is always built.
    pub fingerprint: Option<Fingerprint>,
    /// Why its inputs are uncertain, if they are.
    pub uncertain: Option<String>,
    /// The digest of its checks; `None` if it has none.
    pub checks: Option<Digest>,
}

impl Row {
    /// The tag of the version.
    fn version(&self) -> &Reference {
        &self.job.references[0]
    }

    /// The same, as a list like that of the aliases.
    fn versions(&self) -> &[Reference] {
        &self.job.references[..1]
    }

    /// The tags that move.
    fn aliases(&self) -> &[Reference] {
        &self.job.references[1..]
    }
}

/// What is to be published, and how.
#[derive(Debug)]
pub struct PublishRequest {
    /// The images, in plan order.
    pub rows: Vec<Row>,
    /// Where the release set goes, and what it says; `None` for a part of a matrix.
    pub set: Option<SetName>,
    /// The version of the images, for messages.
    pub version: Option<Version>,
    /// The release set of this version, from when it was released before.
    pub known: Option<Reference>,
    /// Whether version tags that stand for other images are moved.
    pub overwrite: bool,
    /// Whether every row is built, be it in the registry or not.
    pub force: bool,
    /// How builds run; its jobs are those of the rows that are missing or not checked.
    pub run: RunRequest,
}

/// What is to be staged, and how.
#[derive(Debug)]
pub struct StageRequest {
    /// The images, in plan order.
    pub rows: Vec<Row>,
    /// The version of the images, for messages.
    pub version: Option<Version>,
    /// The release set of this version, from when it was released before.
    pub known: Option<Reference>,
    /// Whether images are staged although version tags point to others.
    pub overwrite: bool,
    /// Whether every row is built, be it in the registry or not.
    pub force: bool,
    /// How builds run; its jobs are those of the rows that are missing or not checked.
    pub run: RunRequest,
}

/// How staging ended.
#[derive(Debug)]
pub enum Staged {
    /// Every row is in its registry.
    All {
        /// The digests, in plan order.
        digests: Vec<Digest>,
    },
    /// Some rows could not be built or pushed, or the run was interrupted: how each build ended.
    Unfinished(Vec<Outcome>),
}

/// How publishing ended.
#[derive(Debug)]
pub enum Published {
    /// Every row is there under all its names.
    Whole {
        /// The digests, in plan order.
        digests: Vec<Digest>,
        /// The release set, where there is one.
        set: Option<(Reference, Digest)>,
    },
    /// Some rows could not be built or pushed, or the run was interrupted, and nothing was named:
    /// how each build ended.
    Unnamed(Vec<Outcome>),
}

/// Publishes the rows of `request`. `connect` is called when something must be built.
pub async fn publish<E, C>(
    request: PublishRequest,
    registries: &Registries,
    events: &Events,
    connect: impl FnOnce() -> C,
) -> Result<Published, Report>
where
    E: Engine,
    C: Future<Output = Result<E, Report>>,
{
    let PublishRequest { rows, set, version, known, overwrite, force, run } = request;
    let (begun, cancel) = (Instant::now(), run.cancel.clone());
    let surveys = tokio::select! {
        surveys = look_up(registries, &rows, known.as_ref(), force) => surveys?,
        () = cancel.cancelled() => return Ok(Published::Unnamed(Vec::new())),
    };
    if !overwrite {
        refuse_conflicting_tags(&rows, &surveys, version, force)?;
    }
    let making = Making { rows: &rows, registries, events, force };
    let digests = match making.run(surveys, run, connect).await? {
        Ok(digests) => digests,
        Err(outcomes) => {
            let message = "nothing was tagged. The same again builds what is missing, and no more";
            events.emit(&Event::Warning { target: None, message: message.to_owned() });
            return Ok(Published::Unnamed(outcomes));
        }
    };
    let naming =
        Naming { registries, events, cancel: &cancel, rows: &rows, digests: &digests, overwrite };
    let set = naming.all(set.as_ref(), begun).await?;
    Ok(Published::Whole { digests, set })
}

/// Builds what is missing of the rows of `request`, and pushes it by its digest; names nothing.
/// `connect` is called when something must be built.
pub async fn stage<E, C>(
    request: StageRequest,
    registries: &Registries,
    events: &Events,
    connect: impl FnOnce() -> C,
) -> Result<Staged, Report>
where
    E: Engine,
    C: Future<Output = Result<E, Report>>,
{
    let StageRequest { rows, version, known, overwrite, force, run } = request;
    let (begun, cancel) = (Instant::now(), run.cancel.clone());
    let unpinned = rows.iter().filter(|row| row.fingerprint.is_none());
    let unpinned: Vec<String> = unpinned.map(|row| row.job.target.clone()).collect();
    if !unpinned.is_empty() {
        return Err(PublishError::Unpinned { targets: unpinned }.into());
    }
    let surveys = tokio::select! {
        surveys = look_up(registries, &rows, known.as_ref(), force) => surveys?,
        () = cancel.cancelled() => return Ok(Staged::Unfinished(Vec::new())),
    };
    let is_run = surveys.iter().any(|survey| !survey.is_checked);
    if !overwrite {
        refuse_conflicting_tags(&rows, &surveys, version, force)?;
    }
    let making = Making { rows: &rows, registries, events, force };
    let digests = match making.run(surveys, run, connect).await? {
        Ok(digests) => digests,
        Err(outcomes) => {
            let message = "some are not staged. The same again builds what is missing, and no more";
            events.emit(&Event::Warning { target: None, message: message.to_owned() });
            return Ok(Staged::Unfinished(outcomes));
        }
    };
    if !is_run {
        events.emit(&Event::RunFinished { elapsed: begun.elapsed() });
    }
    Ok(Staged::All { digests })
}

/// The build phase: builds the missing images of `rows`, and checks the unchecked ones.
struct Making<'a> {
    rows: &'a [Row],
    registries: &'a Registries,
    events: &'a Events,
    force: bool,
}

impl Making<'_> {
    /// What each row is, once it is there and checked; how the builds ended where some are not.
    async fn run<E, C>(
        &self,
        surveys: Vec<Survey>,
        mut run: RunRequest,
        connect: impl FnOnce() -> C,
    ) -> Result<Result<Vec<Digest>, Vec<Outcome>>, Report>
    where
        E: Engine,
        C: Future<Output = Result<E, Report>>,
    {
        let Self { rows, registries, events, force } = *self;
        let missing: Vec<usize> = (0..rows.len()).filter(|row| !surveys[*row].is_checked).collect();
        let built: Vec<Option<Digest>> =
            surveys.iter().map(|survey| survey.content.clone()).collect();
        let checked =
            surveys.into_iter().map(|survey| survey.content.filter(|_| survey.is_checked));
        let mut digests: Vec<Option<Digest>> = checked.collect();
        for (row, digest) in rows.iter().zip(&digests) {
            if let Some(digest) = digest {
                events.emit(&row.job.unchanged(digest));
            }
        }
        if !missing.is_empty() {
            let cancel = run.cancel.clone();
            preflight::check(registries, missing.iter().map(|row| &rows[*row])).await?;
            let engine = tokio::select! {
                engine = connect() => engine?,
                () = cancel.cancelled() => return Ok(Err(Vec::new())),
            };
            let staging = Staging::new(engine, registries, events, rows, &built, force);
            run.jobs = jobs(rows, &missing, &built);
            let outcomes = engine::run(Arc::new(staging), run, events).await;
            for (row, outcome) in missing.iter().zip(&outcomes) {
                if let Outcome::Built(image) = outcome {
                    digests[*row] = Some(image.digest.clone());
                }
            }
            if cancel.is_cancelled() || digests.contains(&None) {
                return Ok(Err(outcomes));
            }
        }
        Ok(Ok(digests.into_iter().flatten().collect()))
    }
}

/// What there is of each row.
async fn look_up(
    registries: &Registries,
    rows: &[Row],
    known: Option<&Reference>,
    forced: bool,
) -> Result<Vec<Survey>, PublishError> {
    let repositories = rows.iter().map(|row| &row.version().repository);
    let of_set = known.map(|reference| &reference.repository);
    registries.declare_destinations(repositories.chain(of_set));
    let set = match known {
        Some(reference) => ReleaseSet::read(registries, reference).await?,
        None => None,
    };
    let set = set.as_ref().map(|(set, _)| set);
    Survey::take(registries, rows, set, forced).await
}

/// The jobs of `missing`, which wait for those of their leaders that are missing too. Of those that
/// are `built`, only the checks run.
fn jobs(rows: &[Row], missing: &[usize], built: &[Option<Digest>]) -> Vec<BuildJob> {
    let position = |row: &usize| missing.binary_search(row).ok();
    let jobs = missing.iter().map(|row| {
        let mut job = match &built[*row] {
            Some(digest) => staging::checking(&rows[*row].job, digest),
            None => rows[*row].job.clone(),
        };
        job.after = job.after.iter().filter_map(position).collect();
        job
    });
    jobs.collect()
}

/// Returns the rows whose version tag exists and does not point to the image that the survey found
/// for the row's content. This includes rows without such an image.
fn conflicting_tags<'a>(rows: &'a [Row], surveys: &[Survey]) -> Vec<&'a Row> {
    let rows = rows.iter().zip(surveys);
    let conflicting_tags =
        rows.filter(|(_, survey)| survey.version.is_some() && survey.version != survey.content);
    conflicting_tags.map(|(row, _)| row).collect()
}

/// Refuses a release whose version tags point, or may point, to images of different content.
fn refuse_conflicting_tags(
    rows: &[Row],
    surveys: &[Survey],
    version: Option<Version>,
    force: bool,
) -> Result<(), PublishError> {
    let (known, unknown): (Vec<&Row>, Vec<&Row>) = conflicting_tags(rows, surveys)
        .into_iter()
        .partition(|row| force || row.fingerprint.is_some());
    let references = |rows: &[&Row]| rows.iter().map(|row| row.version().clone()).collect();
    if !known.is_empty() {
        let version = version.map(|version| version.to_string());
        return Err(PublishError::Taken { version, references: references(&known), force });
    }
    if !unknown.is_empty() {
        let reasons = unknown.iter().map(|row| row.uncertain.clone().unwrap_or_default());
        let (references, reasons) = (references(&unknown), reasons.collect());
        return Err(PublishError::Incomparable { references, reasons });
    }
    Ok(())
}
