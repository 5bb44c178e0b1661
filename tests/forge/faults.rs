//! What goes wrong between us and GitHub.

use std::time::{Duration, Instant};

use insta::assert_snapshot;

use crate::bench::{BRANCH, error, opened, propose, release, repository, request, state};
use crate::github::Fault;

const DONE: &str = "#1 Release v1.3.0 from basegen/release-v1.3.0: VERSION";

const NEWER: &str = "#1 Release v1.4.0 from basegen/release-v1.3.0: VERSION";

fn answer(status: u16, message: &str) -> Fault {
    Fault::Answer(status, Vec::new(), serde_json::json!({ "message": message }).to_string())
}

/// 27: the answer to "create PR" is lost.
#[tokio::test]
async fn a_lost_answer_to_opening_it_leaves_one() {
    let github = repository().await;
    github.fail("POST", "*/pulls", 0, 1, Fault::CommitThenDrop);
    opened(&github, &request()).await;
    assert_eq!(state(&github), DONE);
    assert_eq!(github.count("POST", "*/pulls"), 1);
}

/// 27: the head of the branch is not the one that was read.
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

/// 27: a human's commit on the branch.
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

/// 28: a secondary rate limit is waited for.
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

/// 28: one that takes long is told.
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
    assert!(told.contains("it asks to wait for 30m01s"), "{told}");
    opened(&github, &request()).await;
    assert_eq!(state(&github), DONE);
}

/// 28: GraphQL tells of its limits with the status of a success.
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
    let soon = vec![("retry-after", "0".to_owned())];
    github.fail("POST", "*/graphql", 0, usize::MAX, limited("RATE_LIMITED", primary, soon));
    let told = error(&github, &request()).await;
    assert!(told.contains("it asks to wait for"), "{told}");
    github.mend();
    opened(&github, &request()).await;
    assert_eq!(state(&github), DONE);
}

#[tokio::test]
async fn what_fails_for_a_moment_is_repeated() {
    for fault in [answer(502, "Bad Gateway"), answer(500, "oops"), Fault::Drop] {
        for path in ["*/pulls", "*/graphql", "*/git/refs", "*/compare/*", "*/contents/*"] {
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

/// The process, or its connection, dies at every request that a run makes; the next run finishes it.
/// `moved` is the file that the base has changed since an earlier release was proposed, if one was.
async fn dies_anywhere_and_is_finished(moved: Option<&str>, done: &str) {
    let mut number = 0;
    loop {
        let mut is_reached = false;
        for fault in [Fault::Drop, Fault::CommitThenDrop] {
            let github = repository().await;
            let mut wanted = request();
            if let Some(moved) = moved {
                opened(&github, &request()).await;
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
            let died = propose(&github, &wanted).await;
            is_reached |= died.is_err();
            github.mend();
            opened(&github, &wanted).await;
            assert_eq!(state(&github), done, "request {number}");
            let pull = github.with(|store| store.pulls[0].clone());
            assert_eq!((pull.labels, pull.reviewers, pull.assignees), (label, bob.clone(), bob));
        }
        if !is_reached {
            break;
        }
        number += 1;
    }
    assert!(number > 8, "it took {number} requests");
}

#[tokio::test]
async fn a_run_that_dies_anywhere_is_finished_by_the_next() {
    dies_anywhere_and_is_finished(None, DONE).await;
}

#[tokio::test]
async fn an_update_that_dies_anywhere_is_finished_by_the_next() {
    dies_anywhere_and_is_finished(Some("README.md"), NEWER).await;
}

#[tokio::test]
async fn an_update_of_the_same_place_that_dies_anywhere_is_finished_by_the_next() {
    dies_anywhere_and_is_finished(Some("VERSION"), NEWER).await;
}
