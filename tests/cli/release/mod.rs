//! The whole command: a registry, a GitHub, and no engine.

mod rendered;

use insta::assert_snapshot;

use crate::harness::github::{Identity, KEY, Kind};
use crate::harness::pull_request::state;
use crate::harness::registry::{Fault, Rule};
use crate::harness::release_project::{CONSTANT, FILES, Project, README};

pub const BRANCH: &str = "basegen/release-v1.3.0";

/// A release of v1.2.3, and a change since.
pub async fn changed() -> Project {
    let project = Project::released().await;
    project.write("dockerfiles/3.12.txt", "3.12 | `more` @acme/team\n");
    project.stage();
    project
}

#[tokio::test]
async fn a_release_is_published_and_proposed() {
    let project = changed().await;
    let output = project.path("output");
    let mut command = project.basegen("release minor --pr --progress plain --notes notes.md");
    command.env("GITHUB_OUTPUT", &output);
    assert_snapshot!(project.told(command).await);
    assert_snapshot!(state(&project.github), @"#1 Release v1.3.0 from basegen/release-v1.3.0: README.md VERSION images/constants.py");
    let file = |path: &str| project.github.file(BRANCH, path).expect("a file");
    assert_eq!(file("VERSION"), "v1.3.0\n");
    assert_eq!(file("images/constants.py"), CONSTANT.replace("1.2.3", "1.3.0"));
    assert_eq!(file("README.md").matches("-v1.3.0` | 3.11, 3.12 |").count(), 1);
    let body = project.github.with(|store| store.pulls[0].body.clone());
    assert_snapshot!(project.settled(&body));
    assert_eq!(project.read("notes.md"), body);
    let url = "https://github.example.org/acme/images/pull/1";
    assert_eq!(project.read("output"), format!("pull_request=1\npull_request_url={url}\n"));
    // The working tree is nobody's business.
    assert_eq!(project.read("VERSION"), "v1.2.3\n");
}

#[tokio::test]
async fn the_same_again_finds_it_done() {
    let project = changed().await;
    project.stdout("release minor --pr").await;
    project.github.forget();
    assert_snapshot!(project.told(project.basegen("release minor --pr --quiet")).await);
    assert!(project.github.seen().iter().all(|seen| seen.method == "GET"));
    project.merge();
    project.github.forget();
    assert_snapshot!(project.told(project.basegen("release --pr --quiet")).await);
    assert_snapshot!(project.told(project.basegen("release minor --pr --quiet")).await);
    assert_snapshot!(project.told(project.basegen("--push --pr --quiet")).await);
    assert!(project.github.seen().iter().all(|seen| seen.method == "GET"));
    assert_eq!(project.github.with(|store| store.branches.len()), 1);
}

#[tokio::test]
async fn a_dry_run_shows_it_and_touches_nothing() {
    let project = changed().await;
    let tags = project.registry.tags("acme/base");
    assert_snapshot!(project.told(project.basegen("release v1.3.0 --pr --dry-run")).await);
    assert_snapshot!(project.told(project.basegen("release v1.3.0 --dry-run")).await);
    assert_eq!(project.registry.tags("acme/base"), tags);
    // What is published is told with digests; nobody need sign in to see it.
    project.stdout("release v1.3.0").await;
    for (path, text) in FILES {
        project.write(path, text);
    }
    let mut command = project.basegen("release v1.3.0 --pr --dry-run");
    command.env_remove("GITHUB_TOKEN");
    assert_snapshot!(project.told(command).await);
    assert!(project.github.seen().iter().all(|seen| seen.method == "GET"));
}

#[tokio::test]
async fn without_a_pull_request_the_working_tree_is_brought_in_step() {
    let project = changed().await;
    assert_snapshot!(project.told(project.basegen("release minor --progress plain")).await);
    assert_eq!(project.read("VERSION"), "v1.3.0\n");
    assert_eq!(project.read("images/constants.py"), CONSTANT.replace("1.2.3", "1.3.0"));
    assert_eq!(project.read("README.md").matches("-v1.3.0` | 3.11, 3.12 |").count(), 1);
    assert_snapshot!(project.told(project.basegen("release --quiet")).await);
    assert!(project.github.seen().is_empty());
}

/// An image changes again while a pull request is open. The base branch still has the earlier version.
#[tokio::test]
async fn another_change_counts_up_from_the_version_of_the_open_pull_request() {
    let project = changed().await;
    project.stdout("release patch --pr").await;
    assert!(state(&project.github).starts_with("#1 Release v1.2.4"));
    for (number, level, version) in
        [(1, "patch", "v1.2.5"), (2, "minor", "v1.3.0"), (3, "patch", "v1.3.1")]
    {
        project.write("dockerfiles/3.12.txt", &format!("3.12 {number}\n"));
        project.stage();
        // The same again finds it done.
        for again in [false, true] {
            let output = project.basegen(&format!("release {level} --pr --quiet")).output().await;
            let output = output.expect("a run");
            assert!(output.status.success(), "{again} {}", project.shown(&output));
            let told = state(&project.github);
            assert_eq!(told.lines().count(), 1, "{told}");
            assert!(told.starts_with(&format!("#1 Release {version} ")), "{told}");
        }
        let file = project.github.file("basegen/release-v1.2.4", "VERSION");
        assert_eq!(file, Some(format!("{version}\n")));
    }
    // Without a pull request it is what the registry has that counts.
    project.github.with(|store| store.pulls[0].is_open = false);
    project.github.with(|store| store.branches.remove("basegen/release-v1.2.4"));
    project.write("dockerfiles/3.12.txt", "3.12 last\n");
    project.stage();
    assert_snapshot!(project.told(project.basegen("release patch --pr --quiet")).await);
}

#[tokio::test]
async fn odd_bases_and_long_titles_are_refused_before_anything_is_published() {
    let project = changed().await;
    let tags = project.registry.tags("acme/base");
    let mut told = Vec::new();
    for base in ["", "a b", "refs/heads/main", "a..b", "-x", "main.lock", "gone"] {
        for arguments in ["release v1.3.0 --pr", "release minor --pr"] {
            let mut command = project.basegen(arguments);
            command.args(["--quiet", &format!("--base={base}")]);
            let shown = project.told(command).await;
            if arguments.contains("minor") {
                assert_eq!(told.last(), Some(&shown), "{base}");
            } else {
                told.push(shown);
            }
        }
    }
    project.matrix(&format!("[pull_request]\ntitle = \"{} {{{{version}}}}\"\n", "é".repeat(250)));
    told.push(project.told(project.basegen("release v1.3.0 --pr --quiet")).await);
    project.matrix("[pull_request]\nbase = \"refs/heads/main\"\n");
    told.push(project.told(project.basegen("release v1.3.0 --pr --quiet")).await);
    assert_snapshot!(told.join("\n\n"));
    assert_eq!(project.registry.tags("acme/base"), tags);
    assert!(project.github.seen().iter().all(|seen| seen.method == "GET"));
}

/// What does not fit beside the text of people is in the summary of the job.
#[tokio::test]
async fn notes_that_do_not_fit_are_in_the_job_summary() {
    let project = changed().await;
    project.stdout("release minor --pr").await;
    let mine = "x".repeat(65_100);
    project.github.with(|store| store.pulls[0].body.insert_str(0, &mine));
    let summary = project.path("summary.md");
    let mut command = project.basegen("release minor --pr --quiet");
    command.env("GITHUB_ACTIONS", "true").env("GITHUB_RUN_ID", "7");
    command.env("GITHUB_STEP_SUMMARY", &summary);
    assert_snapshot!(project.told(command).await);
    let body = project.github.with(|store| store.pulls[0].body.clone());
    assert!(body.len() <= 65_536 && body.starts_with(&mine));
    assert!(body.contains("The summary of workflow run 7 lists all of them."), "{body}");
    let summary = fs_err::read_to_string(summary).expect("a summary");
    assert_eq!(summary.matches("\n| `").count(), 2, "{summary}");
    // No file that nobody finds is left behind.
    assert!(!project.path("home/.local/state/basegen/notes").exists());
}

#[tokio::test]
async fn nothing_changed_is_no_release() {
    let project = Project::released().await;
    assert_snapshot!(project.told(project.basegen("release patch --pr")).await);
    assert!(project.github.seen().is_empty());
}

#[tokio::test]
async fn what_was_never_released_is_released_as_it_is() {
    let project = Project::new().await;
    project.stage();
    assert_snapshot!(project.told(project.basegen("release patch --pr --progress plain")).await);
}

/// The edits are made on what the base branch has, which is newer than the working tree.
#[tokio::test]
async fn the_base_on_github_is_what_is_edited() {
    let project = changed().await;
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
async fn a_base_that_cannot_be_edited_is_left_alone() {
    for text in ["x = 1\n", "# BASE_IMAGE_VERSION = \"v1.2.3\"\n", &CONSTANT.repeat(2)] {
        let project = changed().await;
        project.github.push("main", "images/constants.py", text);
        assert_snapshot!(project.told(project.basegen("release minor --pr --quiet")).await);
        assert_eq!(project.github.with(|store| store.branches.len()), 1);
    }
}

#[tokio::test]
async fn a_base_with_a_newer_version_does_not_go_back() {
    let project = changed().await;
    project.github.push("main", "VERSION", "v1.4.0\n");
    assert_snapshot!(project.told(project.basegen("release minor --pr --quiet")).await);
}

/// The gate: whichever look at the registry finds a tag missing, there is no pull request.
#[tokio::test]
async fn no_pull_request_while_a_tag_is_missing() {
    let project = changed().await;
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
        project.registry.mend();
        if handle.used() == 0 {
            assert!(output.status.success(), "{}", project.shown(&output));
            break;
        }
        assert!(!output.status.success(), "{}", project.shown(&output));
        assert_eq!(state(&project.github), "", "after {skip} looks");
        refused += usize::from(output.status.code() == Some(8));
    }
    assert!(refused >= 2, "refused {refused} times by the gate");
    assert!(state(&project.github).starts_with("#1 Release v1.3.0"));
}

#[tokio::test]
async fn what_cannot_have_a_pull_request_is_refused_before_anything_is_done() {
    let project = changed().await;
    project.registry.forget();
    let mut told = Vec::new();
    for arguments in [
        "--push --pr --python 3.11",
        "--push --pr --version-tag test",
        "--push --pr --platform linux/arm64",
        "--pr",
        "release --draft",
        "release v1.0.0 --pr",
    ] {
        told.push(format!(
            "$ basegen {arguments}\n{}",
            project.told(project.basegen(arguments)).await
        ));
    }
    assert_snapshot!(told.join("\n\n"));
    let without = |variables: &[(&str, &str)]| {
        let mut command = project.basegen("release --pr");
        command.env_remove("GITHUB_TOKEN");
        command.envs(variables.iter().copied());
        command
    };
    assert_snapshot!(project.told(without(&[])).await);
    assert_snapshot!(project.told(without(&[("BASEGEN_APP_ID", "1")])).await);
    let mut nowhere = project.basegen("release --pr");
    nowhere.env_remove("GITHUB_REPOSITORY");
    assert_snapshot!(project.told(nowhere).await);
    let clear = [("GITHUB_TOKEN", "x"), ("GITHUB_API_URL", "http://github.example.org/api/v3")];
    assert_snapshot!(project.told(without(&clear)).await);
    let named = [("GITHUB_TOKEN", "x"), ("GITHUB_REPOSITORY", "acme")];
    assert_snapshot!(project.told(without(&named)).await);
    project.matrix("[pull_request]\nbranch = \"main\"\n");
    assert_snapshot!(project.told(project.basegen("release v1.3.0 --pr --dry-run")).await);
    assert!(project.github.seen().iter().all(|seen| seen.method == "GET"));
    assert!(project.registry.seen().iter().all(|seen| seen.method != "PUT"));
}

#[tokio::test]
async fn wrong_keys_are_told_with_their_place() {
    let project = Project::new().await;
    project.matrix(
        "[pull_request]\nrepository = \"acme\"\napi = \"github.example.org\"\nbase = \"a..b\"\n\
         branch = \"release {{variant}}\"\ntitle = \"{{python}}\"\ntoken_secret_name = \"ghp_canary\"\n",
    );
    assert_snapshot!(project.told(project.basegen("list")).await);
}

#[tokio::test]
async fn the_matrix_says_how_it_is_opened() {
    let project = changed().await;
    project.github.push("main", "VERSION", "v1.2.3\n");
    project.github.with(|store| {
        let main = store.branches["main"].clone();
        store.branches.insert("develop".to_owned(), main);
    });
    project.matrix(
        "[pull_request]\nbase = \"develop\"\nbranch = \"images/{{version}}\"\n\
         title = \"build: images {{version}}\"\ndraft = true\nlabels = [\"images\"]\n\
         reviewers = [\"bob\", \"mallory\"]\ntoken_secret_name = \"MY_TOKEN\"\n",
    );
    let mut command = project.basegen("release minor --pr --quiet");
    command.env("MY_TOKEN", "canary-person").env("GITHUB_TOKEN", "wrong");
    assert_snapshot!(project.told(command).await);
    let pull = project.github.with(|store| store.pulls[0].clone());
    assert_eq!((pull.base.as_str(), pull.head.as_str()), ("develop", "images/v1.3.0"));
    assert_eq!((pull.title.as_str(), pull.is_draft), ("build: images v1.3.0", true));
    assert_eq!((pull.labels, pull.reviewers), (vec!["images".to_owned()], vec!["bob".to_owned()]));
}

#[tokio::test]
async fn with_the_token_of_actions_it_is_told_that_nothing_runs() {
    let project = changed().await;
    project.github.add_token("canary-actions", Identity::new("github-actions[bot]", Kind::Actions));
    let mut command = project.basegen("--push --pr --quiet");
    project.write("VERSION", "v1.3.0\n");
    project.write("images/constants.py", &CONSTANT.replace("1.2.3", "1.3.0"));
    command.env("GITHUB_TOKEN", "canary-actions");
    assert_snapshot!(project.told(command).await);
}

/// An interrupt ends it wherever it is, and the next run goes on from there.
#[tokio::test]
async fn an_interrupt_ends_it_and_the_next_run_goes_on() {
    let project = changed().await;
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
    assert_snapshot!(project.shown(&output));
    project.stdout("release minor --pr").await;
    assert!(state(&project.github).starts_with("#1 Release v1.3.0"));
}

/// A matrix in a folder of its repository, whose version lives above it.
#[tokio::test]
async fn the_matrix_may_be_below_the_top_of_its_repository() {
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
    // Without git nobody knows what lies above.
    let told = project.told(project.basegen(release)).await;
    assert_snapshot!(told.replace(&format!("{}/", project.folder.path().display()), ""));
    assert!(project.registry.tags("acme/base").is_empty());
    project.git(&["init", "--quiet"]);
    project.stage_of("images/matrix.toml");
    let dry = project.stdout(&format!("{release} --dry-run")).await;
    assert!(
        dry.contains("--- a/VERSION\n") && dry.contains("--- a/images/constants.py\n"),
        "{dry}"
    );
    let dry = project.stdout("release v1.3.0 --dry-run -f images/matrix.toml").await;
    assert!(dry.contains("--- a/VERSION\n"), "{dry}");
    project.stdout(release).await;
    assert_snapshot!(state(&project.github), @"#1 Release v1.3.0 from basegen/release-v1.3.0: VERSION images/constants.py");
    let body = project.github.with(|store| store.pulls[0].body.clone());
    assert!(body.contains("<!-- basegen:release images/matrix.toml; version v1.3.0 -->"), "{body}");
}

/// A lock that was refreshed, and not committed.
#[tokio::test]
async fn what_was_generated_anew_goes_along() {
    let project = changed().await;
    project.write("basegen.lock", "schema = 1\n\n[images]\n");
    project.git(&["init", "--quiet"]);
    project.git(&["add", "basegen.lock", "matrix.toml", "VERSION"]);
    project.git(&["commit", "--quiet", "--message", "first"]);
    project.git(&["remote", "add", "origin", "git@github.com:acme/images.git"]);
    project.github.push("main", "basegen.lock", "schema = 1\n\n# newer\n[images]\n");
    let mut command = project.basegen("release minor --pr --quiet");
    command.env_remove("GITHUB_REPOSITORY");
    assert_snapshot!(project.told(command).await);
    assert!(!state(&project.github).contains("basegen.lock"), "{}", state(&project.github));
    let refreshed = "schema = 1\n\n# refreshed\n[images]\n";
    project.write("basegen.lock", refreshed);
    project.stdout("release minor --pr --quiet").await;
    assert!(state(&project.github).contains("basegen.lock"));
    assert_eq!(project.github.file(BRANCH, "basegen.lock").as_deref(), Some(refreshed));
}

/// A workspace above the matrix: its lock file has the versions of its members.
#[tokio::test]
async fn the_lock_file_of_a_workspace_above_goes_along() {
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
    project.stage_of("images/matrix.toml");
    project.stdout("release 1.3.0 --pr --quiet -f images/matrix.toml").await;
    let branch = "basegen/release-1.3.0";
    assert_eq!(project.github.file(branch, "Cargo.lock"), Some(lock.replace("1.2.3", "1.3.0")));
}

/// A place that cannot be edited is told before a single tag is out.
#[tokio::test]
async fn a_working_tree_that_cannot_be_edited_is_told_before_anything_is_published() {
    let project = changed().await;
    project.write("images/constants.py", "x = 1\n");
    let tags = project.registry.tags("acme/base");
    for arguments in ["release v1.3.0", "release v1.3.0 --pr", "release v1.3.0 --dry-run"] {
        let output = project.basegen(arguments).output().await.expect("a run");
        assert_eq!(output.status.code(), Some(3), "{}", project.shown(&output));
    }
    assert_eq!(project.registry.tags("acme/base"), tags);
    // The same of the base branch.
    project.write("images/constants.py", CONSTANT);
    project.github.push("main", "images/constants.py", "x = 1\n");
    let output = project.basegen("release v1.3.0 --pr").output().await.expect("a run");
    assert_eq!(output.status.code(), Some(3), "{}", project.shown(&output));
    assert_eq!(project.registry.tags("acme/base"), tags);
}

/// The gate compares names too, and takes no image for whole whose configuration is gone.
#[tokio::test]
async fn what_the_release_does_not_have_is_told() {
    let project = Project::released().await;
    let manifest = project.registry.manifest("acme/base", "3.11-v1.2.3").expect("a manifest");
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("JSON");
    let config = manifest["config"]["digest"].as_str().expect("a digest");
    project.registry.remove_blob("acme/base", &config.parse().expect("a digest"));
    let told = project.told(project.basegen("check --released")).await;
    assert!(told.contains("3.11-v1.2.3` lacks linux/amd64"), "{told}");
    let project = Project::released().await;
    let matrix = project.read("matrix.toml");
    project.write(
        "matrix.toml",
        &matrix.replace("{{variant}}-{{version}}", "py{{variant}}-{{version}}"),
    );
    let told = project.told(project.basegen("check --released")).await;
    assert!(told.contains("py3.11-v1.2.3` is not part of the release"), "{told}");
}

/// The token of github.com is not for whatever host a remote names.
#[tokio::test]
async fn a_host_that_only_the_remote_names_gets_no_token_of_github_com() {
    let project = changed().await;
    project.git(&["init", "--quiet"]);
    project.git(&["remote", "add", "origin", "short:acme/images.git"]);
    project.git(&["config", "url.https://github.example.org/.insteadOf", "short:"]);
    let command = |variables: &[(&str, &str)]| {
        let mut command = project.basegen("release v1.3.0 --pr");
        command.env_remove("GITHUB_API_URL").env_remove("GITHUB_REPOSITORY");
        // Nothing is sent to where this name may lead.
        command.env("HTTPS_PROXY", "http://127.0.0.1:1").env("GH_TOKEN", "canary-gh");
        command.envs(variables.iter().copied());
        command
    };
    assert_snapshot!(project.told(command(&[])).await);
    let api = ("GITHUB_API_URL", "https://me:canary-secret@github.example.org/api/v3");
    assert_snapshot!(project.told(command(&[api])).await);
}

/// A checkout cannot send the token for GitHub to a host of its choice, nor another token to GitHub.
#[tokio::test]
async fn the_token_goes_to_github_or_to_a_host_that_the_user_names() {
    let project = changed().await;
    let elsewhere = crate::harness::pull_request::repository().await;
    let host = elsewhere.api().replace("http://", "").replace("/api/v3", "");
    project.matrix(&format!("[pull_request]\napi = \"{}\"\n", elsewhere.api()));
    let command = |arguments: &str| {
        let mut command = project.basegen(&format!("release v1.3.0 --pr --quiet {arguments}"));
        command.env_remove("GITHUB_API_URL").env("GH_ENTERPRISE_TOKEN", "canary-enterprise");
        command
    };
    let told = project.told(command("")).await.replace(&host, "ELSEWHERE");
    assert_snapshot!(told);
    assert_eq!(elsewhere.seen().len(), 0);
    // With the runner of another server, the matrix's host is still a stranger.
    let mut of_runner = command("");
    of_runner.env("GITHUB_API_URL", project.github.api());
    assert!(project.told(of_runner).await.contains("is not sent to"));
    assert_eq!(elsewhere.seen().len(), 0);

    project.told(command(&format!("--allow credentials.github={host}"))).await;
    let sent: Vec<String> =
        elsewhere.seen().into_iter().filter_map(|seen| seen.authorization).collect();
    assert!(!sent.is_empty() && sent.iter().all(|token| token.contains("canary-enterprise")));

    project.matrix("[pull_request]\ntoken_secret_name = \"AWS_SECRET_ACCESS_KEY\"\n");
    let mut of_aws = project.basegen("release v1.3.0 --pr --quiet");
    of_aws.env("AWS_SECRET_ACCESS_KEY", "canary-aws");
    assert_snapshot!(project.told(of_aws).await);
    let seen = project.github.seen().into_iter().filter_map(|seen| seen.authorization);
    assert!(seen.into_iter().all(|token| !token.contains("canary-aws")));
}

/// Secrets of the environment are sent as credentials only; they are in no output, file or other request.
#[tokio::test]
async fn no_secret_is_told_kept_or_sent() {
    let project = changed().await;
    project.matrix("[pull_request]\nreviewers = [\"mallory\"]\n");
    let line = KEY.lines().nth(3).expect("a line");
    for (arguments, app) in [
        ("release minor --pr --notes notes.md", false),
        ("release minor --pr", true),
        ("release minor --pr --dry-run", true),
    ] {
        let mut command = project.basegen(arguments);
        command.env("GH_TOKEN", "canary-gh").env("CANARY", "canary-variable");
        if app {
            command
                .env("BASEGEN_APP_ID", crate::harness::github::APP)
                .env("BASEGEN_APP_PRIVATE_KEY", KEY);
        }
        let output = command.output().await.expect("a run");
        assert!(output.status.success(), "{}", project.shown(&output));
        let told = project.shown(&output);
        assert!(!told.contains("canary") && !told.contains(line), "{told}");
    }
    let kept = project.github.with(|store| format!("{:?} {:?}", store.pulls, store.commits));
    assert!(!kept.contains("canary") && !kept.contains(line));
    let mut files = Vec::new();
    let mut folders = vec![project.folder.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    for file in files {
        let text = String::from_utf8_lossy(&fs_err::read(&file).expect("a file")).into_owned();
        assert!(!text.contains("canary") && !text.contains(line), "{}", file.display());
    }
}
