//! Opening, updating, adopting.

use basegen::forge::{Proposal, ReleasePullRequest};
use insta::assert_snapshot;

use crate::harness::github::store::{File, Pull};
use crate::harness::pull_request::{
    BRANCH, changes, error, opened, propose, propose_changes, release, repository, request, state,
    text, token,
};

#[tokio::test]
async fn a_release_becomes_one_commit_and_one_pull_request() {
    let github = repository().await;
    let opened = opened(&github, &request()).await;
    assert_eq!((opened.proposal, opened.pull_request.number), (Proposal::Opened, 1));
    assert_snapshot!(state(&github), @"#1 Release v1.3.0 from basegen/release-v1.3.0: VERSION");
    assert_eq!(github.file(BRANCH, "VERSION").as_deref(), Some("v1.3.0\n"));
    assert_eq!(github.file("main", "VERSION").as_deref(), Some("v1.2.3\n"));
    let commit = github.with(|store| store.commits[&store.branches[BRANCH]].clone());
    assert_eq!(commit.message, "Release v1.3.0\n\nBasegen-Release: v1.3.0");
    assert_eq!(commit.committer, "GitHub");
}

#[tokio::test]
async fn the_same_again_does_nothing() {
    let github = repository().await;
    opened(&github, &request()).await;
    github.forget();
    let again = opened(&github, &request()).await;
    assert_eq!((again.proposal, again.pull_request.number), (Proposal::Unchanged, 1));
    assert!(github.seen().iter().all(|seen| seen.method == "GET"), "{:?}", github.seen());
}

#[tokio::test]
async fn what_is_in_step_needs_no_pull_request() {
    let github = repository().await;
    github.push("main", "VERSION", "v1.3.0\n");
    assert!(propose(&github, &request()).await.expect("no error").is_none());
    assert_eq!(github.with(|store| (store.branches.len(), store.pulls.len())), (1, 0));
}

#[tokio::test]
async fn an_open_one_of_an_older_version_is_taken_over() {
    let github = repository().await;
    opened(&github, &request()).await;
    let opened = opened(&github, &release("v1.4.0")).await;
    assert_eq!((opened.proposal, opened.pull_request.number), (Proposal::Updated, 1));
    assert_snapshot!(state(&github), @"#1 Release v1.4.0 from basegen/release-v1.3.0: VERSION");
    assert_eq!(github.file(BRANCH, "VERSION").as_deref(), Some("v1.4.0\n"));
    assert_eq!(github.with(|store| store.branches.len()), 2);
}

#[tokio::test]
async fn an_open_one_of_a_newer_version_is_left_alone() {
    let github = repository().await;
    opened(&github, &release("v1.4.0")).await;
    let before = state(&github);
    github.forget();
    assert_snapshot!(error(&github, &request()).await);
    assert_eq!(state(&github), before);
    assert!(github.seen().iter().all(|seen| seen.method == "GET"), "{:?}", github.seen());
    // One that says no version, as those of an earlier basegen, is taken over.
    github.with(|store| store.pulls[0].body = request().marker);
    assert_eq!(opened(&github, &request()).await.pull_request.number, 1);
}

#[tokio::test]
async fn one_for_another_base_is_left_alone() {
    let github = repository().await;
    github.with(|store| {
        let main = store.branches["main"].clone();
        store.branches.insert("develop".to_owned(), main);
    });
    let older = release("v1.2.9");
    opened(&github, &older).await;
    github.with(|store| store.pulls[0].base = "develop".to_owned());
    assert_snapshot!(error(&github, &older).await);
    assert_eq!(opened(&github, &request()).await.pull_request.number, 2);
    assert_eq!(github.with(|store| store.pulls[0].base.clone()), "develop");
}

#[tokio::test]
async fn what_only_the_older_version_had_changed_goes_back() {
    let github = repository().await;
    let mut both = changes("v1.3.0");
    both.extend(["README.md", "new.txt"].map(|path| text(path, "newer\n")));
    let proposed = propose_changes(&github, token("canary-person"), &request(), &both).await;
    proposed.expect("a pull request");
    github.push("main", "other.txt", "other");
    opened(&github, &release("v1.4.0")).await;
    assert_snapshot!(state(&github), @"#1 Release v1.4.0 from basegen/release-v1.3.0: VERSION");
    assert_eq!(github.file(BRANCH, "README.md").as_deref(), Some("images\n"));
    assert_eq!(github.file(BRANCH, "new.txt"), None);
    assert_eq!(github.file(BRANCH, "other.txt").as_deref(), Some("other"));
}

#[tokio::test]
async fn a_base_that_moved_on_is_merged_and_nothing_is_lost() {
    let github = repository().await;
    opened(&github, &request()).await;
    let before = github.with(|store| store.branches[BRANCH].clone());
    github.push("main", "README.md", "more images\n");
    assert_eq!(opened(&github, &request()).await.proposal, Proposal::Updated);
    assert_eq!(github.file(BRANCH, "README.md").as_deref(), Some("more images\n"));
    assert_eq!(github.file(BRANCH, "VERSION").as_deref(), Some("v1.3.0\n"));
    github.with(|store| {
        let (head, base) = (store.branches[BRANCH].clone(), store.branches["main"].clone());
        assert!(store.history(&head).contains(&before), "the branch was reset");
        assert!(store.ahead(&head, &base).is_empty(), "the branch is behind");
    });
}

#[tokio::test]
async fn a_base_that_moved_on_in_the_same_place_is_no_conflict() {
    let github = repository().await;
    opened(&github, &request()).await;
    let before = github.with(|store| store.branches[BRANCH].clone());
    github.push("main", "VERSION", "v1.2.4\n");
    assert_eq!(opened(&github, &request()).await.proposal, Proposal::Updated);
    assert_eq!(github.file(BRANCH, "VERSION").as_deref(), Some("v1.3.0\n"));
    github.with(|store| {
        let (head, base) = (store.branches[BRANCH].clone(), store.branches["main"].clone());
        assert!(store.history(&head).contains(&before) && store.ahead(&head, &base).is_empty());
    });
    // That commit is signed by nobody, and still known as ours.
    assert_eq!(opened(&github, &request()).await.proposal, Proposal::Unchanged);
}

/// The button "Update branch", and a person who merges the base: no edit of theirs is in it.
#[tokio::test]
async fn a_clean_merge_of_the_base_is_not_foreign() {
    let lines = |first: &str, last: &str| format!("{first}\n\nimages\n\n{last}\n");
    for who in [["bob", "GitHub", "noreply@github.com"], ["bob", "bob", "bob@example.org"]] {
        let github = repository().await;
        github.push("main", "README.md", &lines("a", "z"));
        let mut both = changes("v1.3.0");
        both.push(text("README.md", &lines("A", "z")));
        let proposed = propose_changes(&github, token("canary-person"), &request(), &both).await;
        proposed.expect("a pull request");
        github.push("main", "other.txt", "other");
        // Both sides change lines of one file.
        github.push("main", "README.md", &lines("a", "Z"));
        let merge = |readme: &str, more: Option<&str>| {
            github.with(|store| {
                let (head, base) = (store.branches[BRANCH].clone(), store.branches["main"].clone());
                let mut tree = store.tree(&head).clone();
                tree.insert("other.txt".to_owned(), File::plain(b"other"));
                tree.insert("README.md".to_owned(), File::plain(readme.as_bytes()));
                if let Some(more) = more {
                    tree.insert("VERSION".to_owned(), File::plain(more.as_bytes()));
                }
                store.commit(&[head, base], tree, "Merge branch 'main'", who)
            })
        };
        let put = |sha: &str| {
            github.with(|store| store.branches.insert(BRANCH.to_owned(), sha.to_owned()))
        };
        let before = github.with(|store| store.branches[BRANCH].clone());
        for edited in [merge(&lines("A", "mine"), None), merge(&lines("A", "Z"), Some("mine\n"))] {
            put(&edited);
            let told = error(&github, &release("v1.4.0")).await;
            assert!(told.contains(" by bob"), "{told}");
            put(&before);
        }
        let clean = merge(&lines("A", "Z"), None);
        put(&clean);
        let opened = opened(&github, &release("v1.4.0")).await;
        assert_eq!((opened.proposal, opened.pull_request.number), (Proposal::Updated, 1));
        github.with(|store| {
            assert!(store.history(&store.branches[BRANCH]).contains(&clean), "nothing is forced");
        });
    }
}

#[tokio::test]
async fn what_people_wrote_in_the_text_stays() {
    let github = repository().await;
    let body = format!("<!-- basegen:notes -->\n{}", request().body);
    opened(&github, &ReleasePullRequest { body: body.clone(), ..request() }).await;
    let edited = format!("Please merge on Monday.\r\n\r\n{body}\r\n- [x] announced");
    github.with(|store| store.pulls[0].body.clone_from(&edited));
    opened(&github, &ReleasePullRequest { body: body.clone(), ..request() }).await;
    assert_eq!(github.with(|store| store.pulls[0].body.clone()), edited, "nothing is new");
    opened(&github, &release("v1.4.0")).await;
    let text = github.with(|store| store.pulls[0].body.clone());
    assert!(text.starts_with("Please merge on Monday.\n\n**v1.4.0**"), "{text}");
    assert!(text.ends_with("\n- [x] announced") && !text.contains("v1.3.0"), "{text}");
}

#[tokio::test]
async fn one_whose_marker_was_removed_is_known_by_its_branch() {
    let github = repository().await;
    opened(&github, &request()).await;
    github.with(|store| store.pulls[0].body = "mine".to_owned());
    assert_eq!(opened(&github, &request()).await.pull_request.number, 1);
}

#[tokio::test]
async fn a_fork_with_our_marker_is_not_ours() {
    let github = repository().await;
    github.with(|store| {
        store.pulls.push(Pull {
            number: 1,
            title: "hostile".to_owned(),
            body: request().body,
            head: BRANCH.to_owned(),
            base: "main".to_owned(),
            author: "mallory".to_owned(),
            is_open: true,
            fork: Some("mallory/images".to_owned()),
            ..Pull::default()
        });
    });
    assert_eq!(opened(&github, &request()).await.pull_request.number, 2);
    assert_eq!(github.with(|store| store.pulls[0].title.clone()), "hostile");
}

#[tokio::test]
async fn many_open_pull_requests_do_not_hide_ours() {
    let github = repository().await;
    let old = ReleasePullRequest { branch: "basegen/release-v1.2.9".to_owned(), ..request() };
    opened(&github, &old).await;
    github.with(|store| {
        for number in 2..=250 {
            store.pulls.push(Pull {
                number,
                head: "main".to_owned(),
                base: "main".to_owned(),
                is_open: true,
                ..Pull::default()
            });
        }
    });
    assert_eq!(opened(&github, &request()).await.pull_request.number, 1);
}

#[tokio::test]
async fn another_matrix_of_the_repository_keeps_its_pull_request() {
    let github = repository().await;
    let other = basegen::forge::marker("gpu/matrix.toml");
    let theirs = ReleasePullRequest {
        body: format!("theirs\n\n{other}"),
        marker: other,
        branch: "basegen/gpu-v1.3.0".to_owned(),
        ..request()
    };
    opened(&github, &theirs).await;
    assert_eq!(opened(&github, &request()).await.pull_request.number, 2);
    let same_branch = ReleasePullRequest { branch: BRANCH.to_owned(), ..theirs };
    assert_snapshot!(error(&github, &same_branch).await);
}

#[tokio::test]
async fn who_and_what_is_asked_for_is_there() {
    let github = repository().await;
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let request = ReleasePullRequest {
        draft: true,
        labels: names(&["release", "images"]),
        // Alice opens it herself, and nobody knows Mallory.
        reviewers: names(&["alice", "bob", "mallory"]),
        team_reviewers: names(&["maintainers"]),
        assignees: names(&["alice", "mallory"]),
        ..request()
    };
    let opened = opened(&github, &request).await;
    assert_snapshot!(opened.refused.join("\n"));
    let pull = github.with(|store| store.pulls[0].clone());
    assert!(pull.is_draft);
    assert_eq!(pull.labels, ["release", "images"]);
    assert_eq!((pull.reviewers, pull.teams), (names(&["bob"]), names(&["maintainers"])));
    assert_eq!(pull.assignees, ["alice"]);
    // Who has answered is not asked again.
    github.with(|store| {
        store.pulls[0].reviewers.clear();
        store.pulls[0].reviewed.push("bob".to_owned());
    });
    github.forget();
    let again = ReleasePullRequest { reviewers: names(&["bob"]), assignees: Vec::new(), ..request };
    assert_eq!(propose(&github, &again).await.expect("no error").expect("one").refused, [""; 0]);
    assert_eq!(github.count("POST", "*"), 0);
}

#[tokio::test]
async fn a_repository_without_drafts_gets_no_draft() {
    let github = repository().await;
    github.with(|store| store.has_drafts = false);
    let opened = opened(&github, &ReleasePullRequest { draft: true, ..request() }).await;
    assert_eq!(
        opened.refused,
        ["the repository does not support drafts: opened as ready for review"]
    );
    assert!(!github.with(|store| store.pulls[0].is_draft));
}

#[tokio::test]
async fn who_closed_it_gets_another() {
    let github = repository().await;
    opened(&github, &request()).await;
    github.with(|store| store.pulls[0].is_open = false);
    let opened = opened(&github, &request()).await;
    assert_eq!((opened.proposal, opened.pull_request.number), (Proposal::Opened, 2));
}
