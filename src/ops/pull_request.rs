//! Opens the pull request that updates the repository after a release, or updates the open one.
//!
//! [`PullRequest::prepare`] reports faults before the release, [`PullRequest::open`] does the work after it.

use std::path::PathBuf;

use super::release_edits::BaseEdits;
use super::{ArgumentError, Context, NoVersion, github, release_drift, release_notes, release_set};
use crate::error::{ExitCode, Explain, FileError, Report, list};
use crate::forge::{Base, Body, GitHub, GitHubOptions, Notes, Opened, ReleasePullRequest, marker};
use crate::git;
use crate::matrix::{Matrix, refuse_branch};
use crate::plan::Plan;
use crate::publish::ReleaseSet;
use crate::report::{Outputs, markdown};
use crate::version::Version;

/// The options of a pull request that the matrix does not set.
#[derive(Debug, Clone, Default)]
pub struct PullRequestOptions {
    pub base: Option<String>,
    /// Whether it is opened as a draft, even if the matrix does not ask for one.
    pub draft: bool,
    /// Whether only a preview is made.
    pub dry_run: bool,
    /// The file to write the complete notes of the release to.
    pub notes: Option<PathBuf>,
}

/// The longest title of a pull request, in characters.
const MAX_TITLE: usize = 256;

/// The longest text of a pull request, in characters.
/// Compared with bytes, which are never fewer.
const MAX_BODY: usize = 65_536;

/// The longest notes in a job summary, in bytes. GitHub allows 1 MiB for all of a step.
const MAX_SUMMARY: usize = 900 << 10;

/// The number of missing parts of a release that an error lists.
const MAX_MISSING: usize = 10;

/// Why a pull request cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum PullRequestError {
    /// The plan contains only some variants.
    #[error("cannot open a pull request for a partial release")]
    Partial,
    /// The version is not the matrix' own.
    #[error("cannot open a pull request for `{0}`, which is not a version of the matrix")]
    Custom(String),
    /// Some images of the version are missing.
    #[error("release {version} is incomplete in the registry:{}", list(MAX_MISSING, missing))]
    Incomplete {
        version: String,
        /// Descriptions of the missing parts.
        missing: Vec<String>,
    },
    /// The base has a newer version than the release.
    #[error("`{branch}` already has version {there}, which is newer than {released}")]
    Newer {
        branch: String,
        /// The version of the base branch.
        there: String,
        /// The version that was released.
        released: String,
    },
    /// The user interrupted the operation.
    #[error("interrupted while the pull request was prepared")]
    Interrupted,
    /// The branch of the pull request is its own base.
    #[error("the branch of the pull request is its base: `{0}`")]
    SameBranch(String),
    /// The title is longer than GitHub allows.
    #[error("the title of the pull request has {0} characters, GitHub allows {MAX_TITLE}")]
    LongTitle(usize),
}

impl Explain for PullRequestError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Partial | Self::Custom(_) => ExitCode::Usage,
            Self::Incomplete { .. } => ExitCode::Drift,
            Self::Newer { .. } => ExitCode::Forge,
            Self::SameBranch(_) | Self::LongTitle(_) => ExitCode::Matrix,
            Self::Interrupted => ExitCode::Interrupted,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Partial => "remove the arguments that select variants or platforms",
            Self::Custom(_) => {
                "remove `--version-tag`; `basegen release VERSION` releases a version"
            }
            Self::Incomplete { .. } => {
                "no pull request was opened or changed. `basegen status` shows the state of each image. Rerun \
                 the same command to publish what is missing and to open the pull request"
            }
            Self::Newer { .. } => "update the working tree: it is older than the branch",
            Self::Interrupted => "rerun the same command to continue",
            Self::SameBranch(_) => "choose another `branch` in `[pull_request]`",
            Self::LongTitle(_) => "shorten `title` in `[pull_request]`",
        };
        Some(hint.to_owned())
    }
}

/// A pull request that has been checked as far as possible before the release.
pub struct PullRequest<'a> {
    context: &'a Context,
    plan: &'a Plan<'a>,
    version: &'a Version,
    github: GitHubOptions,
    options: PullRequestOptions,
}

#[derive(Debug)]
pub enum PullRequestOutcome {
    /// The base branch already has this version and all generated files.
    UpToDate { branch: String, version: String },
    /// The base branch got all changes while the pull request was prepared.
    AlreadyMerged { branch: String },
    /// A preview: title, branches, diff and text.
    Preview(String),
    /// A pull request was opened, updated or left unchanged.
    Opened(Box<Opened>),
}

impl<'a> PullRequest<'a> {
    /// Checks the plan, the credentials and, unless it is a preview, the base branch: faults that would stop the pull
    /// request after the release was published are reported before.
    pub async fn prepare(
        context: &'a Context,
        plan: &'a Plan<'a>,
        options: PullRequestOptions,
    ) -> Result<Self, Report> {
        let version = plan.version.as_ref().ok_or(NoVersion)?;
        if plan.custom {
            return Err(PullRequestError::Custom(version.to_string()).into());
        }
        if !plan.whole {
            return Err(PullRequestError::Partial.into());
        }
        if plan.matrix.version.is_none() {
            return Err(NoVersion.into());
        }
        check_base(options.base.as_deref())?;
        let title = plan.matrix.pull_request.title(version.as_str()).chars().count();
        if title > MAX_TITLE {
            return Err(PullRequestError::LongTitle(title).into());
        }
        let github = github::options(plan.matrix, context, options.dry_run)?;
        let prepared = Self { context, plan, version, github, options };
        if !prepared.options.dry_run {
            interruptible(context, prepared.check_base()).await?;
        }
        Ok(prepared)
    }

    /// Verifies that the base can be edited and that no foreign pull request is in the way.
    async fn check_base(&self) -> Result<(), Report> {
        let (github, base, edits) = self.edits().await?;
        if !edits.is_empty() {
            let (request, _) = self.request(&edits.prefix, &Notes::default(), &base, MAX_BODY)?;
            github.find_pull_request(&request, &base).await?;
        }
        Ok(())
    }

    /// Computes the edits of the base branch, which must not have a newer version.
    async fn edits(&self) -> Result<(GitHub, Base, BaseEdits), Report> {
        let mut github = GitHub::connect(&self.github).await?;
        let base = github.base(base_name(self.plan.matrix, &self.options)).await?;
        let edits = BaseEdits::compute(self.plan, self.version, &github, &base).await?;
        self.check_order(&edits, &base)?;
        Ok((github, base, edits))
    }

    /// Opens the pull request, or updates the open one.
    pub async fn open(&self) -> Result<PullRequestOutcome, Report> {
        interruptible(self.context, Box::pin(self.open_or_update())).await
    }

    async fn open_or_update(&self) -> Result<PullRequestOutcome, Report> {
        let missing = self.missing().await?;
        if !missing.is_empty() && !self.options.dry_run {
            return Err(self.incomplete(missing).into());
        }
        let (github, base, edits) = self.edits().await?;
        if edits.is_empty() {
            let (branch, version) = (base.branch, self.version.to_string());
            return Ok(PullRequestOutcome::UpToDate { branch, version });
        }
        let notes = if missing.is_empty() {
            release_notes::published(self.context, self.plan, self.version, &edits.version).await?
        } else {
            release_notes::expected(self.context, self.plan, self.version, &edits.version).await?
        };
        let (request, _) = self.request(&edits.prefix, &notes, &base, MAX_BODY)?;
        let open = github.find_pull_request(&request, &base).await?;
        let room = MAX_BODY - open.map_or(0, |open| open.manual_text_bytes(&request)).min(MAX_BODY);
        let (request, body) = self.request(&edits.prefix, &notes, &base, room)?;
        if self.options.dry_run {
            let diff = edits.diff(&github).await?;
            return Ok(PullRequestOutcome::Preview(self.preview(&request, &base, &diff)));
        }
        self.write_notes(&notes, &request, &body)?;
        let branch = github.prepare(&request, &base, &edits.changes()).await?;
        // Tags may have been deleted since the first check. A version that cannot be pulled must not be merged.
        let missing = self.missing().await?;
        if !missing.is_empty() {
            return Err(self.incomplete(missing).into());
        }
        let Some(opened) = github.open(&request, &base, &branch).await? else {
            return Ok(PullRequestOutcome::AlreadyMerged { branch: base.branch });
        };
        self.write_outputs(&opened)?;
        Ok(PullRequestOutcome::Opened(Box::new(opened)))
    }

    /// Describes the parts of the release that are missing in the registry.
    async fn missing(&self) -> Result<Vec<String>, Report> {
        let drift = release_drift::find(self.context, self.plan, true).await?;
        Ok(drift.problems.into_iter().map(|problem| problem.message).collect())
    }

    fn incomplete(&self, missing: Vec<String>) -> PullRequestError {
        PullRequestError::Incomplete { version: self.version.to_string(), missing }
    }

    /// Refuses a base that has a newer version.
    fn check_order(&self, edits: &BaseEdits, base: &Base) -> Result<(), PullRequestError> {
        match (edits.version.number(), self.version.number()) {
            (Ok(there), Ok(released)) if there > released => Err(PullRequestError::Newer {
                branch: base.branch.clone(),
                there: edits.version.to_string(),
                released: self.version.to_string(),
            }),
            _ => Ok(()),
        }
    }

    fn request(
        &self,
        prefix: &str,
        notes: &Notes,
        base: &Base,
        room: usize,
    ) -> Result<(ReleasePullRequest, Body), PullRequestError> {
        let (matrix, version) = (self.plan.matrix, self.version.as_str());
        let table = &matrix.pull_request;
        let marker = marker_of(matrix, prefix);
        let body = notes.body(&marker, &self.place_of_all(), room);
        let branch = table.branch(version);
        if branch == base.branch {
            return Err(PullRequestError::SameBranch(branch));
        }
        let request = ReleasePullRequest {
            version: self.version.clone(),
            title: table.title(version),
            body: body.text.clone(),
            marker,
            branch,
            draft: table.draft || self.options.draft,
            labels: table.labels.clone(),
            reviewers: table.reviewers.clone(),
            team_reviewers: table.team_reviewers.clone(),
            assignees: table.assignees.clone(),
        };
        Ok((request, body))
    }

    /// Formats the title, the branches, the diff and the text of the pull request.
    fn preview(&self, request: &ReleasePullRequest, base: &Base, diff: &str) -> String {
        let ReleasePullRequest { title, branch, body, .. } = request;
        let (base, repository) = (&base.branch, &self.github.repository);
        format!("{title}\nfrom `{branch}` to `{base}` of {repository}\n\n{diff}\n{body}")
    }

    /// Where all images are listed if the pull request leaves some out.
    fn place_of_all(&self) -> String {
        let run = self.context.settings.github.run_id.as_deref();
        match run.filter(|_| self.context.settings.github.step_summary.as_ref().is_some()) {
            Some(run) => format!("The summary of workflow run {run} lists all of them."),
            None => format!("`basegen status {}` lists all of them.", self.version),
        }
    }

    /// Writes the complete notes to the requested file, and to the job summary if the pull request leaves some out.
    fn write_notes(
        &self,
        notes: &Notes,
        request: &ReleasePullRequest,
        body: &Body,
    ) -> Result<(), Report> {
        if let Some(path) = &self.options.notes {
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
        let place = match (&self.options.notes, summary) {
            (Some(path), _) => format!("`{}` lists all of them", path.display()),
            (None, Some(_)) => "the job summary lists all of them".to_owned(),
            (None, None) => "`--notes FILE` writes all of them to a file".to_owned(),
        };
        let message = format!("the pull request does not list all images: {place}");
        self.context.messages.message(&message);
        Ok(())
    }

    fn write_outputs(&self, opened: &Opened) -> Result<(), Report> {
        let Some(path) = &self.context.settings.github.output else { return Ok(()) };
        let pull = &opened.pull_request;
        let outputs = Outputs::default()
            .with("pull_request", pull.number)
            .with("pull_request_url", &pull.url);
        Ok(outputs.append(path).map_err(FileError::outputs)?)
    }
}

/// Returns the base branch of the pull request; `None` for the default branch of the repository.
fn base_name<'a>(matrix: &'a Matrix, options: &'a PullRequestOptions) -> Option<&'a str> {
    let configured = matrix.pull_request.base.as_ref().map(|base| base.get_ref().as_str());
    options.base.as_deref().or(configured)
}

fn check_base(name: Option<&str>) -> Result<(), ArgumentError> {
    let Some(name) = name else { return Ok(()) };
    match refuse_branch(name) {
        Some(reason) => Err(ArgumentError::new("base", name, &reason)),
        None => Ok(()),
    }
}

/// Returns the marker of the pull requests of a matrix whose folder is `prefix` in its repository.
fn marker_of(matrix: &Matrix, prefix: &str) -> String {
    let file = matrix.source.path.file_name().unwrap_or_default().to_string_lossy();
    marker(&format!("{prefix}{file}"))
}

/// Returns the versions that the next one must exceed besides that of the base branch: those of the open pull request
/// and, if the base is the default branch, of the newest release. A maintenance branch ignores the newest release.
pub(super) async fn earlier_versions(
    context: &Context,
    plan: &Plan<'_>,
    options: &PullRequestOptions,
) -> Result<Vec<String>, Report> {
    check_base(options.base.as_deref())?;
    let matrix = plan.matrix;
    let marker = marker_of(matrix, &git::prefix(matrix.folder()).unwrap_or_default());
    let github_options = github::options(matrix, context, options.dry_run)?;
    let look_up = async {
        let mut github = GitHub::connect(&github_options).await?;
        let base = github.base(base_name(matrix, options)).await?;
        let mut versions = Vec::from_iter(github.proposed_version(&marker, &base).await?);
        if base.is_default {
            let newest = release_set::newest(plan);
            let newest = ReleaseSet::read_all(&context.registries()?, &newest).await?;
            versions.extend(newest.into_iter().filter_map(|set| set.version));
        }
        Ok(versions)
    };
    interruptible(context, Box::pin(look_up)).await
}

/// Runs `work` until it is done or the user interrupts it. The next run finds what GitHub has done by then.
async fn interruptible<T>(
    context: &Context,
    work: impl Future<Output = Result<T, Report>>,
) -> Result<T, Report> {
    tokio::select! {
        done = work => done,
        () = context.cancel.cancelled() => Err(PullRequestError::Interrupted.into()),
    }
}
