//! Rate limits, transient errors, concurrent commits and interrupted runs.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use basegen::forge::{FileChange, GitHub, GitHubError, GitHubOptions, Opened, ReleasePullRequest};
use insta::assert_snapshot;

use crate::harness::github::{FakeGitHub, Fault};
use crate::harness::pull_request::{
    BRANCH, changes, executable_file, open_pull_requests, options, proposal_error, propose,
    release, repository, request, token, try_propose_changes,
};

/// The open pull requests after [`request`] is complete.
const OPENED: &str = "#1 Release v1.3.0 from basegen/release-v1.3.0: VERSION";

/// The open pull requests after an update to v1.4.0 is complete.
const UPDATED: &str = "#1 Release v1.4.0 from basegen/release-v1.3.0: VERSION";

fn response(status: u16, message: &str) -> Fault {
    Fault::Response(status, Vec::new(), serde_json::json!({ "message": message }).to_string())
}

#[tokio::test]
async fn a_lost_response_does_not_open_a_second_pull_request() {
    let github = repository().await;
    github.fail("POST", "*/pulls", 0, 1, Fault::CommitThenDrop);
    propose(&github, &request()).await;
    assert_eq!(open_pull_requests(&github), OPENED);
    assert_eq!(github.count("POST", "*/pulls"), 1);
}

#[tokio::test]
async fn reads_a_branch_again_after_a_concurrent_commit() {
    let github = repository().await;
    // The response to the commit is lost: the branch has a new head, which is not foreign.
    github.fail("POST", "*/graphql", 0, 1, Fault::CommitThenDrop);
    propose(&github, &request()).await;
    assert_eq!(open_pull_requests(&github), OPENED);
    assert_eq!(github.count("POST", "*/graphql"), 1);
    // Another person commits between the read of the branch and the commit.
    github.fail("POST", "*/graphql", 0, 1, Fault::Commit(BRANCH));
    let error = proposal_error(&github, &release("v1.4.0")).await;
    assert!(error.contains("by bob"), "{error}");
    assert_eq!(github.file(BRANCH, "VERSION").as_deref(), Some("v1.3.0\n"));
    assert_eq!(github.file(BRANCH, "theirs.txt").as_deref(), Some("theirs"));
}

#[tokio::test]
async fn does_not_change_a_branch_with_a_foreign_commit() {
    let github = repository().await;
    propose(&github, &request()).await;
    github.push(BRANCH, "README.md", "reviewed\n");
    let before = github.with(|store| store.branches[BRANCH].clone());
    github.clear_requests();
    let error = proposal_error(&github, &release("v1.4.0")).await;
    let sha: String = before.chars().take(7).collect();
    assert_snapshot!(error.replace(&sha, "SHA"));
    assert_eq!(github.with(|store| store.branches[BRANCH].clone()), before);
    assert!(
        github.requests().iter().all(|request| request.method == "GET"),
        "{:?}",
        github.requests()
    );
    // Also if the base has new commits.
    github.push("main", "README.md", "more\n");
    assert!(proposal_error(&github, &request()).await.contains("by bob"));
    assert_eq!(github.with(|store| store.branches[BRANCH].clone()), before);
}

#[tokio::test]
async fn waits_for_a_short_rate_limit() {
    let limited = "You have exceeded a secondary rate limit. Please wait a few minutes";
    let body = serde_json::json!({ "message": limited }).to_string();
    for status in [403, 429] {
        let github = repository().await;
        let headers = vec![("retry-after", "1".to_owned())];
        github.fail("POST", "*/pulls", 0, 1, Fault::Response(status, headers, body.clone()));
        let started = Instant::now();
        propose(&github, &request()).await;
        assert!(started.elapsed() >= Duration::from_secs(1));
        assert_eq!(open_pull_requests(&github), OPENED);
    }
}

#[tokio::test]
async fn each_wait_for_a_rate_limit_prints_one_line() {
    let github = repository().await;
    let limited =
        |wait: &str| Fault::Response(429, vec![("retry-after", wait.to_owned())], "{}".to_owned());
    github.fail("*", "*", 0, 2, limited("1"));
    let started = Instant::now();
    let printed = Arc::new(Mutex::new(Vec::new()));
    let lines = Arc::clone(&printed);
    let notify = Arc::new(move |line: &str| lines.lock().expect("no panic").push(line.to_owned()));
    let options = GitHubOptions { notify, ..options(&github, token("canary-person")) };
    let printed = || printed.lock().expect("no panic").clone();
    let mut client = GitHub::connect(&options).await.expect("a client");
    client.base(None).await.expect("a base");
    let line =
        format!("rate limited by `{}`: waiting 1.0s", crate::harness::pull_request::host(&github));
    assert_eq!(printed(), [line.as_str(), &line]);
    assert!(started.elapsed() >= Duration::from_secs(2));
    // A wait of zero seconds prints nothing.
    github.fail("*", "*", 0, 2, limited("0"));
    client.base(None).await.expect("a base");
    assert_eq!(printed(), [line.as_str(), &line]);
}

#[tokio::test]
async fn fails_at_a_long_rate_limit() {
    let github = repository().await;
    let headers = vec![("retry-after", "3600".to_owned())];
    github.fail("*", "*", 3, 1, Fault::Response(429, headers, String::new()));
    let started = Instant::now();
    assert_snapshot!(proposal_error(&github, &request()).await);
    assert!(started.elapsed() < Duration::from_secs(30));
    let headers = vec![
        ("date", "Fri, 20 Nov 2026 10:00:00 GMT".to_owned()),
        ("x-ratelimit-remaining", "0".to_owned()),
        ("x-ratelimit-reset", "1795170600".to_owned()),
    ];
    github.fail("*", "*", 0, 1, Fault::Response(403, headers, String::new()));
    let error = proposal_error(&github, &request()).await;
    assert!(error.contains("retry after 30m01s"), "{error}");
    propose(&github, &request()).await;
    assert_eq!(open_pull_requests(&github), OPENED);
}

/// GraphQL reports rate limits in responses with status 200.
#[tokio::test]
async fn waits_for_rate_limits_of_graphql() {
    let limited = |kind: &str, message: &str, headers| {
        let error = serde_json::json!({ "type": kind, "message": message });
        let body = serde_json::json!({ "data": null, "errors": [error] });
        Fault::Response(200, headers, body.to_string())
    };
    let primary = "API rate limit exceeded for installation ID 678.";
    let secondary = "You have exceeded a secondary rate limit. Please wait a few minutes";
    for (kind, message) in [("RATE_LIMITED", primary), ("RATE_LIMIT", primary), ("", secondary)] {
        let github = repository().await;
        let soon = vec![("retry-after", "1".to_owned())];
        github.fail("POST", "*/graphql", 0, 1, limited(kind, message, soon));
        let started = Instant::now();
        propose(&github, &request()).await;
        assert!(started.elapsed() >= Duration::from_secs(1));
        assert_eq!(open_pull_requests(&github), OPENED);
    }
    let github = repository().await;
    let late = vec![
        ("date", "Fri, 20 Nov 2026 10:00:00 GMT".to_owned()),
        ("x-ratelimit-remaining", "0".to_owned()),
        ("x-ratelimit-reset", "1795170600".to_owned()),
    ];
    github.fail("POST", "*/graphql", 0, 1, limited("RATE_LIMITED", primary, late));
    assert_snapshot!(proposal_error(&github, &request()).await);
    assert_eq!(github.count("POST", "*/graphql"), 1);
    // A limit that does not end is an error.
    let soon = vec![("retry-after", "1".to_owned())];
    github.fail("POST", "*/graphql", 0, usize::MAX, limited("RATE_LIMITED", primary, soon));
    let error = proposal_error(&github, &request()).await;
    assert!(error.contains("retry after"), "{error}");
    github.clear_faults();
    propose(&github, &request()).await;
    assert_eq!(open_pull_requests(&github), OPENED);
}

#[tokio::test]
async fn retries_transient_errors() {
    for fault in [response(502, "Bad Gateway"), response(500, "oops"), Fault::Drop] {
        for path in
            ["*/pulls", "*/graphql", "*/git/refs", "*/compare/*", "*/git/trees/*", "*/git/blobs/*"]
        {
            let github = repository().await;
            github.fail("*", path, 0, 2, fault.clone());
            propose(&github, &request()).await;
            assert_eq!(open_pull_requests(&github), OPENED, "{fault:?} {path}");
        }
    }
}

#[tokio::test]
async fn reports_errors_of_graphql() {
    let failed = |kind: &str, message: &str| {
        let error = serde_json::json!({ "type": kind, "message": message });
        let body = serde_json::json!({ "data": null, "errors": [error] });
        Fault::Response(200, Vec::new(), body.to_string())
    };
    let github = repository().await;
    let wrong = "Something went wrong while executing your query.";
    github.fail("POST", "*/graphql", 0, 2, failed("", wrong));
    propose(&github, &request()).await;
    assert_eq!(open_pull_requests(&github), OPENED);
    let github = repository().await;
    for (kind, message) in [
        ("", "Repository rule violations found"),
        ("FORBIDDEN", "Resource not accessible by integration"),
    ] {
        github.fail("POST", "*/graphql", 0, 1, failed(kind, message));
        assert_snapshot!(proposal_error(&github, &request()).await);
    }
}

#[tokio::test]
async fn reports_persistent_errors() {
    let github = repository().await;
    github.fail("POST", "*/pulls", 0, usize::MAX, response(500, "oops"));
    assert_snapshot!(proposal_error(&github, &request()).await);
    github.clear_faults();
    github.fail("GET", "*/compare/*", 0, usize::MAX, Fault::Drop);
    let error = proposal_error(&github, &request()).await;
    assert!(error.contains("`HOST` cannot be reached"), "{error}");
    github.clear_faults();
    let html = Fault::Response(200, Vec::new(), "<html>".to_owned());
    github.fail("GET", "*/pulls", 0, 1, html);
    assert_snapshot!(proposal_error(&github, &request()).await);
}

/// A run that opens or updates a pull request, and is interrupted.
#[derive(Default)]
struct InterruptedRun {
    /// The file that the base has changed since an earlier release opened the pull request. `None`: there is no pull request.
    changed_file: Option<&'static str>,
    /// Whether the changes include an executable file and a binary file.
    has_modes: bool,
}

impl InterruptedRun {
    async fn try_propose(
        &self,
        github: &FakeGitHub,
        request: &ReleasePullRequest,
    ) -> Result<Option<Opened>, GitHubError> {
        let mut wanted = changes(request.version.as_str());
        if self.has_modes {
            wanted.push(executable_file("run.sh", request.version.as_str()));
            let content = Some([0xff, 0].into());
            wanted.push(FileChange { path: "run.so".to_owned(), content, executable: None });
        }
        try_propose_changes(github, token("canary-person"), request, &wanted).await
    }

    /// Interrupts a run at each of its requests, before and after GitHub processes it, and verifies that the next run completes it.
    async fn assert_completion(&self, expected: &str) {
        let mut number = 0;
        loop {
            let mut was_interrupted = false;
            for fault in [Fault::Drop, Fault::CommitThenDrop] {
                was_interrupted |= self.assert_completion_after(number, fault, expected).await;
            }
            if !was_interrupted {
                break;
            }
            number += 1;
        }
        assert!(number > if self.has_modes { 14 } else { 8 }, "{number} requests");
    }

    /// Returns whether the fault interrupted the run: false if it has fewer requests.
    async fn assert_completion_after(&self, number: usize, fault: Fault, expected: &str) -> bool {
        let github = repository().await;
        let mut wanted = request();
        if let Some(changed_file) = self.changed_file {
            self.try_propose(&github, &request()).await.expect("a pull request");
            github.push("main", changed_file, "changed\n");
            wanted = release("v1.4.0");
        }
        let (bob, label) = (vec!["bob".to_owned()], vec!["release".to_owned()]);
        wanted.labels.clone_from(&label);
        wanted.assignees.clone_from(&bob);
        wanted.reviewers.clone_from(&bob);
        // All later requests fail: the process is dead.
        github.fail("*", "*", number, 1, fault);
        github.fail("*", "*", number + 1, usize::MAX, Fault::Drop);
        let interrupted = self.try_propose(&github, &wanted).await;
        github.clear_faults();
        self.try_propose(&github, &wanted).await.expect("a pull request");
        assert_eq!(open_pull_requests(&github), expected, "request {number}");
        let mode = self.has_modes.then(|| "100755".to_owned());
        assert_eq!(github.mode(BRANCH, "run.sh"), mode);
        let pull = github.with(|store| store.pulls[0].clone());
        assert_eq!((pull.labels, pull.reviewers, pull.assignees), (label, bob.clone(), bob));
        interrupted.is_err()
    }
}

#[tokio::test]
async fn the_next_run_completes_an_interrupted_run() {
    InterruptedRun::default().assert_completion(OPENED).await;
}

#[tokio::test]
async fn the_next_run_completes_an_interrupted_run_with_file_modes() {
    let run = InterruptedRun { has_modes: true, ..InterruptedRun::default() };
    run.assert_completion(&format!("{OPENED} run.sh run.so")).await;
}

#[tokio::test]
async fn the_next_run_completes_an_interrupted_update() {
    InterruptedRun { changed_file: Some("README.md"), ..InterruptedRun::default() }
        .assert_completion(UPDATED)
        .await;
}

#[tokio::test]
async fn the_next_run_completes_an_interrupted_update_with_a_conflict() {
    InterruptedRun { changed_file: Some("VERSION"), ..InterruptedRun::default() }
        .assert_completion(UPDATED)
        .await;
}

#[tokio::test]
async fn the_next_run_completes_an_interrupted_update_with_file_modes() {
    let run = InterruptedRun { changed_file: Some("VERSION"), has_modes: true };
    run.assert_completion(&format!("{UPDATED} run.sh run.so")).await;
}
