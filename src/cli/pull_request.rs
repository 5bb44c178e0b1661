//! The step behind a release that is published: the pull request that brings the repository in
//! step with it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::error::{ExitCode, Explain, FileError, Report};
use crate::forge::{
    Base, Body, GitHub, GitHubOptions, ImageRow, Notes, Opened, Proposal, ReleasePullRequest,
    RowChange, marker,
};
use crate::git;
use crate::matrix::{Matrix, refuse_branch};
use crate::plan::{Plan, PublishedState, Target};
use crate::publish::{self, ImageContent, ReleaseSet, Since};
use crate::registry::Registries;
use crate::report::{Outputs, Printer, markdown};
use crate::version::Version;

use super::in_step::{self, OnBase};
use super::{Session, bump, forge};
use crate::ops::{ArgumentError, Context, Recipe, lookup, release_drift, release_set, signals};

/// What a pull request is asked for with, beside what the matrix says.
#[derive(Debug, Clone, Default)]
pub(super) struct Wishes {
    /// The branch to propose the changes for.
    pub(super) base: Option<String>,
    /// Whether it is opened as a draft, whatever the matrix says.
    pub(super) draft: bool,
    /// Whether nothing is done, and what would be is shown.
    pub(super) dry_run: bool,
    /// Where the notes of the release are written to, too.
    pub(super) notes: Option<PathBuf>,
}

/// The longest title of a pull request, in characters.
const MAX_TITLE: usize = 256;

/// The longest text of a pull request, in characters.
/// Compared with bytes, which are never fewer.
const MAX_BODY: usize = 65_536;

/// The longest notes in a job summary, in bytes. GitHub allows 1 MiB for all of a step.
const MAX_SUMMARY: usize = 900 << 10;

/// Why there is no pull request for this call.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProposalError {
    /// Only some variants are in it.
    #[error("a pull request is for a whole release, and this is a part of one")]
    Part,
    /// The version is not the matrix' own.
    #[error("a pull request is for a version of the matrix, and `{0}` is none")]
    Custom(String),
    /// Some images of the version are not there.
    #[error("{version} is not whole in its registry: {}", Missing(missing))]
    NotWhole {
        /// The version.
        version: String,
        /// What is missing.
        missing: Vec<String>,
    },
    /// The base is ahead of what was released.
    #[error("`{branch}` says {there} already, which is newer than {released}")]
    Newer {
        /// The base branch.
        branch: String,
        /// The version there.
        there: String,
        /// The version that was released.
        released: String,
    },
    /// The user has had enough.
    #[error("interrupted while the pull request was prepared")]
    Interrupted,
    /// The branch of the pull request is its own base.
    #[error("the branch of the pull request is the branch that it is for: `{0}`")]
    SameBranch(String),
    /// The title is longer than GitHub allows.
    #[error("the title of the pull request has {0} characters, GitHub allows {MAX_TITLE}")]
    LongTitle(usize),
}

struct Missing<'a>(&'a [String]);

impl fmt::Display for Missing<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(10).try_for_each(|what| write!(formatter, "\n  {what}"))?;
        match self.0.len().checked_sub(10).filter(|more| *more > 0) {
            Some(more) => write!(formatter, "\n  and {more} more"),
            None => Ok(()),
        }
    }
}

impl Explain for ProposalError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Part | Self::Custom(_) => ExitCode::Usage,
            Self::NotWhole { .. } => ExitCode::Drift,
            Self::Newer { .. } => ExitCode::Forge,
            Self::SameBranch(_) | Self::LongTitle(_) => ExitCode::Matrix,
            Self::Interrupted => ExitCode::Interrupted,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Part => "leave out what selects variants or platforms",
            Self::Custom(_) => "leave out `--version-tag`; `basegen release VERSION` releases one",
            Self::NotWhole { .. } => {
                "no pull request was opened or changed; `basegen status` tells more. The same \
                 again publishes what is missing, and goes on"
            }
            Self::Newer { .. } => "the working tree is older than the branch: update it first",
            Self::Interrupted => "the same again goes on from there",
            Self::SameBranch(_) => "choose another `branch` in `[pull_request]`",
            Self::LongTitle(_) => "shorten `title` in `[pull_request]`",
        };
        Some(hint.to_owned())
    }
}

/// A pull request that can be asked for: everything is known that can be before anything is done.
pub(super) struct Proposing<'a> {
    plan: &'a Plan<'a>,
    version: &'a Version,
    options: GitHubOptions,
    wishes: Wishes,
    context: &'a Context,
    printer: &'a Printer,
}

impl<'a> Proposing<'a> {
    pub(super) fn new(
        plan: &'a Plan<'a>,
        wishes: Wishes,
        session: &'a Session,
    ) -> Result<Self, Report> {
        let Session { context, printer, .. } = session;
        let version = plan.version.as_ref().ok_or(bump::NoVersion)?;
        if plan.custom {
            return Err(ProposalError::Custom(version.to_string()).into());
        }
        if !plan.whole {
            return Err(ProposalError::Part.into());
        }
        if plan.matrix.version.is_none() {
            return Err(bump::NoVersion.into());
        }
        check_base(wishes.base.as_deref())?;
        let title = plan.matrix.pull_request.title(version.as_str()).chars().count();
        if title > MAX_TITLE {
            return Err(ProposalError::LongTitle(title).into());
        }
        let options = forge::options(plan.matrix, context, printer, wishes.dry_run)?;
        let proposing = Self { plan, version, options, wishes, context, printer };
        if !proposing.wishes.dry_run {
            proposing.look()?;
        }
        Ok(proposing)
    }

    /// Sees that the base can be edited, and that no open pull request is in the way: what the
    /// release would fail at after it was published is said before.
    fn look(&self) -> Result<(), Report> {
        let mut github = wait(self.context, GitHub::connect(&self.options))?;
        let base = wait(self.context, github.base(base_name(self.plan.matrix, &self.wishes)))?;
        let edits = wait(self.context, in_step::on_base(self.plan, self.version, &github, &base))?;
        self.check_order(&edits, &base)?;
        if !edits.is_empty() {
            let (request, _) = self.request(&edits.prefix, &Notes::default(), &base, MAX_BODY)?;
            wait(self.context, github.find_own(&request, &base))?;
        }
        Ok(())
    }

    /// Opens the pull request, updates the open one, or finds that there is nothing to do.
    pub(super) fn run(&self) -> Result<ExitCode, Report> {
        let missing = self.missing()?;
        if !missing.is_empty() && !self.wishes.dry_run {
            return Err(self.not_whole(missing).into());
        }
        let mut github = wait(self.context, GitHub::connect(&self.options))?;
        let base = wait(self.context, github.base(base_name(self.plan.matrix, &self.wishes)))?;
        let edits = wait(self.context, in_step::on_base(self.plan, self.version, &github, &base))?;
        self.check_order(&edits, &base)?;
        if edits.is_empty() {
            let message = format!(
                "nothing to do: `{}` is in step with {} already",
                base.branch, self.version
            );
            self.printer.done(&message);
            return Ok(ExitCode::Success);
        }
        let notes = match missing.is_empty() {
            true => wait(self.context, self.notes(&edits.version))?,
            false => self.expected(&edits.version)?,
        };
        let (request, _) = self.request(&edits.prefix, &notes, &base, MAX_BODY)?;
        let open = wait(self.context, github.find_own(&request, &base))?;
        let room = MAX_BODY - open.map_or(0, |open| open.kept_bytes(&request)).min(MAX_BODY);
        let (request, body) = self.request(&edits.prefix, &notes, &base, room)?;
        if self.wishes.dry_run {
            let diff = wait(self.context, edits.diff(&github))?;
            self.show(&request, &base, &diff);
            return Ok(ExitCode::Success);
        }
        self.write_notes(&notes, &request, &body)?;
        let changes = edits.changes();
        let branch = wait(self.context, github.prepare(&request, &base, &changes))?;
        // Nobody shall be asked to merge what cannot be pulled: tags may have gone since.
        let missing = self.missing()?;
        if !missing.is_empty() {
            return Err(self.not_whole(missing).into());
        }
        let opened = wait(self.context, github.open(&request, &base, &branch))?;
        if let Some(opened) = opened {
            self.tell(&opened)?;
        } else {
            let message = format!("nothing to do: `{}` has all of it already", base.branch);
            self.printer.done(&message);
        }
        Ok(ExitCode::Success)
    }

    /// What of the release is not in its registry.
    fn missing(&self) -> Result<Vec<String>, Report> {
        let drift = self.context.block_on(release_drift::find(self.context, self.plan, true))?;
        Ok(drift.problems.into_iter().map(|problem| problem.message).collect())
    }

    fn not_whole(&self, missing: Vec<String>) -> ProposalError {
        ProposalError::NotWhole { version: self.version.to_string(), missing }
    }

    /// Sees that the base does not go back to an older version.
    fn check_order(&self, edits: &OnBase, base: &Base) -> Result<(), ProposalError> {
        match (edits.version.number(), self.version.number()) {
            (Ok(there), Ok(released)) if there > released => Err(ProposalError::Newer {
                branch: base.branch.clone(),
                there: edits.version.to_string(),
                released: self.version.to_string(),
            }),
            _ => Ok(()),
        }
    }

    /// What the registry has of the release, beside that of the version that the base says.
    async fn notes(&self, before: &Version) -> Result<Notes, Report> {
        let registries = self.context.registries()?;
        let set = self.set(&registries, self.version).await?;
        let previous = match before == self.version {
            true => None,
            false => self.set(&registries, before).await?,
        };
        let before = previous.as_ref().map(|(_, set, _)| set);
        let (images, removed) = match &set {
            Some((reference, set, _)) => {
                set.check_repositories(reference, &self.plan.repositories())?;
                let contents = publish::contents(&registries, set, before).await?;
                (self.rows(set, &contents), removed(set, before))
            }
            None => Default::default(),
        };
        Ok(Notes {
            version: self.version.to_string(),
            previous: previous.as_ref().and_then(|(_, set, _)| set.version.clone()),
            images,
            removed,
            set: set.map(|(reference, _, digest)| (reference, digest)),
        })
    }

    /// The release set of a version.
    async fn set(
        &self,
        registries: &Registries,
        version: &Version,
    ) -> Result<Option<(crate::image::Reference, ReleaseSet, crate::image::Digest)>, Report> {
        let Some(mut reference) = release_set::of_version(self.plan)? else { return Ok(None) };
        let tag = reference.tag.as_str().replace(self.version.as_str(), version.as_str());
        let Ok(tag) = tag.parse() else { return Ok(None) };
        reference.tag = tag;
        let found = ReleaseSet::read(registries, &reference).await?;
        Ok(found.map(|(set, digest)| (reference, set, digest)))
    }

    fn rows(&self, set: &ReleaseSet, contents: &[ImageContent]) -> Vec<ImageRow> {
        let contents: BTreeMap<&str, &ImageContent> =
            contents.iter().map(|content| (content.id.as_str(), content)).collect();
        let row = |target: &Target<'_>| {
            let (image, content) = (set.images.get(target.id())?, contents.get(target.id())?);
            Some(ImageRow {
                reference: target.reference.clone(),
                digest: Some(image.digest.clone()),
                blobs: content.blobs.clone(),
                change: match &content.since {
                    None => RowChange::Unknown,
                    Some(Since::New) => RowChange::New,
                    Some(Since::Unchanged) => RowChange::Unchanged,
                    Some(Since::Changed(reasons)) => RowChange::Changed(reasons.clone()),
                },
            })
        };
        self.plan.targets.iter().filter_map(row).collect()
    }

    /// What the release will be, of one that is not published yet.
    fn expected(&self, before: &Version) -> Result<Notes, Report> {
        let stands = wait(self.context, lookup::required_status(self.context, self.plan))?;
        let registries = self.context.registries()?;
        let previous = wait(self.context, self.set(&registries, before))?.map(|(_, set, _)| set);
        let prints = Recipe::of(self.plan)?.fingerprints();
        let rows = self.plan.targets.iter().zip(stands).zip(prints);
        let rows = rows.map(|((target, stand), fingerprint)| ImageRow {
            reference: target.reference.clone(),
            digest: None,
            blobs: Vec::new(),
            change: match previous.as_ref().map(|set| set.images.get(target.id())) {
                Some(Some(image)) => {
                    let fingerprint = fingerprint.map(|fingerprint| fingerprint.to_string());
                    match fingerprint.is_some() && image.fingerprint == fingerprint {
                        true => RowChange::Unchanged,
                        // What is built already stands to its tag, and not to the release before.
                        false if stand.state == PublishedState::Retag => {
                            RowChange::Changed(Vec::new())
                        }
                        false => RowChange::Changed(stand.reasons),
                    }
                }
                Some(None) => RowChange::New,
                None => RowChange::Unknown,
            },
        });
        let previous = (before != self.version).then(|| before.to_string());
        let version = self.version.to_string();
        Ok(Notes { version, previous, images: rows.collect(), ..Notes::default() })
    }

    fn request(
        &self,
        prefix: &str,
        notes: &Notes,
        base: &Base,
        room: usize,
    ) -> Result<(ReleasePullRequest, Body), ProposalError> {
        let (matrix, version) = (self.plan.matrix, self.version.as_str());
        let table = &matrix.pull_request;
        let marker = marker_of(matrix, prefix);
        let body = notes.body(&marker, &self.place_of_all(), room);
        let branch = table.branch(version);
        if branch == base.branch {
            return Err(ProposalError::SameBranch(branch));
        }
        let request = ReleasePullRequest {
            version: self.version.clone(),
            title: table.title(version),
            body: body.text.clone(),
            marker,
            branch,
            draft: table.draft || self.wishes.draft,
            labels: table.labels.clone(),
            reviewers: table.reviewers.clone(),
            team_reviewers: table.team_reviewers.clone(),
            assignees: table.assignees.clone(),
        };
        Ok((request, body))
    }

    /// `--dry-run`: what would be committed, and what the pull request would say.
    fn show(&self, request: &ReleasePullRequest, base: &Base, diff: &str) {
        let ReleasePullRequest { title, branch, body, .. } = request;
        self.printer.result(&format!(
            "{title}\nfrom `{branch}` to `{}` of {}\n\n{diff}\n{body}",
            base.branch, self.options.repository
        ));
    }

    /// Where all images are listed if the pull request leaves some out.
    fn place_of_all(&self) -> String {
        let run = self.context.settings.github.run_id.as_deref();
        match run.filter(|_| self.context.settings.github.step_summary.as_ref().is_some()) {
            Some(run) => format!("The summary of workflow run {run} lists all of them."),
            None => format!("`basegen status {}` lists all of them.", self.version),
        }
    }

    /// Writes all of the notes to the file that is asked for, and to the job summary if the pull request
    /// leaves some out.
    fn write_notes(
        &self,
        notes: &Notes,
        request: &ReleasePullRequest,
        body: &Body,
    ) -> Result<(), Report> {
        if let Some(path) = &self.wishes.notes {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            parent
                .map_or(Ok(()), fs_err::create_dir_all)
                .map_err(FileError::failed_to("write the release notes"))?;
            let whole = body.spilled.as_ref().unwrap_or(&body.text);
            fs_err::write(path, whole).map_err(FileError::failed_to("write the release notes"))?;
        }
        if body.spilled.is_none() {
            return Ok(());
        }
        let summary = self.context.settings.github.step_summary.as_ref();
        if let Some(path) = &summary {
            let text = notes.body(&request.marker, "", MAX_SUMMARY).text;
            markdown::add(path, &format!("{text}\n")).map_err(FileError::summary)?;
        }
        let place = match (&self.wishes.notes, summary) {
            (Some(path), _) => format!("`{}` lists all of them", path.display()),
            (None, Some(_)) => "the job summary lists all of them".to_owned(),
            (None, None) => "`--notes FILE` writes all of them to a file".to_owned(),
        };
        self.printer.message(&format!("the pull request does not list all images: {place}"));
        Ok(())
    }

    fn tell(&self, opened: &Opened) -> Result<(), Report> {
        let pull = &opened.pull_request;
        let done = match opened.proposal {
            Proposal::Opened => "opened",
            Proposal::Updated => "updated",
            Proposal::Unchanged => "unchanged:",
        };
        self.printer.result(&format!("{done} pull request #{}: {}", pull.number, pull.url));
        for refused in &opened.refused {
            self.printer.message(&format!("warning: {refused}"));
        }
        if pull.is_by_actions() {
            self.printer.message(
                "warning: the pull request was opened with the token of Actions: its workflows wait for \
                 approval\n\
                 hint: select \"Approve workflows to run\" in the pull request, or use the token of a \
                 GitHub App (BASEGEN_APP_ID, BASEGEN_APP_PRIVATE_KEY). On an older GitHub Enterprise \
                 Server the workflows start only after the pull request is closed and reopened",
            );
        }
        if let Some(path) = &self.context.settings.github.output {
            let outputs = Outputs::default()
                .with("pull_request", pull.number)
                .with("pull_request_url", &pull.url);
            outputs.append(path).map_err(FileError::outputs)?;
        }
        Ok(())
    }
}

/// The branch that the pull request is for; `None` for the default branch of the repository.
fn base_name<'a>(matrix: &'a Matrix, wishes: &'a Wishes) -> Option<&'a str> {
    let of_matrix = matrix.pull_request.base.as_ref().map(|base| base.get_ref().as_str());
    wishes.base.as_deref().or(of_matrix)
}

fn check_base(name: Option<&str>) -> Result<(), ArgumentError> {
    let Some(name) = name else { return Ok(()) };
    match refuse_branch(name) {
        Some(reason) => Err(ArgumentError::new("base", name, &reason)),
        None => Ok(()),
    }
}

/// The marker of the pull requests of a matrix whose folder is `prefix` in its repository.
fn marker_of(matrix: &Matrix, prefix: &str) -> String {
    let file = matrix.source.path.file_name().unwrap_or_default().to_string_lossy();
    marker(&format!("{prefix}{file}"))
}

/// Returns the versions that the next one is counted from beside that of the base branch: of the open
/// pull request, and of the newest release if the base is the default branch. For a
/// maintenance branch, the newest release does not count.
pub(super) fn earlier_versions(
    plan: &Plan<'_>,
    wishes: &Wishes,
    session: &Session,
) -> Result<Vec<String>, Report> {
    let Session { context, printer, .. } = session;
    check_base(wishes.base.as_deref())?;
    let matrix = plan.matrix;
    let options = forge::options(matrix, context, printer, wishes.dry_run)?;
    let marker = marker_of(matrix, &git::prefix(matrix.folder()).unwrap_or_default());
    let mut github = wait(context, GitHub::connect(&options))?;
    let base = wait(context, github.base(base_name(matrix, wishes)))?;
    let mut versions = Vec::from_iter(wait(context, github.proposed_version(&marker, &base))?);
    if base.is_default {
        let registries = context.registries()?;
        let newest = wait(context, ReleaseSet::read(&registries, &release_set::newest(plan)))?;
        versions.extend(newest.and_then(|(set, _)| set.version));
    }
    Ok(versions)
}

/// Waits for `work`, or for an interrupt: what was asked of GitHub by then is found by the next run.
fn wait<T, E: Into<Report>>(
    context: &Context,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, Report> {
    context.block_on(async {
        tokio::select! {
            done = work => done.map_err(Into::into),
            () = signals::received() => Err(ProposalError::Interrupted.into()),
        }
    })
}

/// The images of the release before that this one has no more.
fn removed(now: &ReleaseSet, before: Option<&ReleaseSet>) -> Vec<String> {
    let before = before.into_iter().flat_map(|set| &set.images);
    let gone = before.filter(|(id, _)| !now.images.contains_key(*id));
    gone.map(|(_, image)| image.reference.to_string()).collect()
}
