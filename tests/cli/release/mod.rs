//! `basegen release` with a registry and GitHub, without an engine.

mod base;
mod refused;
mod rendered;
mod tokens;

use insta::assert_snapshot;

use crate::harness::github::{Identity, TokenKind};
use crate::harness::pull_request::open_pull_requests;
use crate::harness::registry::{Fault, Rule};
use crate::harness::release_project::{CONSTANT, FILES, Project};

pub const BRANCH: &str = "basegen/release-v1.3.0";

/// Creates a project that was released as v1.2.3 and changed after that.
pub async fn changed_project() -> Project {
    let project = Project::released().await;
    project.write("dockerfiles/3.12.txt", "3.12 | `more` @acme/team\n");
    project.stage();
    project
}

#[tokio::test]
async fn publishes_a_release_and_opens_a_pull_request() {
    let project = changed_project().await;
    let output = project.path("output");
    let mut command = project.basegen("release minor --pr --progress plain --notes notes.md");
    command.env("GITHUB_OUTPUT", &output);
    assert_snapshot!(project.output(command).await);
    assert_snapshot!(open_pull_requests(&project.github), @"#1 Release v1.3.0 from basegen/release-v1.3.0: README.md VERSION images/constants.py");
    let file = |path: &str| project.github.file(BRANCH, path).expect("a file");
    assert_eq!(file("VERSION"), "v1.3.0\n");
    assert_eq!(file("images/constants.py"), CONSTANT.replace("1.2.3", "1.3.0"));
    assert_eq!(file("README.md").matches("-v1.3.0` | 3.11, 3.12 |").count(), 1);
    let body = project.github.with(|store| store.pulls[0].body.clone());
    assert_snapshot!(project.normalize(&body));
    assert_eq!(project.read("notes.md"), body);
    let url = "https://github.example.org/acme/images/pull/1";
    assert_eq!(project.read("output"), format!("pull_request=1\npull_request_url={url}\n"));
    // The working tree is not changed.
    assert_eq!(project.read("VERSION"), "v1.2.3\n");
}

#[tokio::test]
async fn a_repeated_release_changes_nothing() {
    let project = changed_project().await;
    project.stdout("release minor --pr").await;
    project.github.clear_requests();
    assert_snapshot!(project.output(project.basegen("release minor --pr --quiet")).await);
    assert!(project.github.requests().iter().all(|seen| seen.method == "GET"));
    project.merge_pull_request();
    project.github.clear_requests();
    assert_snapshot!(project.output(project.basegen("release --pr --quiet")).await);
    assert_snapshot!(project.output(project.basegen("release minor --pr --quiet")).await);
    assert_snapshot!(project.output(project.basegen("--push --pr --quiet")).await);
    assert!(project.github.requests().iter().all(|seen| seen.method == "GET"));
    assert_eq!(project.github.with(|store| store.branches.len()), 1);
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let project = changed_project().await;
    let tags = project.registry.tags("acme/base");
    assert_snapshot!(project.output(project.basegen("release v1.3.0 --pr --dry-run")).await);
    assert_snapshot!(project.output(project.basegen("release v1.3.0 --dry-run")).await);
    assert_eq!(project.registry.tags("acme/base"), tags);
    // A dry run of a published release shows its digests, and needs no token.
    project.stdout("release v1.3.0").await;
    for (path, text) in FILES {
        project.write(path, text);
    }
    let mut command = project.basegen("release v1.3.0 --pr --dry-run");
    command.env_remove("GITHUB_TOKEN");
    assert_snapshot!(project.output(command).await);
    assert!(project.github.requests().iter().all(|seen| seen.method == "GET"));
}

#[tokio::test]
async fn edits_the_working_tree_without_a_pull_request() {
    let project = changed_project().await;
    assert_snapshot!(project.output(project.basegen("release minor --progress plain")).await);
    assert_eq!(project.read("VERSION"), "v1.3.0\n");
    assert_eq!(project.read("images/constants.py"), CONSTANT.replace("1.2.3", "1.3.0"));
    assert_eq!(project.read("README.md").matches("-v1.3.0` | 3.11, 3.12 |").count(), 1);
    assert_snapshot!(project.output(project.basegen("release --quiet")).await);
    assert!(project.github.requests().is_empty());
}

/// Images change while a pull request is open, and the base branch still has the earlier version.
#[tokio::test]
async fn another_change_bumps_the_version_of_the_open_pull_request() {
    let project = changed_project().await;
    project.stdout("release patch --pr").await;
    assert!(open_pull_requests(&project.github).starts_with("#1 Release v1.2.4"));
    for (number, level, version) in
        [(1, "patch", "v1.2.5"), (2, "minor", "v1.3.0"), (3, "patch", "v1.3.1")]
    {
        project.write("dockerfiles/3.12.txt", &format!("3.12 {number}\n"));
        project.stage();
        // A repeated release changes nothing.
        for again in [false, true] {
            let output = project.basegen(&format!("release {level} --pr --quiet")).output().await;
            let output = output.expect("a run");
            assert!(output.status.success(), "{again} {}", project.format_output(&output));
            let pulls = open_pull_requests(&project.github);
            assert_eq!(pulls.lines().count(), 1, "{pulls}");
            assert!(pulls.starts_with(&format!("#1 Release {version} ")), "{pulls}");
        }
        let file = project.github.file("basegen/release-v1.2.4", "VERSION");
        assert_eq!(file, Some(format!("{version}\n")));
    }
    // Without a pull request, the version in the registry counts.
    project.github.with(|store| store.pulls[0].is_open = false);
    project.github.with(|store| store.branches.remove("basegen/release-v1.2.4"));
    project.write("dockerfiles/3.12.txt", "3.12 last\n");
    project.stage();
    assert_snapshot!(project.output(project.basegen("release patch --pr --quiet")).await);
}

/// The text of users in the pull request leaves too little space.
#[tokio::test]
async fn notes_that_do_not_fit_are_in_the_job_summary() {
    let project = changed_project().await;
    project.stdout("release minor --pr").await;
    let mine = "x".repeat(65_100);
    project.github.with(|store| store.pulls[0].body.insert_str(0, &mine));
    let summary = project.path("summary.md");
    let mut command = project.basegen("release minor --pr --quiet");
    command.env("GITHUB_ACTIONS", "true").env("GITHUB_RUN_ID", "7");
    command.env("GITHUB_STEP_SUMMARY", &summary);
    assert_snapshot!(project.output(command).await);
    let body = project.github.with(|store| store.pulls[0].body.clone());
    assert!(body.len() <= 65_536 && body.starts_with(&mine));
    assert!(body.contains("The summary of workflow run 7 lists all of them."), "{body}");
    let summary = fs_err::read_to_string(summary).expect("a summary");
    assert_eq!(summary.matches("\n| `").count(), 2, "{summary}");
    // The notes are in no other file.
    assert!(!project.path("home/.local/state/basegen/notes").exists());
}

#[tokio::test]
async fn unchanged_images_are_not_released() {
    let project = Project::released().await;
    assert_snapshot!(project.output(project.basegen("release patch --pr")).await);
    assert!(project.github.requests().is_empty());
}

#[tokio::test]
async fn the_first_release_keeps_its_version() {
    let project = Project::new().await;
    project.stage();
    assert_snapshot!(project.output(project.basegen("release patch --pr --progress plain")).await);
}

/// The tag disappears after 0, 1, 2, … requests for it.
#[tokio::test]
async fn opens_no_pull_request_while_a_tag_is_missing() {
    let project = changed_project().await;
    project.stdout("release minor").await;
    for (path, text) in FILES {
        project.write(path, text);
    }
    let mut refused = 0;
    for skip in 0.. {
        let gone = Rule::every("HEAD", "*/manifests/3.11-v1.3.0", Fault::status(404));
        let puts = Rule::every("PUT", "*", Fault::status(500));
        let handle = project.registry.fail(gone.skip(skip));
        project.registry.fail(puts);
        let output = project.basegen("release v1.3.0 --pr").output().await.expect("a run");
        project.registry.clear_faults();
        if handle.use_count() == 0 {
            assert!(output.status.success(), "{}", project.format_output(&output));
            break;
        }
        assert!(!output.status.success(), "{}", project.format_output(&output));
        assert_eq!(open_pull_requests(&project.github), "", "after {skip} requests");
        refused += usize::from(output.status.code() == Some(8));
    }
    assert!(refused >= 2, "{refused} releases failed because of the missing tag");
    assert!(open_pull_requests(&project.github).starts_with("#1 Release v1.3.0"));
}

#[tokio::test]
async fn the_matrix_configures_the_pull_request() {
    let project = changed_project().await;
    project.github.push("main", "VERSION", "v1.2.3\n");
    project.github.with(|store| {
        let main = store.branches["main"].clone();
        store.branches.insert("develop".to_owned(), main);
    });
    project.write_matrix(
        "[pull_request]\nbase = \"develop\"\nbranch = \"images/{{version}}\"\n\
         title = \"build: images {{version}}\"\ndraft = true\nlabels = [\"images\"]\n\
         reviewers = [\"bob\", \"mallory\"]\ntoken_secret_name = \"MY_TOKEN\"\n",
    );
    let mut command = project.basegen("release minor --pr --quiet");
    command.env("MY_TOKEN", "canary-person").env("GITHUB_TOKEN", "wrong");
    assert_snapshot!(project.output(command).await);
    let pull = project.github.with(|store| store.pulls[0].clone());
    assert_eq!((pull.base.as_str(), pull.head.as_str()), ("develop", "images/v1.3.0"));
    assert_eq!((pull.title.as_str(), pull.is_draft), ("build: images v1.3.0", true));
    assert_eq!((pull.labels, pull.reviewers), (vec!["images".to_owned()], vec!["bob".to_owned()]));
}

#[tokio::test]
async fn warns_that_the_token_of_actions_starts_no_workflows() {
    let project = changed_project().await;
    project
        .github
        .add_token("canary-actions", Identity::new("github-actions[bot]", TokenKind::Actions));
    let mut command = project.basegen("--push --pr --quiet");
    project.write("VERSION", "v1.3.0\n");
    project.write("images/constants.py", &CONSTANT.replace("1.2.3", "1.3.0"));
    command.env("GITHUB_TOKEN", "canary-actions");
    assert_snapshot!(project.output(command).await);
}

#[tokio::test]
async fn the_next_run_completes_an_interrupted_pull_request() {
    let project = changed_project().await;
    project.github.fail("POST", "*/pulls", 0, 1, crate::harness::github::Fault::Hang);
    let mut command = project.basegen("release minor --pr --quiet");
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let child = command.spawn().expect("the command runs");
    while project.github.count("POST", "*/pulls") == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let id = child.id().expect("it runs").to_string();
    let sent = std::process::Command::new("kill").args(["-INT", &id]).status().expect("kill");
    assert!(sent.success());
    let output = child.wait_with_output().await.expect("it ends");
    assert_snapshot!(project.format_output(&output));
    project.stdout("release minor --pr").await;
    assert!(open_pull_requests(&project.github).starts_with("#1 Release v1.3.0"));
}

#[tokio::test]
async fn accepts_a_matrix_in_a_subfolder_with_the_version_above() {
    let project = Project::new().await;
    let matrix = project.read("matrix.toml");
    let matrix = matrix.split("[generated]").next().expect("a matrix");
    let matrix = matrix
        .replace("\"VERSION\"", "\"../VERSION\"")
        .replace("\"images/constants.py\"", "\"constants.py\"");
    project.write("images/matrix.toml", &matrix);
    for (path, text) in [
        ("Dockerfile.hbs", "FROM scratch\nCOPY {{python}}.txt /\n"),
        ("3.11.txt", "a"),
        ("3.12.txt", "b"),
    ] {
        project.write(&format!("images/dockerfiles/{path}"), text);
    }
    let release = "release v1.3.0 --pr --quiet -f images/matrix.toml";
    // Without git, the top folder of the repository is unknown.
    let printed = project.output(project.basegen(release)).await;
    assert_snapshot!(printed.replace(&format!("{}/", project.folder.path().display()), ""));
    assert!(project.registry.tags("acme/base").is_empty());
    project.git(&["init", "--quiet"]);
    project.stage_matrix("images/matrix.toml");
    let dry = project.stdout(&format!("{release} --dry-run")).await;
    assert!(
        dry.contains("--- a/VERSION\n") && dry.contains("--- a/images/constants.py\n"),
        "{dry}"
    );
    let dry = project.stdout("release v1.3.0 --dry-run -f images/matrix.toml").await;
    assert!(dry.contains("--- a/VERSION\n"), "{dry}");
    project.stdout(release).await;
    assert_snapshot!(open_pull_requests(&project.github), @"#1 Release v1.3.0 from basegen/release-v1.3.0: VERSION images/constants.py");
    let body = project.github.with(|store| store.pulls[0].body.clone());
    assert!(body.contains("<!-- basegen:release images/matrix.toml; version v1.3.0 -->"), "{body}");
}

/// The lock was updated, but not committed.
#[tokio::test]
async fn the_pull_request_includes_an_updated_lock() {
    let project = changed_project().await;
    project.write("basegen.lock", "schema = 1\n\n[images]\n");
    project.git(&["init", "--quiet"]);
    project.git(&["add", "basegen.lock", "matrix.toml", "VERSION"]);
    project.git(&["commit", "--quiet", "--message", "first"]);
    project.git(&["remote", "add", "origin", "git@github.com:acme/images.git"]);
    project.github.push("main", "basegen.lock", "schema = 1\n\n# newer\n[images]\n");
    let mut command = project.basegen("release minor --pr --quiet");
    command.env_remove("GITHUB_REPOSITORY");
    assert_snapshot!(project.output(command).await);
    assert!(
        !open_pull_requests(&project.github).contains("basegen.lock"),
        "{}",
        open_pull_requests(&project.github)
    );
    let refreshed = "schema = 1\n\n# refreshed\n[images]\n";
    project.write("basegen.lock", refreshed);
    project.stdout("release minor --pr --quiet").await;
    assert!(open_pull_requests(&project.github).contains("basegen.lock"));
    assert_eq!(project.github.file(BRANCH, "basegen.lock").as_deref(), Some(refreshed));
}

/// The workspace is above the folder of the matrix, and its lock file contains the versions of its members.
#[tokio::test]
async fn the_pull_request_includes_the_lock_file_of_a_workspace() {
    let project = Project::new().await;
    let matrix = project.read("matrix.toml");
    let matrix = matrix.split("[version]").next().expect("a matrix");
    let matrix = format!(
        "{matrix}[version]\nfile = \"../Cargo.toml\"\nkey = \"workspace.package.version\"\n"
    );
    let lock = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.2.3\"\n";
    for (path, text) in [
        ("images/matrix.toml", &*matrix),
        ("images/dockerfiles/Dockerfile.hbs", "FROM scratch\nCOPY {{python}}.txt /\n"),
        ("images/dockerfiles/3.11.txt", "a"),
        ("images/dockerfiles/3.12.txt", "b"),
        (
            "Cargo.toml",
            "[workspace]\nmembers = [\"crates/*\"]\n[workspace.package]\nversion = \"1.2.3\"\n",
        ),
        ("crates/a/Cargo.toml", "[package]\nname = \"a\"\nversion.workspace = true\n"),
        ("Cargo.lock", lock),
    ] {
        project.write(path, text);
        project.github.push("main", path, text);
    }
    project.git(&["init", "--quiet"]);
    project.git(&["add", "Cargo.toml", "Cargo.lock", "crates", "images"]);
    project.stage_matrix("images/matrix.toml");
    project.stdout("release 1.3.0 --pr --quiet -f images/matrix.toml").await;
    let branch = "basegen/release-1.3.0";
    assert_eq!(project.github.file(branch, "Cargo.lock"), Some(lock.replace("1.2.3", "1.3.0")));
}

#[tokio::test]
async fn reports_images_without_configuration_and_tags_that_are_not_in_the_release() {
    let project = Project::released().await;
    let manifest = project.registry.manifest("acme/base", "3.11-v1.2.3").expect("a manifest");
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("JSON");
    let config = manifest["config"]["digest"].as_str().expect("a digest");
    project.registry.remove_blob("acme/base", &config.parse().expect("a digest"));
    let printed = project.output(project.basegen("check --released")).await;
    assert!(printed.contains("3.11-v1.2.3` lacks linux/amd64"), "{printed}");
    let project = Project::released().await;
    let matrix = project.read("matrix.toml");
    project.write(
        "matrix.toml",
        &matrix.replace("{{variant}}-{{version}}", "py{{variant}}-{{version}}"),
    );
    let printed = project.output(project.basegen("check --released")).await;
    assert!(printed.contains("py3.11-v1.2.3` is not part of the release"), "{printed}");
}
