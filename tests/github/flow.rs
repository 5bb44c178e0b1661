//! Opening, updating and finding the pull request.

use basegen::forge::{Proposal, ReleasePullRequest};
use insta::assert_snapshot;

use crate::harness::github::store::{File, PullRequest};
use crate::harness::pull_request::{
    BRANCH, changes, open_pull_requests, proposal_error, propose, release, repository, request,
    text_file, token, try_propose, try_propose_changes,
};

#[tokio::test]
async fn a_release_becomes_one_commit_and_one_pull_request() {
    let github = repository().await;
    let opened = propose(&github, &request()).await;
    assert_eq!((opened.proposal, opened.pull_request.number), (Proposal::Opened, 1));
    assert_snapshot!(open_pull_requests(&github), @"#1 Release v1.3.0 from basegen/release-v1.3.0: VERSION");
    assert_eq!(github.file(BRANCH, "VERSION").as_deref(), Some("v1.3.0\n"));
    assert_eq!(github.file("main", "VERSION").as_deref(), Some("v1.2.3\n"));
    let commit = github.with(|store| store.commits[&store.branches[BRANCH]].clone());
    assert_eq!(commit.message, "Release v1.3.0\n\nBasegen-Release: v1.3.0");
    assert_eq!(commit.committer, "GitHub");
}

#[tokio::test]
async fn a_second_run_changes_nothing() {
    let github = repository().await;
    propose(&github, &request()).await;
    github.clear_requests();
    let again = propose(&github, &request()).await;
    assert_eq!((again.proposal, again.pull_request.number), (Proposal::Unchanged, 1));
    assert!(
        github.requests().iter().all(|request| request.method == "GET"),
        "{:?}",
        github.requests()
    );
}

#[tokio::test]
async fn opens_no_pull_request_if_the_base_has_the_version() {
    let github = repository().await;
    github.push("main", "VERSION", "v1.3.0\n");
    assert!(try_propose(&github, &request()).await.expect("no error").is_none());
    assert_eq!(github.with(|store| (store.branches.len(), store.pulls.len())), (1, 0));
}

#[tokio::test]
async fn updates_the_open_pull_request_of_an_older_version() {
    let github = repository().await;
    propose(&github, &request()).await;
    let opened = propose(&github, &release("v1.4.0")).await;
    assert_eq!((opened.proposal, opened.pull_request.number), (Proposal::Updated, 1));
    assert_snapshot!(open_pull_requests(&github), @"#1 Release v1.4.0 from basegen/release-v1.3.0: VERSION");
    assert_eq!(github.file(BRANCH, "VERSION").as_deref(), Some("v1.4.0\n"));
    assert_eq!(github.with(|store| store.branches.len()), 2);
}

#[tokio::test]
async fn does_not_change_the_pull_request_of_a_newer_version() {
    let github = repository().await;
    propose(&github, &release("v1.4.0")).await;
    let before = open_pull_requests(&github);
    github.clear_requests();
    assert_snapshot!(proposal_error(&github, &request()).await);
    assert_eq!(open_pull_requests(&github), before);
    assert!(
        github.requests().iter().all(|request| request.method == "GET"),
        "{:?}",
        github.requests()
    );
    // A pull request of an older basegen, whose marker has no version, is updated.
    github.with(|store| store.pulls[0].body = request().marker);
    assert_eq!(propose(&github, &request()).await.pull_request.number, 1);
}

#[tokio::test]
async fn does_not_change_a_pull_request_for_another_base() {
    let github = repository().await;
    github.with(|store| {
        let main = store.branches["main"].clone();
        store.branches.insert("develop".to_owned(), main);
    });
    let older = release("v1.2.9");
    propose(&github, &older).await;
    github.with(|store| store.pulls[0].base = "develop".to_owned());
    assert_snapshot!(proposal_error(&github, &older).await);
    assert_eq!(propose(&github, &request()).await.pull_request.number, 2);
    assert_eq!(github.with(|store| store.pulls[0].base.clone()), "develop");
}

#[tokio::test]
async fn an_update_reverts_the_other_changes_of_the_older_version() {
    let github = repository().await;
    let mut both = changes("v1.3.0");
    both.extend(["README.md", "new.txt"].map(|path| text_file(path, "newer\n")));
    let opened = try_propose_changes(&github, token("canary-person"), &request(), &both).await;
    opened.expect("a pull request");
    github.push("main", "other.txt", "other");
    propose(&github, &release("v1.4.0")).await;
    assert_snapshot!(open_pull_requests(&github), @"#1 Release v1.4.0 from basegen/release-v1.3.0: VERSION");
    assert_eq!(github.file(BRANCH, "README.md").as_deref(), Some("images\n"));
    assert_eq!(github.file(BRANCH, "new.txt"), None);
    assert_eq!(github.file(BRANCH, "other.txt").as_deref(), Some("other"));
}

#[tokio::test]
async fn merges_new_commits_of_the_base() {
    let github = repository().await;
    propose(&github, &request()).await;
    let before = github.with(|store| store.branches[BRANCH].clone());
    github.push("main", "README.md", "more images\n");
    assert_eq!(propose(&github, &request()).await.proposal, Proposal::Updated);
    assert_eq!(github.file(BRANCH, "README.md").as_deref(), Some("more images\n"));
    assert_eq!(github.file(BRANCH, "VERSION").as_deref(), Some("v1.3.0\n"));
    github.with(|store| {
        let (head, base) = (store.branches[BRANCH].clone(), store.branches["main"].clone());
        assert!(store.history(&head).contains(&before), "the branch was reset");
        assert!(store.commits_ahead(&head, &base).is_empty(), "the branch is behind");
    });
}

#[tokio::test]
async fn resolves_conflicts_with_the_base() {
    let github = repository().await;
    propose(&github, &request()).await;
    let before = github.with(|store| store.branches[BRANCH].clone());
    github.push("main", "VERSION", "v1.2.4\n");
    assert_eq!(propose(&github, &request()).await.proposal, Proposal::Updated);
    assert_eq!(github.file(BRANCH, "VERSION").as_deref(), Some("v1.3.0\n"));
    github.with(|store| {
        let (head, base) = (store.branches[BRANCH].clone(), store.branches["main"].clone());
        assert!(
            store.history(&head).contains(&before) && store.commits_ahead(&head, &base).is_empty()
        );
    });
    // The commit is not signed, but is not foreign.
    assert_eq!(propose(&github, &request()).await.proposal, Proposal::Unchanged);
}

/// Covers merges by the button "Update branch" and by a person. Neither contains edits.
#[tokio::test]
async fn accepts_a_clean_merge_of_the_base_by_another_person() {
    let lines = |first: &str, last: &str| format!("{first}\n\nimages\n\n{last}\n");
    for signature in [["bob", "GitHub", "noreply@github.com"], ["bob", "bob", "bob@example.org"]] {
        let github = repository().await;
        github.push("main", "README.md", &lines("a", "z"));
        let mut both = changes("v1.3.0");
        both.push(text_file("README.md", &lines("A", "z")));
        let opened = try_propose_changes(&github, token("canary-person"), &request(), &both).await;
        opened.expect("a pull request");
        github.push("main", "other.txt", "other");
        // Both sides change different lines of one file.
        github.push("main", "README.md", &lines("a", "Z"));
        let merge = |readme: &str, version: Option<&str>| {
            github.with(|store| {
                let (head, base) = (store.branches[BRANCH].clone(), store.branches["main"].clone());
                let mut tree = store.tree(&head).clone();
                tree.insert("other.txt".to_owned(), File::plain(b"other"));
                tree.insert("README.md".to_owned(), File::plain(readme.as_bytes()));
                if let Some(version) = version {
                    tree.insert("VERSION".to_owned(), File::plain(version.as_bytes()));
                }
                store.commit(&[head, base], tree, "Merge branch 'main'", signature)
            })
        };
        let set_branch = |sha: &str| {
            github.with(|store| store.branches.insert(BRANCH.to_owned(), sha.to_owned()))
        };
        let before = github.with(|store| store.branches[BRANCH].clone());
        for edited in [merge(&lines("A", "mine"), None), merge(&lines("A", "Z"), Some("mine\n"))] {
            set_branch(&edited);
            let error = proposal_error(&github, &release("v1.4.0")).await;
            assert!(error.contains(" by bob"), "{error}");
            set_branch(&before);
        }
        let clean = merge(&lines("A", "Z"), None);
        set_branch(&clean);
        let opened = propose(&github, &release("v1.4.0")).await;
        assert_eq!((opened.proposal, opened.pull_request.number), (Proposal::Updated, 1));
        github.with(|store| {
            assert!(
                store.history(&store.branches[BRANCH]).contains(&clean),
                "the branch was reset"
            );
        });
    }
}

#[tokio::test]
async fn an_update_keeps_text_that_people_added() {
    let github = repository().await;
    let body = format!("<!-- basegen:notes -->\n{}", request().body);
    propose(&github, &ReleasePullRequest { body: body.clone(), ..request() }).await;
    let edited = format!("Please merge on Monday.\r\n\r\n{body}\r\n- [x] announced");
    github.with(|store| store.pulls[0].body.clone_from(&edited));
    propose(&github, &ReleasePullRequest { body: body.clone(), ..request() }).await;
    assert_eq!(github.with(|store| store.pulls[0].body.clone()), edited, "the body is unchanged");
    propose(&github, &release("v1.4.0")).await;
    let text = github.with(|store| store.pulls[0].body.clone());
    assert!(text.starts_with("Please merge on Monday.\n\n**v1.4.0**"), "{text}");
    assert!(text.ends_with("\n- [x] announced") && !text.contains("v1.3.0"), "{text}");
}

#[tokio::test]
async fn finds_a_pull_request_without_marker_by_its_branch() {
    let github = repository().await;
    propose(&github, &request()).await;
    github.with(|store| store.pulls[0].body = "mine".to_owned());
    assert_eq!(propose(&github, &request()).await.pull_request.number, 1);
}

#[tokio::test]
async fn ignores_a_pull_request_from_a_fork() {
    let github = repository().await;
    github.with(|store| {
        store.pulls.push(PullRequest {
            number: 1,
            title: "hostile".to_owned(),
            body: request().body,
            head: BRANCH.to_owned(),
            base: "main".to_owned(),
            author: "mallory".to_owned(),
            is_open: true,
            fork: Some("mallory/images".to_owned()),
            ..PullRequest::default()
        });
    });
    assert_eq!(propose(&github, &request()).await.pull_request.number, 2);
    assert_eq!(github.with(|store| store.pulls[0].title.clone()), "hostile");
}

#[tokio::test]
async fn finds_its_pull_request_among_many() {
    let github = repository().await;
    let old = ReleasePullRequest { branch: "basegen/release-v1.2.9".to_owned(), ..request() };
    propose(&github, &old).await;
    github.with(|store| {
        for number in 2..=250 {
            store.pulls.push(PullRequest {
                number,
                head: "main".to_owned(),
                base: "main".to_owned(),
                is_open: true,
                ..PullRequest::default()
            });
        }
    });
    assert_eq!(propose(&github, &request()).await.pull_request.number, 1);
}

#[tokio::test]
async fn each_matrix_has_its_own_pull_request() {
    let github = repository().await;
    let other = basegen::forge::marker("gpu/matrix.toml");
    let theirs = ReleasePullRequest {
        body: format!("theirs\n\n{other}"),
        marker: other,
        branch: "basegen/gpu-v1.3.0".to_owned(),
        ..request()
    };
    propose(&github, &theirs).await;
    assert_eq!(propose(&github, &request()).await.pull_request.number, 2);
    let same_branch = ReleasePullRequest { branch: BRANCH.to_owned(), ..theirs };
    assert_snapshot!(proposal_error(&github, &same_branch).await);
}

#[tokio::test]
async fn sets_labels_reviewers_and_assignees() {
    let github = repository().await;
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let request = ReleasePullRequest {
        draft: true,
        labels: names(&["release", "images"]),
        // Alice is the author, and Mallory is not a collaborator.
        reviewers: names(&["alice", "bob", "mallory"]),
        team_reviewers: names(&["maintainers"]),
        assignees: names(&["alice", "mallory"]),
        ..request()
    };
    let opened = propose(&github, &request).await;
    assert_snapshot!(opened.refused.join("\n"));
    let pull = github.with(|store| store.pulls[0].clone());
    assert!(pull.is_draft);
    assert_eq!(pull.labels, ["release", "images"]);
    assert_eq!((pull.reviewers, pull.teams), (names(&["bob"]), names(&["maintainers"])));
    assert_eq!(pull.assignees, ["alice"]);
    // A reviewer who has reviewed is not requested again.
    github.with(|store| {
        store.pulls[0].reviewers.clear();
        store.pulls[0].completed_reviews.push("bob".to_owned());
    });
    github.clear_requests();
    let again = ReleasePullRequest { reviewers: names(&["bob"]), assignees: Vec::new(), ..request };
    assert_eq!(
        try_propose(&github, &again).await.expect("no error").expect("one").refused,
        [""; 0]
    );
    assert_eq!(github.count("POST", "*"), 0);
}

#[tokio::test]
async fn opens_a_ready_pull_request_if_drafts_are_unsupported() {
    let github = repository().await;
    github.with(|store| store.has_drafts = false);
    let opened = propose(&github, &ReleasePullRequest { draft: true, ..request() }).await;
    assert_eq!(
        opened.refused,
        ["the repository does not support drafts: opened as ready for review"]
    );
    assert!(!github.with(|store| store.pulls[0].is_draft));
}

#[tokio::test]
async fn opens_a_new_pull_request_after_the_first_was_closed() {
    let github = repository().await;
    propose(&github, &request()).await;
    github.with(|store| store.pulls[0].is_open = false);
    let opened = propose(&github, &request()).await;
    assert_eq!((opened.proposal, opened.pull_request.number), (Proposal::Opened, 2));
}
