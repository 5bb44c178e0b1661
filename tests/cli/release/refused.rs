//! Releases that are refused before anything is published.

use insta::assert_snapshot;

use super::changed_project;
use crate::harness::release_project::{CONSTANT, Project};

#[tokio::test]
async fn rejects_invalid_bases_and_long_titles() {
    let project = changed_project().await;
    let tags = project.registry.tags("acme/base");
    let mut outputs = Vec::new();
    for base in ["", "a b", "refs/heads/main", "a..b", "-x", "main.lock", "gone"] {
        for arguments in ["release v1.3.0 --pr", "release minor --pr"] {
            let mut command = project.basegen(arguments);
            command.args(["--quiet", &format!("--base={base}")]);
            let printed = project.output(command).await;
            if arguments.contains("minor") {
                assert_eq!(outputs.last(), Some(&printed), "{base}");
            } else {
                outputs.push(printed);
            }
        }
    }
    project.write_matrix(&format!(
        "[pull_request]\ntitle = \"{} {{{{version}}}}\"\n",
        "é".repeat(250)
    ));
    outputs.push(project.output(project.basegen("release v1.3.0 --pr --quiet")).await);
    project.write_matrix("[pull_request]\nbase = \"refs/heads/main\"\n");
    outputs.push(project.output(project.basegen("release v1.3.0 --pr --quiet")).await);
    assert_snapshot!(outputs.join("\n\n"));
    assert_eq!(project.registry.tags("acme/base"), tags);
    assert!(project.github.requests().iter().all(|seen| seen.method == "GET"));
}

#[tokio::test]
async fn rejects_pull_requests_for_partial_releases_and_without_credentials() {
    let project = changed_project().await;
    project.registry.clear_requests();
    let mut outputs = Vec::new();
    for arguments in [
        "--push --pr --python 3.11",
        "--push --pr --version-tag test",
        "--push --pr --platform linux/arm64",
        "--pr",
        "release --draft",
        "release v1.0.0 --pr",
    ] {
        outputs.push(format!(
            "$ basegen {arguments}\n{}",
            project.output(project.basegen(arguments)).await
        ));
    }
    assert_snapshot!(outputs.join("\n\n"));
    let without = |variables: &[(&str, &str)]| {
        let mut command = project.basegen("release --pr");
        command.env_remove("GITHUB_TOKEN");
        command.envs(variables.iter().copied());
        command
    };
    assert_snapshot!(project.output(without(&[])).await);
    assert_snapshot!(project.output(without(&[("BASEGEN_APP_ID", "1")])).await);
    let mut nowhere = project.basegen("release --pr");
    nowhere.env_remove("GITHUB_REPOSITORY");
    assert_snapshot!(project.output(nowhere).await);
    let clear = [("GITHUB_TOKEN", "x"), ("GITHUB_API_URL", "http://github.example.org/api/v3")];
    assert_snapshot!(project.output(without(&clear)).await);
    let named = [("GITHUB_TOKEN", "x"), ("GITHUB_REPOSITORY", "acme")];
    assert_snapshot!(project.output(without(&named)).await);
    project.write_matrix("[pull_request]\nbranch = \"main\"\n");
    assert_snapshot!(project.output(project.basegen("release v1.3.0 --pr --dry-run")).await);
    assert!(project.github.requests().iter().all(|seen| seen.method == "GET"));
    assert!(project.registry.requests().iter().all(|seen| seen.method != "PUT"));
}

#[tokio::test]
async fn locates_invalid_keys() {
    let project = Project::new().await;
    project.write_matrix(
        "[pull_request]\nrepository = \"acme\"\napi = \"github.example.org\"\nbase = \"a..b\"\n\
         branch = \"release {{variant}}\"\ntitle = \"{{python}}\"\ntoken_secret_name = \"ghp_canary\"\n",
    );
    assert_snapshot!(project.output(project.basegen("list")).await);
}

/// The error comes before the first tag is set.
#[tokio::test]
async fn rejects_places_of_the_version_that_cannot_be_edited() {
    let project = changed_project().await;
    project.write("images/constants.py", "x = 1\n");
    let tags = project.registry.tags("acme/base");
    for arguments in ["release v1.3.0", "release v1.3.0 --pr", "release v1.3.0 --dry-run"] {
        let output = project.basegen(arguments).output().await.expect("a run");
        assert_eq!(output.status.code(), Some(3), "{}", project.format_output(&output));
    }
    assert_eq!(project.registry.tags("acme/base"), tags);
    // The base branch is checked, too.
    project.write("images/constants.py", CONSTANT);
    project.github.push("main", "images/constants.py", "x = 1\n");
    let output = project.basegen("release v1.3.0 --pr").output().await.expect("a run");
    assert_eq!(output.status.code(), Some(3), "{}", project.format_output(&output));
    assert_eq!(project.registry.tags("acme/base"), tags);
}
