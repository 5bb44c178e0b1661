//! A repository, a release, and somebody who proposes it.

use std::sync::Arc;
use std::time::Duration;

use basegen::error::Report;
use basegen::forge::{
    Access, Branch, FileChange, GitHub, GitHubError, GitHubOptions, Opened, ReleasePullRequest,
    marker, marker_with_version,
};
use basegen::registry::{Network, RetryPolicy};

use crate::harness::github::FakeGitHub;

/// The branch of the release that [`request`] proposes.
pub const BRANCH: &str = "basegen/release-v1.3.0";

/// A repository whose version is 1.2.3.
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

/// The release of v1.3.0.
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
    vec![text("VERSION", &format!("{version}\n"))]
}

/// A file that is to hold a text, and keeps its mode.
pub fn text(path: &str, text: &str) -> FileChange {
    FileChange { path: path.to_owned(), content: Some(text.into()), executable: None }
}

/// One that may be executed.
pub fn script(path: &str, text: &str) -> FileChange {
    FileChange { executable: Some(true), ..self::text(path, text) }
}

/// Proposes the release as a run does, from the start.
pub async fn propose(
    github: &FakeGitHub,
    request: &ReleasePullRequest,
) -> Result<Option<Opened>, GitHubError> {
    propose_as(github, token("canary-person"), request).await
}

pub async fn propose_as(
    github: &FakeGitHub,
    access: Access,
    request: &ReleasePullRequest,
) -> Result<Option<Opened>, GitHubError> {
    propose_changes(github, access, request, &changes(request.version.as_str())).await
}

/// The same of other changes; the first is that of the version.
pub async fn propose_changes(
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

pub async fn opened(github: &FakeGitHub, request: &ReleasePullRequest) -> Opened {
    match propose(github, request).await {
        Ok(opened) => opened.expect("a pull request"),
        Err(error) => panic!("{}", Report::from(error)),
    }
}

pub async fn error(github: &FakeGitHub, request: &ReleasePullRequest) -> String {
    error_as(github, token("canary-person"), request).await
}

/// The error as a user sees it.
pub async fn error_as(github: &FakeGitHub, access: Access, request: &ReleasePullRequest) -> String {
    match propose_as(github, access, request).await {
        Ok(opened) => panic!("{opened:?}"),
        Err(error) => Report::from(error).to_string().replace(&host(github), "HOST"),
    }
}

pub fn host(github: &FakeGitHub) -> String {
    github.api().trim_start_matches("http://").split('/').next().unwrap_or_default().to_owned()
}

/// How the repository stands: its open pull requests, each with its branch and what that holds
/// beyond the base.
pub fn state(github: &FakeGitHub) -> String {
    let lines = github.with(|store| {
        let pulls = store.pulls.iter().filter(|pull| pull.is_open);
        let lines = pulls.map(|pull| {
            let (head, base) = (&store.branches[&pull.head], &store.branches[&pull.base]);
            let changed = store.differing(&store.common(head, base), head);
            format!("#{} {} from {}: {}", pull.number, pull.title, pull.head, changed.join(" "))
        });
        lines.collect::<Vec<_>>()
    });
    lines.join("\n")
}
