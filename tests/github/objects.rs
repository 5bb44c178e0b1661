//! What git's objects are for: modes, large files, many files, large repositories.

use basegen::forge::{Access, FileChange, Proposal};

use crate::access::app;
use crate::harness::github::store::File;
use crate::harness::github::{APP, FakeGitHub, Fault, KEY};
use crate::harness::pull_request::{
    BRANCH, changes, opened, propose_changes, release, repository, request, script, state, text,
    token,
};

async fn proposed(github: &FakeGitHub, access: Access, wanted: &[FileChange]) -> Proposal {
    let proposed = propose_changes(github, access, &request(), wanted).await;
    proposed.expect("no error").expect("a pull request").proposal
}

fn person() -> Access {
    token("canary-person")
}

#[tokio::test]
async fn a_file_that_may_be_executed_may_be_so_on_the_branch() {
    for (access, committer) in [(person(), "alice"), (app(APP, KEY), "GitHub")] {
        let github = repository().await;
        github.push("main", "old.sh", "old\n");
        github.push_file("main", "tool", File::new("100755", b"tool\n"));
        let mut wanted = changes("v1.3.0");
        let binary = FileChange { content: Some(vec![0xff, 0]), ..script("new.so", "") };
        // The mode of `old.sh` is all that changes of it; `tool` keeps that which it has.
        wanted.extend([script("new.sh", "new\n"), binary, script("old.sh", "old\n")]);
        wanted.push(text("tool", "newer\n"));
        assert_eq!(proposed(&github, access.clone(), &wanted).await, Proposal::Opened);
        for path in ["new.sh", "new.so", "old.sh", "tool"] {
            assert_eq!(github.mode(BRANCH, path).as_deref(), Some("100755"), "{path}");
        }
        assert_eq!(github.mode(BRANCH, "VERSION").as_deref(), Some("100644"));
        let commit = github.with(|store| store.commits[&store.branches[BRANCH]].clone());
        assert_eq!(commit.tree["new.so"].content, [0xff, 0]);
        assert_eq!(commit.committer, committer);
        assert_eq!(github.count("POST", "*/graphql"), 0);
        // It is known as ours, whoever it was committed by.
        github.forget();
        assert_eq!(proposed(&github, access.clone(), &wanted).await, Proposal::Unchanged);
        assert!(github.seen().iter().all(|seen| seen.method == "GET" || seen.path.contains("app")));
        // What this release does not have goes back, modes as well.
        wanted.truncate(1);
        assert_eq!(proposed(&github, access, &wanted).await, Proposal::Updated);
        assert!(state(&github).ends_with(": VERSION"), "{}", state(&github));
    }
}

/// What needs no mode is committed so that GitHub signs it whoever's token it is.
#[tokio::test]
async fn without_modes_the_commit_is_signed() {
    let github = repository().await;
    let mut wanted = changes("v1.3.0");
    wanted.push(FileChange { executable: Some(false), ..text("new.txt", "new\n") });
    proposed(&github, person(), &wanted).await;
    let commit = github.with(|store| store.commits[&store.branches[BRANCH]].clone());
    assert_eq!(commit.committer, "GitHub");
}

/// Somebody commits while the new head is made: it is not put over theirs.
#[tokio::test]
async fn a_head_of_objects_is_never_forced() {
    let github = repository().await;
    let mut wanted = changes("v1.3.0");
    wanted.push(script("run.sh", "run\n"));
    for path in ["*/git/trees", "*/git/refs/*"] {
        github.fail("*", path, 0, 1, Fault::Commit(BRANCH));
        let refused = propose_changes(&github, person(), &request(), &wanted).await;
        let refused = basegen::error::Report::from(refused.expect_err("an error")).to_string();
        assert!(refused.contains("by bob"), "{refused}");
        assert_eq!(github.file(BRANCH, "theirs.txt").as_deref(), Some("theirs"));
        assert_eq!(github.mode(BRANCH, "run.sh"), None);
        github.with(|store| store.branches.remove(BRANCH));
    }
    // Where the branch is deleted meanwhile, it is made anew.
    assert_eq!(proposed(&github, person(), &wanted).await, Proposal::Opened);
}

/// The comparison of two commits lists 300 files; and a token of Actions has 1,000 requests an hour.
#[tokio::test]
async fn many_files_take_few_requests_and_all_of_them_go_back() {
    let github = repository().await;
    let many = |text_of: &str| {
        let files = (0..400).map(|number| text(&format!("rendered/{number}/Dockerfile"), text_of));
        changes("v1.3.0").into_iter().chain(files).collect::<Vec<_>>()
    };
    proposed(&github, person(), &many("FROM a\n")).await;
    github.forget();
    assert_eq!(proposed(&github, person(), &many("FROM a\n")).await, Proposal::Unchanged);
    assert!(github.seen().len() < 12, "{}", github.seen().len());
    opened(&github, &release("v1.4.0")).await;
    assert_eq!(state(&github), "#1 Release v1.4.0 from basegen/release-v1.3.0: VERSION");
    assert!(github.seen().len() < 40, "{}", github.seen().len());
}

/// What is too large to be listed at once is listed folder by folder, as far as it matters.
#[tokio::test]
async fn a_large_repository_is_listed_by_folders() {
    let github = repository().await;
    for number in 0..6 {
        github.push("main", &format!("library/deep/{number}.txt"), "library\n");
    }
    github.push("main", "scripts/run", "old\n");
    github.push("main", "scripts/more/run", "old\n");
    github.with(|store| store.longest_listing = Some(6));
    let mut wanted = changes("v1.3.0");
    wanted.extend([
        script("scripts/run", "old\n"),
        text("scripts/more/run", "new\n"),
        text("scripts/new/run", "new\n"),
    ]);
    assert_eq!(proposed(&github, person(), &wanted).await, Proposal::Opened);
    assert_eq!(github.mode(BRANCH, "scripts/run").as_deref(), Some("100755"));
    assert!(
        state(&github).ends_with("VERSION scripts/more/run scripts/new/run scripts/run"),
        "{}",
        state(&github)
    );
    github.forget();
    assert_eq!(proposed(&github, person(), &wanted).await, Proposal::Unchanged);
    let library = github.with(|store| {
        let tree = store.tree(&store.branches["main"]);
        crate::harness::github::store::tree_id(&crate::harness::github::store::below(
            tree, "library",
        ))
    });
    assert_eq!(github.count("GET", &format!("*/git/trees/{library}*")), 0);
    wanted.truncate(1);
    assert_eq!(proposed(&github, person(), &wanted).await, Proposal::Updated);
    assert!(state(&github).ends_with(": VERSION"), "{}", state(&github));
    assert_eq!(github.file(BRANCH, "scripts/new/run"), None);
    // A folder where a file should be is told.
    let folder = propose_changes(&github, person(), &request(), &[text("scripts/more", "x")]).await;
    let told = basegen::error::Report::from(folder.expect_err("an error")).to_string();
    assert!(told.contains("`scripts/more` is a folder"), "{told}");
}
