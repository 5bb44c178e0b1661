//! The pull request: found again, opened, updated, and given to those who should see it.

use serde::Deserialize;
use serde_json::{Value, json};

use super::branch::{Base, Branch};
use super::client::{Asked, GitHub};
use super::error::{GitHubError, GitHubErrorKind};
use crate::error::one_line;
use crate::forge::{MARKER, ReleasePullRequest, merge_body, read_marker};
use crate::registry::{Retry, Retryable as _};

/// How many pull requests are on a page.
const PAGE: usize = 100;

/// How many pages of open pull requests are looked through.
const MAX_PAGES: usize = 30;

/// What is being done, for errors.
const OPEN: &str = "open the pull request";
const LIST: &str = "list the open pull requests";

/// The user that Actions' own token opens pull requests as.
const ACTIONS: &str = "github-actions[bot]";

/// A pull request on GitHub.
#[derive(Debug, Clone, Deserialize)]
pub struct PullRequest {
    /// Its number.
    pub number: u64,
    /// Its page.
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

/// What became of a pull request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proposal {
    /// It was opened.
    Opened,
    /// The open one was updated.
    Updated,
    /// The open one is as it should be.
    Unchanged,
}

/// A pull request that is open.
#[derive(Debug, Clone)]
pub struct Opened {
    /// It.
    pub pull_request: PullRequest,
    /// What became of it.
    pub proposal: Proposal,
    /// What GitHub did not take: a reviewer, a label. No reason for a release to fail.
    pub refused: Vec<String>,
}

impl PullRequest {
    pub(super) fn into_branch(self) -> String {
        self.head.branch
    }

    /// The branch that it proposes.
    #[must_use]
    pub fn branch(&self) -> &str {
        &self.head.branch
    }

    /// Whether Actions' own token has opened it: its workflows wait for approval.
    #[must_use]
    pub fn is_by_actions(&self) -> bool {
        self.user.as_ref().is_some_and(|user| user.login == ACTIONS)
    }

    /// Returns how many bytes of its text are kept beside those of `request`.
    #[must_use]
    pub fn kept_bytes(&self, request: &ReleasePullRequest) -> usize {
        merge_body(self.body.as_deref().unwrap_or_default(), "", &request.marker).len()
    }

    fn logins(users: Option<&[User]>) -> impl Iterator<Item = &str> {
        users.unwrap_or_default().iter().map(|user| user.login.as_str())
    }
}

/// `wanted` without those that `there` has, whatever their case.
fn lacking<'a, 'b>(wanted: &'a [String], there: impl Iterator<Item = &'b str>) -> Vec<&'a str> {
    let there: Vec<&str> = there.collect();
    let has = |name: &str| there.iter().any(|there| there.eq_ignore_ascii_case(name));
    wanted.iter().map(String::as_str).filter(|name| !has(name)).collect()
}

impl GitHub {
    /// The open pull request of this matrix: the one from its branch, or one with its marker from
    /// another branch of the same repository, for an older version perhaps. One for another base is
    /// not this one, and one of a newer version is an error.
    pub async fn find_own(
        &self,
        request: &ReleasePullRequest,
        base: &Base,
    ) -> Result<Option<PullRequest>, GitHubError> {
        let mut found: Option<PullRequest> = None;
        for pull in self.open_pulls().await? {
            let text = pull.body.as_deref().unwrap_or_default();
            let marked = read_marker(text, &request.marker);
            let is_here = pull.base.branch == base.branch;
            if pull.head.branch == request.branch {
                let of_another = marked.is_none() && text.contains(MARKER);
                let (branch, number) = (pull.head.branch.clone(), pull.number);
                if of_another {
                    return Err(self.error(LIST, GitHubErrorKind::Shared { branch, number }));
                }
                if !is_here {
                    let base = pull.base.branch;
                    let kind = GitHubErrorKind::OtherBase { branch, number, base };
                    return Err(self.error(OPEN, kind));
                }
            }
            if let Some(there) = marked.and_then(|marked| marked.version)
                && is_here
                && request.version.is_below(there)
            {
                let (there, number) = (self.clean(there), pull.number);
                let version = request.version.to_string();
                let kind = GitHubErrorKind::Newer { number, there, version };
                return Err(self.error(OPEN, kind));
            }
            if pull.head.branch == request.branch {
                return Ok(Some(pull));
            }
            let is_own = marked.is_some() && is_here;
            if is_own && found.as_ref().is_none_or(|found| pull.number > found.number) {
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
            let marked = read_marker(pull.body.as_deref().unwrap_or_default(), marker)?;
            marked.version.map(str::to_owned)
        };
        Ok(pulls.iter().find_map(version))
    }

    /// Returns the open pull requests from branches of the repository itself: the branch of a fork is
    /// not ours, whatever its text says.
    async fn open_pulls(&self) -> Result<Vec<PullRequest>, GitHubError> {
        let own = self.repository.to_string();
        let mut all = Vec::new();
        for page in 1..=MAX_PAGES {
            let place = format!("pulls?state=open&per_page={PAGE}&page={page}");
            let pulls: Vec<PullRequest> = self.ask(Asked::get(LIST, self.path(&place))).await?;
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

    /// Opens the pull request from `branch`, or updates the one that is open. `None` where the
    /// branch has nothing that the base has not.
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
            if let Some(pull) = self.find_own(request, base).await? {
                let (pull, is_updated) = self.update(pull, request).await?;
                let proposal = match (is_new, is_updated || branch.is_changed) {
                    (true, _) => Proposal::Opened,
                    (false, true) => Proposal::Updated,
                    (false, false) => Proposal::Unchanged,
                };
                break (pull, proposal);
            }
            match self.create_pull(request, base, is_draft).await {
                Ok(pull) => break (pull, Proposal::Opened),
                Err(error) if error.says("no commits between") => return Ok(None),
                Err(error) if is_draft && error.says("draft pull requests are not supported") => {
                    refused.push("the repository has no drafts: it is opened as ready".to_owned());
                    is_draft = false;
                }
                // GitHub may have opened it although the answer was lost: look for it again.
                Err(error) => {
                    is_new = is_new || error.is_unsettled();
                    failures += 1;
                    let retry =
                        if error.says("already exists") { Retry::Backoff } else { error.retry() };
                    let wait = self.retry.next_wait(failures, retry).ok_or(error)?;
                    tokio::time::sleep(wait).await;
                }
            }
        };
        self.label(&pull_request, request, &mut refused).await?;
        self.ask_reviewers(&pull_request, request, &mut refused).await?;
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
        self.ask(Asked::post(OPEN, self.path("pulls"), body)).await
    }

    /// Gives an open pull request the title and text of this release.
    async fn update(
        &self,
        pull: PullRequest,
        request: &ReleasePullRequest,
    ) -> Result<(PullRequest, bool), GitHubError> {
        let mut changes = serde_json::Map::new();
        if pull.title != request.title {
            changes.insert("title".to_owned(), json!(request.title));
        }
        // GitHub may send line ends back in another form.
        let normal = |text: &str| text.replace("\r\n", "\n").trim_end().to_owned();
        let now = normal(pull.body.as_deref().unwrap_or_default());
        let body = merge_body(&now, &request.body, &request.marker);
        if now != normal(&body) {
            changes.insert("body".to_owned(), json!(body));
        }
        if changes.is_empty() {
            return Ok((pull, false));
        }
        let doing = format!("update the pull request #{}", pull.number);
        let place = self.path(&format!("pulls/{}", pull.number));
        let asked = Asked::patch(&doing, place, Value::Object(changes)).repeated();
        Ok((self.ask(asked).await?, true))
    }

    async fn label(
        &self,
        pull: &PullRequest,
        request: &ReleasePullRequest,
        refused: &mut Vec<String>,
    ) -> Result<(), GitHubError> {
        let there = pull.labels.iter().map(|label| label.name.as_str());
        let labels = lacking(&request.labels, there);
        if labels.is_empty() {
            return Ok(());
        }
        let doing = format!("label the pull request #{}", pull.number);
        let place = self.path(&format!("issues/{}/labels", pull.number));
        let asked = Asked::post(&doing, place, json!({ "labels": labels })).repeated();
        tolerate(self.send(&asked).await.map(drop), refused)
    }

    /// Asks for reviews, of those who were not asked already and have not reviewed it.
    async fn ask_reviewers(
        &self,
        pull: &PullRequest,
        request: &ReleasePullRequest,
        refused: &mut Vec<String>,
    ) -> Result<(), GitHubError> {
        let author = pull.user.as_ref().map(|user| user.login.as_str());
        let asked = PullRequest::logins(pull.requested_reviewers.as_deref());
        let mut people = lacking(&request.reviewers, asked.chain(author));
        let teams = pull.requested_teams.as_deref().unwrap_or_default();
        let mut teams =
            lacking(&request.team_reviewers, teams.iter().map(|team| team.slug.as_str()));
        if people.is_empty() && teams.is_empty() {
            return Ok(());
        }
        let reviewed = self.reviewers(pull).await?;
        people.retain(|login| !reviewed.iter().any(|name| name.eq_ignore_ascii_case(login)));
        if !reviewed.is_empty() {
            // A team is asked no more once one of it has answered, and nothing tells which.
            teams.clear();
        }
        let both = json!({ "reviewers": people, "team_reviewers": teams });
        let single = people.iter().map(|login| json!({ "reviewers": [login] }));
        let single = single.chain(teams.iter().map(|team| json!({ "team_reviewers": [team] })));
        match people.len() + teams.len() {
            0 => Ok(()),
            1 => tolerate(self.request_review(pull, both).await, refused),
            // One whom GitHub refuses shall not keep the others away.
            _ => match self.request_review(pull, both).await {
                Err(error) if error.is_refusal() => {
                    for one in single {
                        tolerate(self.request_review(pull, one).await, refused)?;
                    }
                    Ok(())
                }
                other => other,
            },
        }
    }

    async fn request_review(&self, pull: &PullRequest, whom: Value) -> Result<(), GitHubError> {
        let names: Vec<&str> = ["reviewers", "team_reviewers"]
            .iter()
            .filter_map(|key| whom[key].as_array())
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let doing = format!("ask for a review by {} of #{}", names.join(", "), pull.number);
        let place = self.path(&format!("pulls/{}/requested_reviewers", pull.number));
        self.send(&Asked::post(&doing, place, whom.clone()).repeated()).await.map(drop)
    }

    /// Who has reviewed it.
    async fn reviewers(&self, pull: &PullRequest) -> Result<Vec<String>, GitHubError> {
        #[derive(Deserialize)]
        struct Review {
            user: Option<User>,
        }
        let place = self.path(&format!("pulls/{}/reviews?per_page={PAGE}", pull.number));
        let reviews: Vec<Review> = self.ask(Asked::get("list the reviews", place)).await?;
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
        let there = PullRequest::logins(pull.assignees.as_deref());
        let people = lacking(&request.assignees, there);
        if people.is_empty() {
            return Ok(());
        }
        let doing = format!("assign the pull request #{}", pull.number);
        let place = self.path(&format!("issues/{}/assignees", pull.number));
        let asked = Asked::post(&doing, place, json!({ "assignees": people })).repeated();
        let issue: Issue = match self.ask(asked).await {
            Ok(issue) => issue,
            Err(error) => return tolerate(Err(error), refused),
        };
        // Whom GitHub cannot assign it leaves out without a word.
        let people: Vec<String> = people.into_iter().map(str::to_owned).collect();
        for name in lacking(&people, PullRequest::logins(issue.assignees.as_deref())) {
            refused.push(format!("`{name}` cannot be assigned to #{}", pull.number));
        }
        Ok(())
    }
}

/// A refusal is told and no error; whatever else is one.
fn tolerate(result: Result<(), GitHubError>, refused: &mut Vec<String>) -> Result<(), GitHubError> {
    match result {
        Err(error) if error.is_refusal() => {
            refused.push(one_line(&error));
            Ok(())
        }
        other => other,
    }
}
