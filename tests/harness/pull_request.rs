//! Opens release pull requests through the library, in a repository of the fake GitHub.

use std::sync::Arc;
use std::time::Duration;

use basegen::error::Report;
use basegen::forge::{
    Access, Branch, FileChange, GitHub, GitHubError, GitHubOptions, Opened, ReleasePullRequest,
    marker, marker_with_version,
};
use basegen::registry::{Network, RetryPolicy};

use crate::harness::github::FakeGitHub;

/// The branch of [`request`].
pub const BRANCH: &str = "basegen/release-v1.3.0";

/// Starts a GitHub with a repository of version v1.2.3.
pub async fn repository() -> FakeGitHub {
    FakeGitHub::start(&[("VERSION", "v1.2.3\n"), ("README.md", "images\n")]).await
}

pub fn token(token: &str) -> Access {
    Access::Token(token.into())
}

pub fn options(github: &FakeGitHub, access: Access) -> GitHubOptions {
    let url = github.api().parse().expect("a URL");
    GitHubOptions {
        api: github.api(),
        repository: crate::harness::github::REPOSITORY.parse().expect("a name"),
        access,
        client: Network::default().client(&url).expect("a client"),
        retry: RetryPolicy {
            attempts: 3,
            first_wait: Duration::from_millis(1),
            longest_wait: Duration::from_millis(2),
            longest_retry_after: Duration::from_secs(5),
        },
        timeout: Duration::from_secs(10),
        optional_permissions: Vec::new(),
        notify: Arc::new(|_| {}),
    }
}

/// Returns the pull request of v1.3.0.
pub fn request() -> ReleasePullRequest {
    release("v1.3.0")
}

pub fn release(version: &str) -> ReleasePullRequest {
    let marker = marker("matrix.toml");
    ReleasePullRequest {
        version: version.parse().expect("a version"),
        title: format!("Release {version}"),
        body: format!("**{version}** is published.\n\n{}\n", marker_with_version(&marker, version)),
        marker,
        branch: format!("basegen/release-{version}"),
        draft: false,
        labels: Vec::new(),
        reviewers: Vec::new(),
        team_reviewers: Vec::new(),
        assignees: Vec::new(),
    }
}

pub fn changes(version: &str) -> Vec<FileChange> {
    vec![text_file("VERSION", &format!("{version}\n"))]
}

/// Returns a change of a file's content that keeps its mode.
pub fn text_file(path: &str, text: &str) -> FileChange {
    FileChange { path: path.to_owned(), content: Some(text.into()), executable: None }
}

/// Returns a change that makes a file executable.
pub fn executable_file(path: &str, text: &str) -> FileChange {
    FileChange { executable: Some(true), ..text_file(path, text) }
}

/// Opens or updates the pull request with a new client, like a run of basegen. Returns `None` if the base already has the version.
pub async fn try_propose(
    github: &FakeGitHub,
    request: &ReleasePullRequest,
) -> Result<Option<Opened>, GitHubError> {
    try_propose_as(github, token("canary-person"), request).await
}

pub async fn try_propose_as(
    github: &FakeGitHub,
    access: Access,
    request: &ReleasePullRequest,
) -> Result<Option<Opened>, GitHubError> {
    try_propose_changes(github, access, request, &changes(request.version.as_str())).await
}

/// Opens or updates a pull request with the changes `wanted`. The first must be that of `VERSION`.
pub async fn try_propose_changes(
    github: &FakeGitHub,
    access: Access,
    request: &ReleasePullRequest,
    wanted: &[FileChange],
) -> Result<Option<Opened>, GitHubError> {
    let mut client = GitHub::connect(&options(github, access)).await?;
    let base = client.base(None).await?;
    if client.bytes("VERSION", &base).await? == wanted[0].content {
        return Ok(None);
    }
    let branch: Branch = client.prepare(request, &base, wanted).await?;
    client.open(request, &base, &branch).await
}

/// Opens or updates the pull request. Panics on an error, or if the base already has the version.
pub async fn propose(github: &FakeGitHub, request: &ReleasePullRequest) -> Opened {
    match try_propose(github, request).await {
        Ok(opened) => opened.expect("a pull request"),
        Err(error) => panic!("{}", Report::from(error)),
    }
}

pub async fn proposal_error(github: &FakeGitHub, request: &ReleasePullRequest) -> String {
    proposal_error_as(github, token("canary-person"), request).await
}

/// Returns the error as users see it.
pub async fn proposal_error_as(
    github: &FakeGitHub,
    access: Access,
    request: &ReleasePullRequest,
) -> String {
    match try_propose_as(github, access, request).await {
        Ok(opened) => panic!("{opened:?}"),
        Err(error) => Report::from(error).to_string().replace(&host(github), "HOST"),
    }
}

pub fn host(github: &FakeGitHub) -> String {
    github.api().trim_start_matches("http://").split('/').next().unwrap_or_default().to_owned()
}

/// Returns a line for each open pull request, with its branch and the files that it changes.
pub fn open_pull_requests(github: &FakeGitHub) -> String {
    let lines = github.with(|store| {
        let pulls = store.pulls.iter().filter(|pull| pull.is_open);
        let lines = pulls.map(|pull| {
            let (head, base) = (&store.branches[&pull.head], &store.branches[&pull.base]);
            let changed = store.changed_paths(&store.merge_base(head, base), head);
            format!("#{} {} from {}: {}", pull.number, pull.title, pull.head, changed.join(" "))
        });
        lines.collect::<Vec<_>>()
    });
    lines.join("\n")
}
