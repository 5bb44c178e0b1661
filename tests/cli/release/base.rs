//! Edits of the files on the base branch in GitHub.

use insta::assert_snapshot;

use super::{BRANCH, changed_project};
use crate::harness::release_project::{CONSTANT, README};

/// The base branch has newer files than the working tree.
#[tokio::test]
async fn edits_the_files_of_the_base_branch() {
    let project = changed_project().await;
    let newer = format!("import os\n\n{CONSTANT}");
    project.github.push("main", "images/constants.py", &newer);
    project.github.push("main", "README.md", &format!("{README}\nAnd more.\n"));
    project.stdout("release minor --pr").await;
    let file = |path: &str| project.github.file(BRANCH, path).expect("a file");
    assert_eq!(file("images/constants.py"), newer.replace("1.2.3", "1.3.0"));
    assert!(file("README.md").ends_with("<!-- end of images -->\n\nAnd more.\n"));
}

/// A missing, duplicate or commented-out constant is not edited, and no branch is created.
#[tokio::test]
async fn opens_no_pull_request_if_a_constant_cannot_be_edited() {
    for text in ["x = 1\n", "# BASE_IMAGE_VERSION = \"v1.2.3\"\n", &CONSTANT.repeat(2)] {
        let project = changed_project().await;
        project.github.push("main", "images/constants.py", text);
        assert_snapshot!(project.output(project.basegen("release minor --pr --quiet")).await);
        assert_eq!(project.github.with(|store| store.branches.len()), 1);
    }
}

#[tokio::test]
async fn keeps_a_newer_version_on_the_base_branch() {
    let project = changed_project().await;
    project.github.push("main", "VERSION", "v1.4.0\n");
    assert_snapshot!(project.output(project.basegen("release minor --pr --quiet")).await);
}
