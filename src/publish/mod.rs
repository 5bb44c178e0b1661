//! Publishes releases: either every image of a release gets its tags, or none does.
//!
//! Each step starts when the one before it has succeeded for every row:
//!
//! 1. *survey*: look up the image and the version tag of each row. A version tag that points to an image of different
//!    content ends the run here, before it changes anything.
//! 2. *preflight*: make sure that the run may push to the repositories of the missing rows.
//! 3. *build* the missing images, check them and push each by its digest under its *staging tags*. One contains the
//!    fingerprint, the other also a digest of the checks that the image has passed. Later runs on any machine find the
//!    image by them. If an image exists and has not passed the current checks, only these run. Mirrored images, and
//!    images that a registry lacks and another one has, are *copied* byte for byte.
//! 4. *barrier*: every digest is in all of its repositories, and no other run has set a version tag since the survey.
//! 5. *version tags*: send the pushed manifest again under the tag. No blob moves.
//! 6. the *release sets*: in each registry an artifact that lists the images of the release. It claims the release's
//!    place among those of the matrix.
//! 7. *aliases* and the newest sets: the tags that move from release to release, and never back.
//!
//! The registry is the only memory: after a crash or a failure, the same command completes the release. A [`RunLock`]
//! prevents concurrent runs on one machine.
//!
//! [`publish`] does all of it. The two halves may also run on different machines: [`stage`] does the steps up to the
//! build for some rows, or for one platform of them, and [`promote`] the others for all rows, without an engine. Start reading
//! with [`publish`].

mod aliases;
mod audit;
mod by_platform;
mod contents;
mod copies;
mod error;
mod image;
mod join;
mod limits;
mod lock;
mod metadata;
mod order;
mod place;
mod preflight;
mod promote;
mod rows;
mod set;
mod staging;
mod stale;
mod status;
mod survey;
mod tags;

pub use audit::{Audited, Finding, audit, stray_aliases};
pub use by_platform::unstaged_platforms;
pub use contents::{ImageContent, Since, contents};
pub use error::{Absence, Oversized, PublishError};
pub use image::{ContainerConfig, container_config, platforms, size};
pub use join::{JobFile, JoinError, Listed, ListedImage, join};
pub use lock::{LockFile, RunLock, RunLockError, user_folder};
pub use metadata::TargetMetadata;
pub(crate) use metadata::{Metadata, SetMetadata};
pub use place::Place;
pub use promote::{PromoteRequest, gather, promote};
pub use set::{ReleaseSet, SetForm, SetImage, SetName};
pub use stale::{delete_tags, stale_tags};
pub use status::{Candidate, publication_status};
pub use survey::{OutdatedTag, PlaceSurvey, Survey};

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::try_join_all;

use crate::engine::{self, BuildJob, Engine, Outcome, RunRequest};
use crate::error::Report;
use crate::event::{Event, Events};
use crate::image::{Digest, Platform, Reference, Repository, Size};
use crate::plan::{Fingerprint, GpuFacts, PrintedTag};
use crate::registry::Registries;
use crate::version::Version;

use copies::Copies;
use order::Order;
use rows::SurveyedRows;
use staging::Staging;
use tags::TagSetter;

/// An image in a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedImage {
    pub repository: Repository,
    pub digest: Digest,
}

/// One image of a release.
#[derive(Debug, Clone)]
pub struct Row {
    /// How it is built.
    pub job: BuildJob,
    /// The image that it is a copy of, if it is not built.
    pub mirror: Option<PinnedImage>,
    /// The aliases with the output of commands, which is in the label of its image.
    pub printed_tags: Vec<PrintedTag>,
    /// The fingerprint of its inputs; `None` if they are uncertain, and it is always built.
    pub fingerprint: Option<Fingerprint>,
    /// Why its inputs are uncertain, if they are.
    pub uncertain: Option<String>,
    /// The digest of its checks; `None` if it has none.
    pub checks: Option<Digest>,
    /// Its CUDA libraries, if it has any. It must not lose a GPU that the published image supports.
    pub gpu: Option<GpuFacts>,
    /// The largest compressed size for one platform.
    pub max_size: Option<Size>,
}

impl Row {
    /// Returns its version tag in its first repository.
    fn version(&self) -> &Reference {
        &self.job.references[0]
    }

    /// Returns its tags in its first repository.
    fn first(&self) -> Place<'_> {
        Place::new(self.job.places().next().expect("a row has a version tag"))
    }

    /// Returns its tags in each of its repositories.
    fn places(&self) -> impl Iterator<Item = Place<'_>> {
        self.job.places().map(Place::new)
    }

    /// Returns its tags in a registry; `None` if it is not published there.
    fn place_in(&self, registry: &str) -> Option<Place<'_>> {
        self.places().find(|place| place.registry() == registry)
    }
}

/// The images of a release and their names.
#[derive(Debug)]
pub struct ReleaseRequest {
    /// The images, in plan order.
    pub rows: Vec<Row>,
    /// Other images of the matrix that these are based on. They get no tags but staging tags.
    pub parents: Vec<Row>,
    /// The version of the images.
    pub version: Option<Version>,
    /// The names of the release sets, one in each registry; none for a part of a matrix.
    pub sets: Vec<SetName>,
    /// The release sets of this version, which an earlier run may have written.
    pub known: Vec<Reference>,
    /// The newest release sets, if the matrix has release sets.
    pub newest: Vec<Reference>,
    /// Whether version tags move that point to different images.
    pub overwrite: bool,
}

/// The release to publish or to stage, and how its images are built.
#[derive(Debug)]
pub struct PublishRequest {
    /// The images and their names.
    pub release: ReleaseRequest,
    /// Whether every row is built, even if its image is in the registry.
    pub force: bool,
    /// How builds run. Its jobs are replaced by those of the rows that are missing or not checked.
    pub run: RunRequest,
}

/// The result of the build phase.
#[derive(Debug)]
pub enum Staged {
    /// Every row has a checked image in its registry.
    All {
        /// The digests, in plan order.
        digests: Vec<Digest>,
        /// The number of images that this run has built or checked.
        built: usize,
    },
    /// Some rows failed, or the run was interrupted: the outcome of each build.
    Unfinished(Vec<Outcome>),
}

/// The outcome of a release: all or no tags are set.
#[derive(Debug)]
pub enum Published {
    /// All tags point to their images.
    Whole {
        /// The digests, in plan order.
        digests: Vec<Digest>,
        /// The release sets that were written, one in each registry.
        sets: Vec<(Reference, Digest)>,
    },
    /// Some rows failed, or the run was interrupted, and no tag was set: the outcome of each build.
    Unfinished(Vec<Outcome>),
}

/// Publishes a release. `connect` is called if an image must be built or checked.
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
    let PublishRequest { mut release, force, run } = request;
    let (begun, cancel) = (Instant::now(), run.cancel.clone());
    let phase = BuildPhase { release: &release, registries, events, force, platform: None };
    let Some(staged) = phase.run(run, connect).await? else {
        return Ok(Published::Unfinished(Vec::new()));
    };
    match staged {
        Staged::All { digests, .. } => {
            release.read_aliases(registries, events, &digests).await?;
            let (release, cancel) = (&release, &cancel);
            let setter = TagSetter { registries, events, cancel, release, digests: &digests };
            let sets = set_tags(&setter, begun).await?;
            Ok(Published::Whole { digests, sets })
        }
        Staged::Unfinished(outcomes) => {
            let message =
                "no tags were set; rerun the same command to build only the missing images";
            events.emit(&Event::Warning { target: None, message: message.to_owned() });
            Ok(Published::Unfinished(outcomes))
        }
    }
}

/// Builds and checks the missing images of a release and pushes them by digest. Sets no tag that anybody pulls.
/// With `platform`, only the images for that one: [`promote`] joins them with those of the other platforms.
/// `connect` is called if an image must be built or checked.
pub async fn stage<E, C>(
    request: PublishRequest,
    platform: Option<&Platform>,
    registries: &Registries,
    events: &Events,
    connect: impl FnOnce() -> C,
) -> Result<Staged, Report>
where
    E: Engine,
    C: Future<Output = Result<E, Report>>,
{
    let begun = Instant::now();
    let release = &request.release;
    let unpinned = release.rows.iter().filter(|row| row.fingerprint.is_none());
    let unpinned: Vec<String> = unpinned.map(|row| row.job.target.clone()).collect();
    if !unpinned.is_empty() {
        return Err(PublishError::Unpinned { targets: unpinned }.into());
    }
    let phase = BuildPhase { release, registries, events, force: request.force, platform };
    let Some(staged) = phase.run(request.run, connect).await? else {
        return Ok(Staged::Unfinished(Vec::new()));
    };
    match staged {
        Staged::All { built: 0, .. } => {
            events.emit(&Event::RunFinished { elapsed: begun.elapsed() });
        }
        Staged::All { .. } => {}
        Staged::Unfinished(_) => {
            let message =
                "some images are not staged; rerun the same command to build only the missing ones";
            events.emit(&Event::Warning { target: None, message: message.to_owned() });
        }
    }
    Ok(staged)
}

/// Passes the barrier and sets the version tags, the release sets and the aliases, in this order: each step in all
/// registries before the next. Returns the release sets. The event that reports the end has the time since `begun`.
async fn set_tags(
    setter: &TagSetter<'_>,
    begun: Instant,
) -> Result<Vec<(Reference, Digest)>, PublishError> {
    let TagSetter { registries, events, release, digests, .. } = setter;
    setter.barrier().await?;
    // Reports a fault of a newest set before the first tag is set.
    let orders = release.sets.iter().map(|name| Order::read(setter, name));
    let orders = try_join_all(orders).await?;
    let mut tags = setter.set_versions().await?;
    let (mut written, mut claims) = (Vec::new(), Vec::new());
    for (name, order) in release.sets.iter().zip(&orders) {
        let version = release.version.as_ref().map(ToString::to_string);
        let mut set = ReleaseSet::new(version, &release.rows, digests, name.registry());
        set.is_ordered = order.is_some();
        let reference = &name.references[0];
        let digest = set::write(registries, reference, &set, name.form).await?.digest;
        written.push((reference.clone(), digest));
        claims.extend(order.as_ref().map(|order| (order, set)));
    }
    for (order, set) in &claims {
        tags += order.settle(set).await?;
    }
    let ordered = claims.iter().map(|(order, _)| order.registry()).collect();
    let all = release.rows.iter().flat_map(Row::places).map(Place::registry);
    let others: BTreeSet<&str> = &all.collect::<BTreeSet<_>>() - &ordered;
    tags += setter.set_aliases(&Vec::from_iter(others)).await?;
    events.emit(&Event::Published { tags, elapsed: begun.elapsed() });
    Ok(written)
}

/// Looks up the images of a release, builds the missing ones and checks the unchecked ones.
struct BuildPhase<'a> {
    release: &'a ReleaseRequest,
    registries: &'a Registries,
    events: &'a Events,
    force: bool,
    /// The platform to build images for; `None` for all.
    platform: Option<&'a Platform>,
}

impl BuildPhase<'_> {
    /// Returns `None` if the run was cancelled during the lookup.
    async fn run<E, C>(
        &self,
        mut run: RunRequest,
        connect: impl FnOnce() -> C,
    ) -> Result<Option<Staged>, Report>
    where
        E: Engine,
        C: Future<Output = Result<E, Report>>,
    {
        let Self { release, registries, events, force, platform } = *self;
        let cancel = run.cancel.clone();
        let (surveys, below) = tokio::select! {
            surveys = look_up_all(registries, release, force) => surveys?,
            () = cancel.cancelled() => return Ok(None),
        };
        release.refuse_conflicting_tags(&surveys, force)?;
        limits::refuse_losses(registries, release, &surveys).await?;
        let mut rows = SurveyedRows::new(release, surveys, below);
        if let Some(platform) = platform {
            rows = rows.for_platform(registries, platform, force).await?;
        }
        preflight::check(registries, rows.incomplete()).await?;
        let copies = Copies::new(registries, events);
        tokio::select! {
            copied = copies.complete(rows.incomplete_images()) => copied?,
            () = cancel.cancelled() => return Ok(Some(Staged::Unfinished(Vec::new()))),
        }
        let mut digests = rows.unchanged();
        for (row, digest) in rows.released().iter().zip(&digests) {
            if let Some(digest) = digest {
                events.emit(&row.job.unchanged(digest));
            }
        }
        let mut outcomes = Vec::new();
        if !rows.missing.is_empty() {
            let engine = tokio::select! {
                engine = connect() => engine?,
                () = cancel.cancelled() => return Ok(Some(Staged::Unfinished(Vec::new()))),
            };
            let (all, existing) = (&rows.rows, rows.existing());
            let staging = Staging::new(engine, registries, events, all, &existing, force);
            run.jobs = rows.jobs();
            outcomes = engine::run(Arc::new(staging), run, events).await;
            for (row, outcome) in rows.missing.iter().zip(&outcomes) {
                if let Outcome::Built(image) = outcome {
                    digests[*row] = Some(image.digest.clone());
                }
            }
            tokio::select! {
                copied = copies.complete(rows.built(&digests)) => copied?,
                () = cancel.cancelled() => {}
            }
            if cancel.is_cancelled() {
                return Ok(Some(Staged::Unfinished(outcomes)));
            }
        }
        let Some(digests) = rows.of_release(&digests) else {
            return Ok(Some(Staged::Unfinished(outcomes)));
        };
        limits::refuse_oversized(registries, rows.released(), &digests).await?;
        Ok(Some(Staged::All { digests, built: rows.missing.len() }))
    }
}

/// Looks up every row. With `force`, no image counts that was built before.
async fn look_up(
    registries: &Registries,
    release: &ReleaseRequest,
    force: bool,
) -> Result<Vec<Survey>, PublishError> {
    let ReleaseRequest { rows, version, sets, known, newest, overwrite, .. } = release;
    let repositories = rows.iter().flat_map(|row| row.job.repositories());
    let of_sets = known.iter().map(|reference| &reference.repository);
    registries.declare_destinations(repositories.chain(of_sets));
    let is_whole = !sets.is_empty();
    let newest = newest.iter().filter(|_| is_whole);
    let found = known.iter().chain(newest).map(async |reference| {
        let found = ReleaseSet::read(registries, reference).await?;
        if let Some((set, _)) = &found
            && is_whole
            && !overwrite
        {
            let names = rows.iter().flat_map(|row| row.job.references.iter().cloned());
            set.check_matrix(reference, names, version.as_ref())?;
        }
        Ok::<_, PublishError>(found.map(|(set, _)| set).filter(|_| known.contains(reference)))
    });
    let sets: Vec<ReleaseSet> = try_join_all(found).await?.into_iter().flatten().collect();
    Survey::take(registries, rows, &sets, force).await
}

/// Looks up every row, and the images that the rows are based on. These are never built again only because the release is.
async fn look_up_all(
    registries: &Registries,
    release: &ReleaseRequest,
    force: bool,
) -> Result<(Vec<Survey>, Vec<Survey>), PublishError> {
    let surveys = look_up(registries, release, force).await?;
    Ok((surveys, Survey::take(registries, &release.parents, &[], false).await?))
}

impl ReleaseRequest {
    /// Refuses a release whose version tags point, or may point, to images of different content, unless they may move.
    fn refuse_conflicting_tags(&self, surveys: &[Survey], force: bool) -> Result<(), PublishError> {
        if self.overwrite {
            return Ok(());
        }
        let conflicting = self.rows.iter().zip(surveys).flat_map(|(row, survey)| {
            let places: Vec<Place<'_>> = row.places().collect();
            survey.conflicts().map(move |at| (row, places[at].version().clone()))
        });
        let (known, unknown): (Vec<_>, Vec<_>) =
            conflicting.partition(|(row, _)| force || row.fingerprint.is_some());
        if !known.is_empty() {
            let version = self.version.as_ref().map(ToString::to_string);
            let references = known.into_iter().map(|(_, reference)| reference).collect();
            return Err(PublishError::Conflict { version, references, force });
        }
        if !unknown.is_empty() {
            let reason = |row: &Row| row.uncertain.clone().unwrap_or_default();
            let (reasons, references) =
                unknown.into_iter().map(|(row, reference)| (reason(row), reference)).unzip();
            return Err(PublishError::Incomparable { references, reasons });
        }
        Ok(())
    }
}
