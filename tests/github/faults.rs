//! What goes wrong between us and GitHub.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use basegen::forge::{FileChange, GitHub, GitHubError, GitHubOptions, Opened, ReleasePullRequest};
use insta::assert_snapshot;

use crate::harness::github::{FakeGitHub, Fault};
use crate::harness::pull_request::{
    BRANCH, changes, error, opened, options, propose_changes, release, repository, request, script,
    state, token,
};

const DONE: &str = "#1 Release v1.3.0 from basegen/release-v1.3.0: VERSION";

const NEWER: &str = "#1 Release v1.4.0 from basegen/release-v1.3.0: VERSION";

fn answer(status: u16, message: &str) -> Fault {
    Fault::Answer(status, Vec::new(), serde_json::json!({ "message": message }).to_string())
}

#[tokio::test]
async fn a_lost_answer_to_opening_it_leaves_one() {
    let github = repository().await;
    github.fail("POST", "*/pulls", 0, 1, Fault::CommitThenDrop);
    opened(&github, &request()).await;
    assert_eq!(state(&github), DONE);
    assert_eq!(github.count("POST", "*/pulls"), 1);
}

#[tokio::test]
async fn a_stale_head_is_read_anew() {
    let github = repository().await;
    // The answer to the commit is lost: the head is ours, and not the expected one any more.
    github.fail("POST", "*/graphql", 0, 1, Fault::CommitThenDrop);
    opened(&github, &request()).await;
    assert_eq!(state(&github), DONE);
    assert_eq!(github.count("POST", "*/graphql"), 1);
    // Somebody else commits between the look at the branch and the commit.
    github.fail("POST", "*/graphql", 0, 1, Fault::Commit(BRANCH));
    let told = error(&github, &release("v1.4.0")).await;
    assert!(told.contains("by bob"), "{told}");
    assert_eq!(github.file(BRANCH, "VERSION").as_deref(), Some("v1.3.0\n"));
    assert_eq!(github.file(BRANCH, "theirs.txt").as_deref(), Some("theirs"));
}

#[tokio::test]
async fn a_branch_with_somebody_elses_commit_is_left_alone() {
    let github = repository().await;
    opened(&github, &request()).await;
    github.push(BRANCH, "README.md", "reviewed\n");
    let before = github.with(|store| store.branches[BRANCH].clone());
    github.forget();
    let told = error(&github, &release("v1.4.0")).await;
    let sha: String = before.chars().take(7).collect();
    assert_snapshot!(told.replace(&sha, "SHA"));
    assert_eq!(github.with(|store| store.branches[BRANCH].clone()), before);
    assert!(github.seen().iter().all(|seen| seen.method == "GET"), "{:?}", github.seen());
    // Not even where the base has moved on since.
    github.push("main", "README.md", "more\n");
    assert!(error(&github, &request()).await.contains("by bob"));
    assert_eq!(github.with(|store| store.branches[BRANCH].clone()), before);
}

#[tokio::test]
async fn a_short_wait_is_waited_for() {
    let limited = "You have exceeded a secondary rate limit. Please wait a few minutes";
    let body = serde_json::json!({ "message": limited }).to_string();
    for status in [403, 429] {
        let github = repository().await;
        let headers = vec![("retry-after", "1".to_owned())];
        github.fail("POST", "*/pulls", 0, 1, Fault::Answer(status, headers, body.clone()));
        let begun = Instant::now();
        opened(&github, &request()).await;
        assert!(begun.elapsed() >= Duration::from_secs(1));
        assert_eq!(state(&github), DONE);
    }
}

#[tokio::test]
async fn each_wait_for_a_rate_limit_prints_one_line() {
    let github = repository().await;
    let limited =
        |wait: &str| Fault::Answer(429, vec![("retry-after", wait.to_owned())], "{}".to_owned());
    github.fail("*", "*", 0, 2, limited("1"));
    let begun = Instant::now();
    let written = Arc::new(Mutex::new(Vec::new()));
    let lines = Arc::clone(&written);
    let notify = Arc::new(move |line: &str| lines.lock().expect("no panic").push(line.to_owned()));
    let options = GitHubOptions { notify, ..options(&github, token("canary-person")) };
    let waits = || written.lock().expect("no panic").clone();
    let mut client = GitHub::connect(&options).await.expect("a client");
    client.base(None).await.expect("a base");
    let line =
        format!("rate limited by `{}`: waiting 1.0s", crate::harness::pull_request::host(&github));
    assert_eq!(waits(), [line.as_str(), &line]);
    assert!(begun.elapsed() >= Duration::from_secs(2));
    // No time at all is no minute, and no news.
    github.fail("*", "*", 0, 2, limited("0"));
    client.base(None).await.expect("a base");
    assert_eq!(waits(), [line.as_str(), &line]);
}

#[tokio::test]
async fn a_long_wait_is_told_and_not_waited_for() {
    let github = repository().await;
    let headers = vec![("retry-after", "3600".to_owned())];
    github.fail("*", "*", 3, 1, Fault::Answer(429, headers, String::new()));
    let begun = Instant::now();
    assert_snapshot!(error(&github, &request()).await);
    assert!(begun.elapsed() < Duration::from_secs(30));
    let headers = vec![
        ("date", "Fri, 20 Nov 2026 10:00:00 GMT".to_owned()),
        ("x-ratelimit-remaining", "0".to_owned()),
        ("x-ratelimit-reset", "1795170600".to_owned()),
    ];
    github.fail("*", "*", 0, 1, Fault::Answer(403, headers, String::new()));
    let told = error(&github, &request()).await;
    assert!(told.contains("retry after 30m01s"), "{told}");
    opened(&github, &request()).await;
    assert_eq!(state(&github), DONE);
}

/// GraphQL reports its rate limits in responses of status 200.
#[tokio::test]
async fn a_limit_of_graphql_is_waited_for_or_told() {
    let limited = |kind: &str, message: &str, headers| {
        let error = serde_json::json!({ "type": kind, "message": message });
        let answer = serde_json::json!({ "data": null, "errors": [error] });
        Fault::Answer(200, headers, answer.to_string())
    };
    let primary = "API rate limit exceeded for installation ID 678.";
    let secondary = "You have exceeded a secondary rate limit. Please wait a few minutes";
    for (kind, message) in [("RATE_LIMITED", primary), ("RATE_LIMIT", primary), ("", secondary)] {
        let github = repository().await;
        let soon = vec![("retry-after", "1".to_owned())];
        github.fail("POST", "*/graphql", 0, 1, limited(kind, message, soon));
        let begun = Instant::now();
        opened(&github, &request()).await;
        assert!(begun.elapsed() >= Duration::from_secs(1));
        assert_eq!(state(&github), DONE);
    }
    let github = repository().await;
    let late = vec![
        ("date", "Fri, 20 Nov 2026 10:00:00 GMT".to_owned()),
        ("x-ratelimit-remaining", "0".to_owned()),
        ("x-ratelimit-reset", "1795170600".to_owned()),
    ];
    github.fail("POST", "*/graphql", 0, 1, limited("RATE_LIMITED", primary, late));
    assert_snapshot!(error(&github, &request()).await);
    assert_eq!(github.count("POST", "*/graphql"), 1);
    // One that does not end is told, too.
    let soon = vec![("retry-after", "1".to_owned())];
    github.fail("POST", "*/graphql", 0, usize::MAX, limited("RATE_LIMITED", primary, soon));
    let told = error(&github, &request()).await;
    assert!(told.contains("retry after"), "{told}");
    github.mend();
    opened(&github, &request()).await;
    assert_eq!(state(&github), DONE);
}

#[tokio::test]
async fn what_fails_for_a_moment_is_repeated() {
    for fault in [answer(502, "Bad Gateway"), answer(500, "oops"), Fault::Drop] {
        for path in
            ["*/pulls", "*/graphql", "*/git/refs", "*/compare/*", "*/git/trees/*", "*/git/blobs/*"]
        {
            let github = repository().await;
            github.fail("*", path, 0, 2, fault.clone());
            opened(&github, &request()).await;
            assert_eq!(state(&github), DONE, "{fault:?} {path}");
        }
    }
}

#[tokio::test]
async fn errors_of_graphql_are_errors() {
    let failed = |kind: &str, message: &str| {
        let error = serde_json::json!({ "type": kind, "message": message });
        let answer = serde_json::json!({ "data": null, "errors": [error] });
        Fault::Answer(200, Vec::new(), answer.to_string())
    };
    let github = repository().await;
    let wrong = "Something went wrong while executing your query.";
    github.fail("POST", "*/graphql", 0, 2, failed("", wrong));
    opened(&github, &request()).await;
    assert_eq!(state(&github), DONE);
    let github = repository().await;
    for (kind, message) in [
        ("", "Repository rule violations found"),
        ("FORBIDDEN", "Resource not accessible by integration"),
    ] {
        github.fail("POST", "*/graphql", 0, 1, failed(kind, message));
        assert_snapshot!(error(&github, &request()).await);
    }
}

#[tokio::test]
async fn what_keeps_failing_is_told() {
    let github = repository().await;
    github.fail("POST", "*/pulls", 0, usize::MAX, answer(500, "oops"));
    assert_snapshot!(error(&github, &request()).await);
    github.mend();
    github.fail("GET", "*/compare/*", 0, usize::MAX, Fault::Drop);
    let told = error(&github, &request()).await;
    assert!(told.contains("`HOST` cannot be reached"), "{told}");
    github.mend();
    let html = Fault::Answer(200, Vec::new(), "<html>".to_owned());
    github.fail("GET", "*/pulls", 0, 1, html);
    assert_snapshot!(error(&github, &request()).await);
}

/// What a run is killed in the middle of.
#[derive(Default)]
struct Dying {
    /// The file that the base has changed since an earlier release was proposed, if one was.
    moved: Option<&'static str>,
    /// Whether a file that may be executed is among the changes, and one with bytes that are no text.
    has_modes: bool,
}

impl Dying {
    async fn propose(
        &self,
        github: &FakeGitHub,
        request: &ReleasePullRequest,
    ) -> Result<Option<Opened>, GitHubError> {
        let mut wanted = changes(request.version.as_str());
        if self.has_modes {
            wanted.push(script("run.sh", request.version.as_str()));
            let content = Some([0xff, 0].into());
            wanted.push(FileChange { path: "run.so".to_owned(), content, executable: None });
        }
        propose_changes(github, token("canary-person"), request, &wanted).await
    }

    /// The process, or its connection, dies at every request that a run makes; the next run
    /// finishes it.
    async fn anywhere(&self, done: &str) {
        let mut number = 0;
        loop {
            let mut is_reached = false;
            for fault in [Fault::Drop, Fault::CommitThenDrop] {
                is_reached |= self.at(number, fault, done).await;
            }
            if !is_reached {
                break;
            }
            number += 1;
        }
        assert!(number > if self.has_modes { 14 } else { 8 }, "it took {number} requests");
    }

    /// Whether there is such a request.
    async fn at(&self, number: usize, fault: Fault, done: &str) -> bool {
        let github = repository().await;
        let mut wanted = request();
        if let Some(moved) = self.moved {
            self.propose(&github, &request()).await.expect("a pull request");
            github.push("main", moved, "moved\n");
            wanted = release("v1.4.0");
        }
        let (bob, label) = (vec!["bob".to_owned()], vec!["release".to_owned()]);
        wanted.labels.clone_from(&label);
        wanted.assignees.clone_from(&bob);
        wanted.reviewers.clone_from(&bob);
        // From there on nothing is answered any more: the run is dead.
        github.fail("*", "*", number, 1, fault);
        github.fail("*", "*", number + 1, usize::MAX, Fault::Drop);
        let died = self.propose(&github, &wanted).await;
        github.mend();
        self.propose(&github, &wanted).await.expect("a pull request");
        assert_eq!(state(&github), done, "request {number}");
        let mode = self.has_modes.then(|| "100755".to_owned());
        assert_eq!(github.mode(BRANCH, "run.sh"), mode);
        let pull = github.with(|store| store.pulls[0].clone());
        assert_eq!((pull.labels, pull.reviewers, pull.assignees), (label, bob.clone(), bob));
        died.is_err()
    }
}

#[tokio::test]
async fn a_run_that_dies_anywhere_is_finished_by_the_next() {
    Dying::default().anywhere(DONE).await;
}

#[tokio::test]
async fn a_run_with_modes_that_dies_anywhere_is_finished_by_the_next() {
    let dying = Dying { has_modes: true, ..Dying::default() };
    dying.anywhere(&format!("{DONE} run.sh run.so")).await;
}

#[tokio::test]
async fn an_update_that_dies_anywhere_is_finished_by_the_next() {
    Dying { moved: Some("README.md"), ..Dying::default() }.anywhere(NEWER).await;
}

#[tokio::test]
async fn an_update_of_the_same_place_that_dies_anywhere_is_finished_by_the_next() {
    Dying { moved: Some("VERSION"), ..Dying::default() }.anywhere(NEWER).await;
}

#[tokio::test]
async fn an_update_with_modes_that_dies_anywhere_is_finished_by_the_next() {
    let dying = Dying { moved: Some("VERSION"), has_modes: true };
    dying.anywhere(&format!("{NEWER} run.sh run.so")).await;
}
