//! The hosts that receive tokens of GitHub.

use insta::assert_snapshot;

use super::changed_project;
use crate::harness::github::KEY;

#[tokio::test]
async fn the_host_of_a_remote_gets_no_token_of_github_com() {
    let project = changed_project().await;
    project.git(&["init", "--quiet"]);
    project.git(&["remote", "add", "origin", "short:acme/images.git"]);
    project.git(&["config", "url.https://github.example.org/.insteadOf", "short:"]);
    let command = |variables: &[(&str, &str)]| {
        let mut command = project.basegen("release v1.3.0 --pr");
        command.env_remove("GITHUB_API_URL").env_remove("GITHUB_REPOSITORY");
        // A proxy that does not exist prevents requests to the host.
        command.env("HTTPS_PROXY", "http://127.0.0.1:1").env("GH_TOKEN", "canary-gh");
        command.envs(variables.iter().copied());
        command
    };
    assert_snapshot!(project.output(command(&[])).await);
    let api = ("GITHUB_API_URL", "https://me:canary-secret@github.example.org/api/v3");
    assert_snapshot!(project.output(command(&[api])).await);
}

/// A checkout cannot send the token for GitHub to a host of its choice, nor another token to GitHub.
#[tokio::test]
async fn the_token_goes_to_github_and_to_hosts_that_the_user_names() {
    let project = changed_project().await;
    let elsewhere = crate::harness::pull_request::repository().await;
    let host = elsewhere.api().replace("http://", "").replace("/api/v3", "");
    project.write_matrix(&format!("[pull_request]\napi = \"{}\"\n", elsewhere.api()));
    let command = |arguments: &str| {
        let mut command = project.basegen(&format!("release v1.3.0 --pr --quiet {arguments}"));
        command.env_remove("GITHUB_API_URL").env("GH_ENTERPRISE_TOKEN", "canary-enterprise");
        command
    };
    let printed = project.output(command("")).await.replace(&host, "ELSEWHERE");
    assert_snapshot!(printed);
    assert_eq!(elsewhere.requests().len(), 0);
    // The host in the matrix is not that of the runner's server.
    let mut of_runner = command("");
    of_runner.env("GITHUB_API_URL", project.github.api());
    assert!(project.output(of_runner).await.contains("is not sent to"));
    assert_eq!(elsewhere.requests().len(), 0);

    project.output(command(&format!("--allow credentials.github={host}"))).await;
    let sent: Vec<String> =
        elsewhere.requests().into_iter().filter_map(|seen| seen.authorization).collect();
    assert!(!sent.is_empty() && sent.iter().all(|token| token.contains("canary-enterprise")));

    project.write_matrix("[pull_request]\ntoken_secret_name = \"AWS_SECRET_ACCESS_KEY\"\n");
    let mut of_aws = project.basegen("release v1.3.0 --pr --quiet");
    of_aws.env("AWS_SECRET_ACCESS_KEY", "canary-aws");
    assert_snapshot!(project.output(of_aws).await);
    let seen = project.github.requests().into_iter().filter_map(|seen| seen.authorization);
    assert!(seen.into_iter().all(|token| !token.contains("canary-aws")));
}

/// Secrets of the environment are sent as credentials only; they are in no output, file or other request.
#[tokio::test]
async fn secrets_are_neither_printed_nor_stored_nor_sent_elsewhere() {
    let project = changed_project().await;
    project.write_matrix("[pull_request]\nreviewers = [\"mallory\"]\n");
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
        assert!(output.status.success(), "{}", project.format_output(&output));
        let printed = project.format_output(&output);
        assert!(!printed.contains("canary") && !printed.contains(line), "{printed}");
    }
    let stored = project.github.with(|store| format!("{:?} {:?}", store.pulls, store.commits));
    assert!(!stored.contains("canary") && !stored.contains(line));
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
