//! Commits that are created from git objects: with executable files, with many files, and in large repositories.

use basegen::forge::{Access, FileChange, Proposal};

use crate::access::app;
use crate::harness::github::store::File;
use crate::harness::github::{APP, FakeGitHub, Fault, KEY};
use crate::harness::pull_request::{
    BRANCH, changes, executable_file, open_pull_requests, propose, release, repository, request,
    text_file, token, try_propose_changes,
};

async fn propose_files(github: &FakeGitHub, access: Access, wanted: &[FileChange]) -> Proposal {
    let opened = try_propose_changes(github, access, &request(), wanted).await;
    opened.expect("no error").expect("a pull request").proposal
}

fn person() -> Access {
    token("canary-person")
}

#[tokio::test]
async fn commits_executable_files() {
    for (access, committer) in [(person(), "alice"), (app(APP, KEY), "GitHub")] {
        let github = repository().await;
        github.push("main", "old.sh", "old\n");
        github.push_file("main", "tool", File::new("100755", b"tool\n"));
        let mut wanted = changes("v1.3.0");
        let binary = FileChange { content: Some(vec![0xff, 0]), ..executable_file("new.so", "") };
        // Only the mode of `old.sh` changes. `tool` keeps its mode.
        wanted.extend([
            executable_file("new.sh", "new\n"),
            binary,
            executable_file("old.sh", "old\n"),
        ]);
        wanted.push(text_file("tool", "newer\n"));
        assert_eq!(propose_files(&github, access.clone(), &wanted).await, Proposal::Opened);
        for path in ["new.sh", "new.so", "old.sh", "tool"] {
            assert_eq!(github.mode(BRANCH, path).as_deref(), Some("100755"), "{path}");
        }
        assert_eq!(github.mode(BRANCH, "VERSION").as_deref(), Some("100644"));
        let commit = github.with(|store| store.commits[&store.branches[BRANCH]].clone());
        assert_eq!(commit.tree["new.so"].content, [0xff, 0]);
        assert_eq!(commit.committer, committer);
        assert_eq!(github.count("POST", "*/graphql"), 0);
        // The commit is not foreign, whoever the committer is.
        github.clear_requests();
        assert_eq!(propose_files(&github, access.clone(), &wanted).await, Proposal::Unchanged);
        assert!(
            github
                .requests()
                .iter()
                .all(|request| request.method == "GET" || request.path.contains("app"))
        );
        // The next release does not have these changes, so it reverts them, with their modes.
        wanted.truncate(1);
        assert_eq!(propose_files(&github, access, &wanted).await, Proposal::Updated);
        assert!(
            open_pull_requests(&github).ends_with(": VERSION"),
            "{}",
            open_pull_requests(&github)
        );
    }
}

/// GitHub signs commits without mode changes, whoever owns the token.
#[tokio::test]
async fn a_commit_without_executable_files_is_signed() {
    let github = repository().await;
    let mut wanted = changes("v1.3.0");
    wanted.push(FileChange { executable: Some(false), ..text_file("new.txt", "new\n") });
    propose_files(&github, person(), &wanted).await;
    let commit = github.with(|store| store.commits[&store.branches[BRANCH]].clone());
    assert_eq!(commit.committer, "GitHub");
}

/// Another person commits while the run creates its commit.
#[tokio::test]
async fn does_not_overwrite_a_concurrent_commit() {
    let github = repository().await;
    let mut wanted = changes("v1.3.0");
    wanted.push(executable_file("run.sh", "run\n"));
    for path in ["*/git/trees", "*/git/refs/*"] {
        github.fail("*", path, 0, 1, Fault::Commit(BRANCH));
        let proposal = try_propose_changes(&github, person(), &request(), &wanted).await;
        let error = basegen::error::Report::from(proposal.expect_err("an error")).to_string();
        assert!(error.contains("by bob"), "{error}");
        assert_eq!(github.file(BRANCH, "theirs.txt").as_deref(), Some("theirs"));
        assert_eq!(github.mode(BRANCH, "run.sh"), None);
        github.with(|store| store.branches.remove(BRANCH));
    }
    // The deleted branch is created again.
    assert_eq!(propose_files(&github, person(), &wanted).await, Proposal::Opened);
}

/// GitHub's comparison of commits lists at most 300 files, and a token of Actions allows 1,000 requests per hour.
#[tokio::test]
async fn many_files_need_few_requests() {
    let github = repository().await;
    let many = |content: &str| {
        let files =
            (0..400).map(|number| text_file(&format!("rendered/{number}/Dockerfile"), content));
        changes("v1.3.0").into_iter().chain(files).collect::<Vec<_>>()
    };
    propose_files(&github, person(), &many("FROM a\n")).await;
    github.clear_requests();
    assert_eq!(propose_files(&github, person(), &many("FROM a\n")).await, Proposal::Unchanged);
    assert!(github.requests().len() < 12, "{}", github.requests().len());
    propose(&github, &release("v1.4.0")).await;
    assert_eq!(
        open_pull_requests(&github),
        "#1 Release v1.4.0 from basegen/release-v1.3.0: VERSION"
    );
    assert!(github.requests().len() < 40, "{}", github.requests().len());
}

/// If the listing of the repository is truncated, the client lists only the folders with changes.
#[tokio::test]
async fn lists_a_large_repository_by_folder() {
    let github = repository().await;
    for number in 0..6 {
        github.push("main", &format!("library/deep/{number}.txt"), "library\n");
    }
    github.push("main", "scripts/run", "old\n");
    github.push("main", "scripts/more/run", "old\n");
    github.with(|store| store.max_tree_entries = Some(6));
    let mut wanted = changes("v1.3.0");
    wanted.extend([
        executable_file("scripts/run", "old\n"),
        text_file("scripts/more/run", "new\n"),
        text_file("scripts/new/run", "new\n"),
    ]);
    assert_eq!(propose_files(&github, person(), &wanted).await, Proposal::Opened);
    assert_eq!(github.mode(BRANCH, "scripts/run").as_deref(), Some("100755"));
    assert!(
        open_pull_requests(&github)
            .ends_with("VERSION scripts/more/run scripts/new/run scripts/run"),
        "{}",
        open_pull_requests(&github)
    );
    github.clear_requests();
    assert_eq!(propose_files(&github, person(), &wanted).await, Proposal::Unchanged);
    let library = github.with(|store| {
        let tree = store.tree(&store.branches["main"]);
        crate::harness::github::store::tree_id(&crate::harness::github::store::subtree(
            tree, "library",
        ))
    });
    assert_eq!(github.count("GET", &format!("*/git/trees/{library}*")), 0);
    wanted.truncate(1);
    assert_eq!(propose_files(&github, person(), &wanted).await, Proposal::Updated);
    assert!(open_pull_requests(&github).ends_with(": VERSION"), "{}", open_pull_requests(&github));
    assert_eq!(github.file(BRANCH, "scripts/new/run"), None);
    // A folder at the path of a changed file is an error.
    let folder =
        try_propose_changes(&github, person(), &request(), &[text_file("scripts/more", "x")]).await;
    let error = basegen::error::Report::from(folder.expect_err("an error")).to_string();
    assert!(error.contains("`scripts/more` is a folder"), "{error}");
}
