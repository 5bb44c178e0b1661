//! Releases of a repository that contains the rendered files of its matrix.

use std::os::unix::fs::PermissionsExt as _;

use insta::assert_snapshot;

use super::{BRANCH, changed_project};
use crate::harness::github::store::File;
use crate::harness::pull_request::open_pull_requests;
use crate::harness::release_project::{CONSTANT, Project};

/// Renders to a folder, and adds the folder to the matrix.
async fn render(project: &Project) {
    let readme = "readme = \"README.md\"\n";
    let matrix = project.read("matrix.toml");
    let matrix = matrix.replace(readme, &format!("{readme}rendered = \"rendered\"\n"));
    project.write("matrix.toml", &matrix);
    project.stdout("render -o rendered").await;
}

fn commit(project: &Project) {
    project.git(&["init", "--quiet"]);
    project.git(&["add", "rendered", "matrix.toml"]);
    project.git(&["commit", "--quiet", "--message", "first"]);
}

fn set_mode(project: &Project, path: &str, mode: u32) {
    let permissions = std::fs::Permissions::from_mode(mode);
    fs_err::set_permissions(project.path(path), permissions).expect("a file");
}

/// The pull request contains what the matrix renders, and removes what it no longer renders. Other files in the folder are
/// ignored.
#[tokio::test]
async fn the_pull_request_includes_only_rendered_files() {
    let project = changed_project().await;
    render(&project).await;
    project.write("rendered/3.10/Dockerfile", "FROM scratch\n");
    project.write("rendered/3.11/3.11.txt", "old\n");
    commit(&project);
    for path in ["rendered/3.10/Dockerfile", "rendered/3.11/3.11.txt", "rendered/3.12/3.12.txt"] {
        project.github.push("main", path, &project.read(path));
    }
    // The base branch has a newer file, which the working tree has not changed.
    project.github.push("main", "rendered/3.12/3.12.txt", "newer\n");
    project.write("rendered/junk.txt", "mine");
    fs_err::write(project.path("rendered/3.11/core"), [0xff, 0xfe]).expect("a file");
    fs_err::remove_file(project.path("rendered/3.11/3.11.txt")).expect("a file");
    let dry = project.stdout("release minor --pr --dry-run").await;
    assert!(dry.contains("--- a/rendered/3.11/3.11.txt\n"), "{dry}");
    project.stdout("release minor --pr --quiet").await;
    assert_snapshot!(open_pull_requests(&project.github), @"#1 Release v1.3.0 from basegen/release-v1.3.0: README.md VERSION images/constants.py rendered/3.10/Dockerfile rendered/3.11/3.11.txt");
    let file = |path: &str| project.github.file(BRANCH, path);
    assert_eq!(file("rendered/3.11/3.11.txt").as_deref(), Some("3.11\n"));
    assert_eq!(file("rendered/3.10/Dockerfile"), None);
    assert_eq!(file("rendered/3.12/3.12.txt").as_deref(), Some("newer\n"));
}

/// The mode of a new file, and a changed mode of an unchanged file.
#[tokio::test]
async fn the_pull_request_includes_modes() {
    let project = changed_project().await;
    render(&project).await;
    commit(&project);
    for path in ["rendered/3.11/3.11.txt", "rendered/3.12/3.12.txt"] {
        project.github.push("main", path, &project.read(path));
    }
    set_mode(&project, "dockerfiles/3.11.txt", 0o755);
    let template = "FROM scratch\nCOPY {{python}}.txt run.sh /\n";
    project.write("dockerfiles/Dockerfile.hbs", template);
    project.write("dockerfiles/run.sh", "#!/bin/sh\n");
    set_mode(&project, "dockerfiles/run.sh", 0o755);
    project.stage();
    let dry = project.stdout("release minor --pr --dry-run").await;
    let modes = dry.lines().filter(|line| line.contains(" mode ") || line.starts_with("diff "));
    assert_snapshot!(modes.collect::<Vec<_>>().join("\n"));
    project.stdout("release minor --pr --quiet").await;
    assert_snapshot!(open_pull_requests(&project.github));
    let mode = |path: &str| project.github.mode(BRANCH, path).expect("a file");
    for path in ["rendered/3.11/3.11.txt", "rendered/3.11/run.sh", "rendered/3.12/run.sh"] {
        assert_eq!(mode(path), "100755", "{path}");
    }
    for path in ["rendered/3.12/3.12.txt", "rendered/3.11/Dockerfile", "VERSION"] {
        assert_eq!(mode(path), "100644", "{path}");
    }
    // After the merge there is no drift, including modes.
    project.github.clear_requests();
    project.merge_pull_request();
    project.stdout("render -o rendered").await;
    project.stdout("check").await;
    project.stdout("release --pr --quiet").await;
    assert!(project.github.requests().iter().all(|seen| seen.method == "GET"));
    assert_eq!(open_pull_requests(&project.github), "");
}

/// GitHub's API for contents does not return files of this size.
#[tokio::test]
async fn the_pull_request_includes_large_files() {
    let project = changed_project().await;
    let large = "x".repeat(1_500_000);
    project.write("dockerfiles/3.11.txt", &large);
    render(&project).await;
    commit(&project);
    let path = "rendered/3.11/3.11.txt";
    project.github.push("main", path, &large);
    for part in ["more", "and more"] {
        project.write("dockerfiles/3.11.txt", &format!("{large}{part}"));
        project.write("dockerfiles/3.12.txt", &format!("{part}{large}"));
        project.stage();
        project.stdout("release v1.3.0 --pr --quiet --overwrite").await;
        assert_eq!(project.github.file(BRANCH, path), Some(format!("{large}{part}")));
        let new = project.github.file(BRANCH, "rendered/3.12/3.12.txt");
        assert_eq!(new, Some(format!("{part}{large}")));
    }
}

/// A symbolic link cannot be edited.
#[tokio::test]
async fn rejects_a_link_on_the_base_branch_before_the_release() {
    let project = changed_project().await;
    project.github.push("main", "images/VERSION", "v1.2.3\n");
    project.github.push_file("main", "VERSION", File::new("120000", b"images/VERSION"));
    let tags = project.registry.tags("acme/base");
    assert_snapshot!(project.output(project.basegen("release minor --pr --quiet")).await);
    // A link to a file without edits is accepted.
    project.github.push("main", "images/VERSION", "v1.3.0\n");
    project.write("VERSION", "v1.3.0\n");
    project.write("images/constants.py", &CONSTANT.replace("1.2.3", "1.3.0"));
    let dry = project.stdout("release v1.3.0 --pr --dry-run").await;
    assert!(!dry.contains("a/VERSION"), "{dry}");
    for (target, problem) in [("../VERSION", "out of the repository"), ("VERSION", "symbolic link")]
    {
        project.github.push_file("main", "VERSION", File::new("120000", target.as_bytes()));
        let printed = project.output(project.basegen("release v1.3.0 --pr --quiet")).await;
        assert!(printed.contains(problem), "{printed}");
    }
    assert_eq!(project.registry.tags("acme/base"), tags);
}
