//! Finds, opens and updates the pull request of a release, with its labels, reviewers and assignees.

use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{ApiRequest, GitHub};
use super::error::{GitHubError, GitHubErrorKind};
use super::{Base, Branch};
use crate::error::one_line;
use crate::forge::ReleasePullRequest;
use crate::forge::marker::{MARKER, merge_body, read_marker};
use crate::registry::{Retry, Retryable as _};

/// The number of pull requests per page.
const PAGE: usize = 100;

/// The maximum number of pages of open pull requests.
const MAX_PAGES: usize = 30;

const OPEN: &str = "open the pull request";
const LIST: &str = "list the open pull requests";

/// The author of pull requests that were opened with the token of Actions.
const ACTIONS: &str = "github-actions[bot]";

/// A pull request on GitHub.
#[derive(Debug, Clone, Deserialize)]
pub struct PullRequest {
    pub number: u64,
    /// The URL of its page.
    #[serde(rename = "html_url")]
    pub url: String,
    title: String,
    body: Option<String>,
    user: Option<User>,
    head: Head,
    base: Head,
    #[serde(default)]
    labels: Vec<Label>,
    #[serde(default)]
    requested_reviewers: Option<Vec<User>>,
    #[serde(default)]
    requested_teams: Option<Vec<Team>>,
    #[serde(default)]
    assignees: Option<Vec<User>>,
}

#[derive(Debug, Clone, Deserialize)]
struct User {
    login: String,
}

#[derive(Debug, Clone, Deserialize)]
struct Team {
    slug: String,
}

#[derive(Debug, Clone, Deserialize)]
struct Label {
    name: String,
}

#[derive(Debug, Clone, Deserialize)]
struct Head {
    #[serde(rename = "ref")]
    branch: String,
    repo: Option<HeadRepository>,
}

#[derive(Debug, Clone, Deserialize)]
struct HeadRepository {
    full_name: String,
}

/// The action of this run on a pull request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proposal {
    Opened,
    Updated,
    Unchanged,
}

/// The pull request of a release after this run.
#[derive(Debug, Clone)]
pub struct Opened {
    pub pull_request: PullRequest,
    pub proposal: Proposal,
    /// Messages about labels, reviewers and assignees that GitHub refused, which are no error.
    pub refused: Vec<String>,
}

impl PullRequest {
    pub(super) fn into_branch(self) -> String {
        self.head.branch
    }

    #[must_use]
    pub fn branch(&self) -> &str {
        &self.head.branch
    }

    /// Returns true if it was opened with the token of Actions, so that its workflows wait for approval.
    #[must_use]
    pub fn is_by_actions(&self) -> bool {
        self.user.as_ref().is_some_and(|user| user.login == ACTIONS)
    }

    /// Returns the size of the text that people added to the generated text of `request`, in bytes.
    #[must_use]
    pub fn manual_text_bytes(&self, request: &ReleasePullRequest) -> usize {
        merge_body(self.body.as_deref().unwrap_or_default(), "", &request.marker).len()
    }

    fn logins(users: Option<&[User]>) -> impl Iterator<Item = &str> {
        users.unwrap_or_default().iter().map(|user| user.login.as_str())
    }
}

/// Returns the requested names that are not in `current`, ignoring case.
fn missing<'a, 'b>(
    requested: &'a [String],
    current: impl Iterator<Item = &'b str>,
) -> Vec<&'a str> {
    let current: Vec<&str> = current.collect();
    let has = |name: &str| current.iter().any(|current| current.eq_ignore_ascii_case(name));
    requested.iter().map(String::as_str).filter(|name| !has(name)).collect()
}

impl GitHub {
    /// Returns the open pull request of this matrix: the one from its branch, or else the newest one
    /// with its marker for the same base. One for a newer version is an error, and so is one from its
    /// branch for another base or matrix.
    pub async fn find_pull_request(
        &self,
        request: &ReleasePullRequest,
        base: &Base,
    ) -> Result<Option<PullRequest>, GitHubError> {
        let mut found: Option<PullRequest> = None;
        for pull in self.open_pulls().await? {
            let text = pull.body.as_deref().unwrap_or_default();
            let marker = read_marker(text, &request.marker);
            let has_branch = pull.head.branch == request.branch;
            let has_base = pull.base.branch == base.branch;
            let (branch, number) = (pull.head.branch.clone(), pull.number);
            if has_branch && marker.is_none() && text.contains(MARKER) {
                return Err(self.error(LIST, GitHubErrorKind::SharedBranch { branch, number }));
            }
            if has_branch && !has_base {
                let base = pull.base.branch;
                let kind = GitHubErrorKind::OtherBase { branch, number, base };
                return Err(self.error(OPEN, kind));
            }
            if let Some(proposed) = marker.and_then(|marker| marker.version)
                && has_base
                && request.version.is_below(proposed)
            {
                let (proposed, version) = (self.clean(proposed), request.version.to_string());
                let kind = GitHubErrorKind::Newer { number, proposed, version };
                return Err(self.error(OPEN, kind));
            }
            if has_branch {
                return Ok(Some(pull));
            }
            if marker.is_some()
                && has_base
                && found.as_ref().is_none_or(|found| number > found.number)
            {
                found = Some(pull);
            }
        }
        Ok(found)
    }

    /// Returns the version in the text of the newest open pull request with this marker.
    pub async fn proposed_version(
        &self,
        marker: &str,
        base: &Base,
    ) -> Result<Option<String>, GitHubError> {
        let mut pulls = self.open_pulls().await?;
        pulls.retain(|pull| pull.base.branch == base.branch);
        pulls.sort_by_key(|pull| std::cmp::Reverse(pull.number));
        let version = |pull: &PullRequest| {
            let marker = read_marker(pull.body.as_deref().unwrap_or_default(), marker)?;
            marker.version.map(str::to_owned)
        };
        Ok(pulls.iter().find_map(version))
    }

    /// Returns the open pull requests from branches of the repository itself. Those from forks are not
    /// ours, even if they have our marker.
    async fn open_pulls(&self) -> Result<Vec<PullRequest>, GitHubError> {
        let own = self.repository.to_string();
        let mut all = Vec::new();
        for page in 1..=MAX_PAGES {
            let path = format!("pulls?state=open&per_page={PAGE}&page={page}");
            let pulls: Vec<PullRequest> =
                self.request(ApiRequest::get(LIST, self.path(&path))).await?;
            let is_last = pulls.len() < PAGE;
            all.extend(pulls.into_iter().filter(|pull| {
                let repository = pull.head.repo.as_ref().map(|repo| repo.full_name.as_str());
                repository.is_some_and(|name| name.eq_ignore_ascii_case(&own))
            }));
            if is_last {
                break;
            }
        }
        Ok(all)
    }

    /// Opens the pull request from `branch`, or updates the open one. Returns `None` if the branch has
    /// no commits that the base lacks.
    pub async fn open(
        &self,
        request: &ReleasePullRequest,
        base: &Base,
        branch: &Branch,
    ) -> Result<Option<Opened>, GitHubError> {
        let mut refused = Vec::new();
        let mut is_draft = request.draft;
        let mut failures = 0;
        let mut is_new = false;
        let (pull_request, proposal) = loop {
            let request = &ReleasePullRequest { branch: branch.name.clone(), ..request.clone() };
            if let Some(pull) = self.find_pull_request(request, base).await? {
                let (pull, is_updated) = self.update(pull, request).await?;
                let proposal = if is_new {
                    Proposal::Opened
                } else if is_updated || branch.is_changed {
                    Proposal::Updated
                } else {
                    Proposal::Unchanged
                };
                break (pull, proposal);
            }
            match self.create_pull(request, base, is_draft).await {
                Ok(pull) => break (pull, Proposal::Opened),
                Err(error) if error.mentions("no commits between") => return Ok(None),
                Err(error)
                    if is_draft && error.mentions("draft pull requests are not supported") =>
                {
                    let message =
                        "the repository does not support drafts: opened as ready for review";
                    refused.push(message.to_owned());
                    is_draft = false;
                }
                // GitHub may have opened it although its answer was lost: look for it again.
                Err(error) => {
                    is_new = is_new || error.is_unsettled();
                    failures += 1;
                    let retry = if error.mentions("already exists") {
                        Retry::Backoff
                    } else {
                        error.retry()
                    };
                    let wait = self.retry.next_wait(failures, retry).ok_or(error)?;
                    tokio::time::sleep(wait).await;
                }
            }
        };
        self.label(&pull_request, request, &mut refused).await?;
        self.request_reviews(&pull_request, request, &mut refused).await?;
        self.assign(&pull_request, request, &mut refused).await?;
        Ok(Some(Opened { pull_request, proposal, refused }))
    }

    async fn create_pull(
        &self,
        request: &ReleasePullRequest,
        base: &Base,
        is_draft: bool,
    ) -> Result<PullRequest, GitHubError> {
        let body = json!({
            "title": request.title,
            "head": request.branch,
            "base": base.branch,
            "body": request.body,
            "draft": is_draft,
        });
        self.request(ApiRequest::post(OPEN, self.path("pulls"), body)).await
    }

    /// Sets the title and text of an open pull request. Returns false if they were up to date.
    async fn update(
        &self,
        pull: PullRequest,
        request: &ReleasePullRequest,
    ) -> Result<(PullRequest, bool), GitHubError> {
        let mut changes = serde_json::Map::new();
        if pull.title != request.title {
            changes.insert("title".to_owned(), json!(request.title));
        }
        // GitHub may return other line ends.
        let normalized = |text: &str| text.replace("\r\n", "\n").trim_end().to_owned();
        let current = normalized(pull.body.as_deref().unwrap_or_default());
        let body = merge_body(&current, &request.body, &request.marker);
        if current != normalized(&body) {
            changes.insert("body".to_owned(), json!(body));
        }
        if changes.is_empty() {
            return Ok((pull, false));
        }
        let doing = format!("update the pull request #{}", pull.number);
        let path = self.path(&format!("pulls/{}", pull.number));
        let update = ApiRequest::patch(&doing, path, Value::Object(changes)).idempotent();
        Ok((self.request(update).await?, true))
    }

    async fn label(
        &self,
        pull: &PullRequest,
        request: &ReleasePullRequest,
        refused: &mut Vec<String>,
    ) -> Result<(), GitHubError> {
        let current = pull.labels.iter().map(|label| label.name.as_str());
        let labels = missing(&request.labels, current);
        if labels.is_empty() {
            return Ok(());
        }
        let doing = format!("label the pull request #{}", pull.number);
        let path = self.path(&format!("issues/{}/labels", pull.number));
        let add = ApiRequest::post(&doing, path, json!({ "labels": labels })).idempotent();
        accept_refusal(self.send(&add).await.map(drop), refused)
    }

    /// Requests reviews from those who have not been requested yet and have not reviewed it.
    async fn request_reviews(
        &self,
        pull: &PullRequest,
        request: &ReleasePullRequest,
        refused: &mut Vec<String>,
    ) -> Result<(), GitHubError> {
        let author = pull.user.as_ref().map(|user| user.login.as_str());
        let requested = PullRequest::logins(pull.requested_reviewers.as_deref());
        let mut people = missing(&request.reviewers, requested.chain(author));
        let teams = pull.requested_teams.as_deref().unwrap_or_default();
        let mut teams =
            missing(&request.team_reviewers, teams.iter().map(|team| team.slug.as_str()));
        if people.is_empty() && teams.is_empty() {
            return Ok(());
        }
        let reviewed = self.reviewers(pull).await?;
        people.retain(|login| !reviewed.iter().any(|name| name.eq_ignore_ascii_case(login)));
        if !reviewed.is_empty() {
            // A request to a team ends with the first review by a member. The API does not return which
            // team that was.
            teams.clear();
        }
        let path = self.path(&format!("pulls/{}/requested_reviewers", pull.number));
        let people = people.iter().map(|login| (login, json!({ "reviewers": [login] })));
        let teams = teams.iter().map(|team| (team, json!({ "team_reviewers": [team] })));
        // GitHub refuses a whole request because of one name.
        for (name, body) in people.chain(teams) {
            let doing = format!("request a review of #{} by {name}", pull.number);
            let request = ApiRequest::post(&doing, path.clone(), body).idempotent();
            accept_refusal(self.send(&request).await.map(drop), refused)?;
        }
        Ok(())
    }

    /// Returns the logins of those who have reviewed it.
    async fn reviewers(&self, pull: &PullRequest) -> Result<Vec<String>, GitHubError> {
        #[derive(Deserialize)]
        struct Review {
            user: Option<User>,
        }
        let path = self.path(&format!("pulls/{}/reviews?per_page={PAGE}", pull.number));
        let reviews: Vec<Review> = self.request(ApiRequest::get("list the reviews", path)).await?;
        Ok(reviews.into_iter().filter_map(|review| Some(review.user?.login)).collect())
    }

    async fn assign(
        &self,
        pull: &PullRequest,
        request: &ReleasePullRequest,
        refused: &mut Vec<String>,
    ) -> Result<(), GitHubError> {
        #[derive(Deserialize)]
        struct Issue {
            assignees: Option<Vec<User>>,
        }
        let current = PullRequest::logins(pull.assignees.as_deref());
        let people = missing(&request.assignees, current);
        if people.is_empty() {
            return Ok(());
        }
        let doing = format!("assign the pull request #{}", pull.number);
        let path = self.path(&format!("issues/{}/assignees", pull.number));
        let add = ApiRequest::post(&doing, path, json!({ "assignees": people })).idempotent();
        let issue: Issue = match self.request(add).await {
            Ok(issue) => issue,
            Err(error) => return accept_refusal(Err(error), refused),
        };
        // GitHub silently ignores users who cannot be assigned.
        let people: Vec<String> = people.into_iter().map(str::to_owned).collect();
        for name in missing(&people, PullRequest::logins(issue.assignees.as_deref())) {
            refused.push(format!("`{name}` cannot be assigned to #{}", pull.number));
        }
        Ok(())
    }
}

/// Records a refusal as a message instead of an error.
fn accept_refusal(
    result: Result<(), GitHubError>,
    refused: &mut Vec<String>,
) -> Result<(), GitHubError> {
    match result {
        Err(error) if error.is_refusal() => {
            refused.push(one_line(&error));
            Ok(())
        }
        other => other,
    }
}
