//! Passwords of registries and secrets of builds: they reach only the registry or the step, and are in no output and
//! no file.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::harness::registry::{Access, Account, FakeRegistry, Fault, Rule};
use crate::harness::testbed;

const CANARY: &str = "canary:5a1fPq";

/// A source of the password for a registry.
enum Source {
    DockerConfig,
    Helper,
    Variable,
    Basic,
    AccessToken,
    ServiceAccount,
}

impl Source {
    const ALL: [Self; 6] = [
        Self::DockerConfig,
        Self::Helper,
        Self::Variable,
        Self::Basic,
        Self::AccessToken,
        Self::ServiceAccount,
    ];

    /// Returns the account that the registry expects.
    fn account(&self) -> Account {
        match self {
            Self::AccessToken => Account::new("oauth2accesstoken", CANARY),
            Self::ServiceAccount => Account::new("_json_key", &service_account()),
            _ => Account::new("$oauthtoken", CANARY),
        }
    }

    /// Returns the table of the registry in the matrix.
    fn table(&self, host: &str) -> String {
        let method = match self {
            Self::Basic => {
                "auth_method = \"BASIC\"\nusername = \"$oauthtoken\"\npassword_secret_name = \"PASSWORD\""
            }
            Self::AccessToken => "auth_method = \"ACCESS_TOKEN\"\nsecret_name = \"PASSWORD\"",
            Self::ServiceAccount => {
                "auth_method = \"GCP_SERVICE_ACCOUNT_JSON\"\nsecret_name = \"PASSWORD\""
            }
            _ => return String::new(),
        };
        format!("[registries.\"{host}\"]\n{method}\n")
    }

    /// Provides the password to the command.
    fn provide(&self, command: &mut Command, folder: &Path, host: &str) {
        let pair = STANDARD.encode(format!("$oauthtoken:{CANARY}"));
        let config = folder.join("docker");
        fs_err::create_dir_all(&config).expect("a folder");
        let file = |text: String| fs_err::write(config.join("config.json"), text).expect("a file");
        command.env("DOCKER_CONFIG", &config);
        match self {
            Self::DockerConfig => file(format!(r#"{{"auths":{{"{host}":{{"auth":"{pair}"}}}}}}"#)),
            Self::Helper => {
                file(r#"{"credsStore":"test"}"#.to_owned());
                let helper = config.join("docker-credential-test");
                let response = format!(r#"{{"Username":"$oauthtoken","Secret":"{CANARY}"}}"#);
                fs_err::write(&helper, format!("#!/bin/sh\ncat >/dev/null\necho '{response}'\n"))
                    .expect("a file");
                let executable = std::fs::Permissions::from_mode(0o755);
                fs_err::set_permissions(&helper, executable).expect("executable");
                let path = std::env::var("PATH").expect("a path");
                command.env("PATH", format!("{}:{path}", config.display()));
            }
            Self::Variable => drop(command.env(format!("DOCKER_REGISTRY_{host}"), &pair)),
            Self::Basic | Self::AccessToken => drop(command.env("PASSWORD", CANARY)),
            Self::ServiceAccount => drop(command.env("PASSWORD", service_account())),
        }
    }
}

fn service_account() -> String {
    format!(
        r#"{{"type":"service_account","project_id":"acme","client_email":"a@acme.iam.gserviceaccount.com","private_key":"{CANARY}"}}"#
    )
}

fn project(registry: &FakeRegistry, source: &Source) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let host = registry.host();
    let matrix = format!(
        "[image]\nregistry = \"{host}\"\nrepository = \"acme/base\"\n\
         dockerfile = \"Dockerfile.hbs\"\nplatforms = [\"linux/amd64\"]\n\
         [axes]\nword = [\"one\", \"two\"]\n{}",
        source.table(&host)
    );
    fs_err::write(folder.path().join("matrix.toml"), matrix).expect("a file");
    fs_err::create_dir(folder.path().join("dockerfiles")).expect("a folder");
    let dockerfile = format!("FROM scratch\nLABEL a={{{{word}}}}\nCOPY b /{}\n", testbed::unique());
    fs_err::write(folder.path().join("dockerfiles/Dockerfile.hbs"), dockerfile).expect("a file");
    fs_err::write(folder.path().join("dockerfiles/b"), "b").expect("a file");
    folder
}

/// Publishes with all kinds of output enabled.
async fn publish(folder: &Path, source: &Source, host: &str) -> Output {
    let mut command = testbed::basegen(folder);
    command
        .args(["--push", "--version-tag", "v1", "--progress", "json", "--log-dir", "logs"])
        .args(["--metadata-file", "images.json"])
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_STEP_SUMMARY", folder.join("summary.md"))
        .env("RUST_BACKTRACE", "full");
    source.provide(&mut command, folder, host);
    // On another thread, because the registry runs on this one.
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    output.expect("the command ends").expect("the command runs")
}

/// Lists the files below `folder`, without the folder of Docker's configuration.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs_err::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if !path.is_dir() {
            files.push(path);
        } else if !path.ends_with("docker") {
            collect(&path, files);
        }
    }
}

fn assert_no_secrets(output: &Output, folder: &Path) {
    let mut texts = vec![
        ("stdout".to_owned(), output.stdout.clone()),
        ("stderr".to_owned(), output.stderr.clone()),
    ];
    let mut files = Vec::new();
    collect(folder, &mut files);
    for file in files {
        texts.push((file.display().to_string(), fs_err::read(&file).expect("a file")));
    }
    assert!(texts.len() > 4, "no files were written");
    let secrets = [CANARY.to_owned(), STANDARD.encode(CANARY), "5a1fPq".to_owned()];
    for (name, text) in texts {
        let text = String::from_utf8_lossy(&text);
        for secret in &secrets {
            assert!(!text.contains(secret), "`{secret}` is in {name}:\n{text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_reach_the_registry_and_are_in_no_output() {
    for source in Source::ALL {
        for access in [Access::Basic(source.account()), Access::Bearer(source.account())] {
            let registry = FakeRegistry::start_with(access).await;
            let folder = project(&registry, &source);
            let output = publish(folder.path(), &source, &registry.host()).await;
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{stderr}");
            assert!(registry.tag("acme/base", "one-v1").is_some());
            assert_no_secrets(&output, folder.path());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_in_responses_of_the_registry_are_redacted() {
    for source in Source::ALL {
        // The registry accepts the account and refuses the push, with a message that contains the password.
        let registry = FakeRegistry::start_with(Access::Basic(source.account())).await;
        let message = format!("{} is not known here", source.account().password);
        registry.fail(Rule::every(
            "POST",
            "*/blobs/uploads/",
            Fault::error(403, "DENIED", &message),
        ));
        let folder = project(&registry, &source);
        let output = publish(folder.path(), &source, &registry.host()).await;
        assert!(!output.status.success());
        assert_no_secrets(&output, folder.path());
    }
}

/// A build step prints its secret and its proxy in every encoding, and fails.
#[tokio::test(flavor = "multi_thread")]
async fn secrets_in_the_output_of_a_step_are_redacted() {
    const PROXY: &str = "http://me:pr0xy-5a1fPq@127.0.0.1:9";
    let folder = tempfile::tempdir().expect("a folder");
    let matrix = "[image]\nrepository = \"acme/base\"\ndockerfile = \"Dockerfile.hbs\"\n\
                  platforms = [\"linux/amd64\"]\n[axes]\nword = [\"one\"]\n\
                  [build.secrets]\ntoken = { env = \"PASSWORD\" }\n";
    let dockerfile = format!(
        "FROM python:3.11-slim-bookworm\nRUN --mount=type=secret,id=token \\\n\
         : {} && cat /run/secrets/token && base64 /run/secrets/token && \\\n\
         python3 -c 'import urllib.parse, json; s = open(\"/run/secrets/token\").read(); \
         print(urllib.parse.quote(s), json.dumps(s))' && \\\n\
         echo \"$all_proxy\" && echo 'https://a.b/c?X-Amz-Signature=n0t-sh0wn' && exit 7\n",
        testbed::unique()
    );
    fs_err::write(folder.path().join("matrix.toml"), matrix).expect("a file");
    fs_err::create_dir(folder.path().join("dockerfiles")).expect("a folder");
    fs_err::write(folder.path().join("dockerfiles/Dockerfile.hbs"), dockerfile).expect("a file");
    for (progress, code) in [("json", 6), ("plain", 6), ("github", 6)] {
        let mut command = testbed::basegen(folder.path());
        command
            .args(["--version-tag", "v1", "--verbose", "--log-dir", "logs", "--progress", progress])
            .args(["--metadata-file", "images.json"])
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_STEP_SUMMARY", folder.path().join("summary.md"))
            .env("all_proxy", PROXY)
            .env("no_proxy", "*")
            .env("PASSWORD", CANARY);
        let output = tokio::task::spawn_blocking(move || command.output()).await;
        let output = output.expect("the command ends").expect("the command runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(stderr.contains("***") && !stderr.contains("n0t-sh0wn"), "{stderr}");
        assert_no_secrets(&output, folder.path());
    }
}
