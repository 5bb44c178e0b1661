use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret;

use super::*;
use crate::error::{Explain as _, one_line};

mod refresh;

/// A secret that no error and no debug output may contain.
const CANARY: &str = "canary-5e1f";

fn load(folder: &Path, config: &str) -> Credentials {
    fs_err::write(folder.join("config.json"), config).expect("a file");
    let docker = DockerConfig {
        folder: Some(folder.to_owned()),
        search_path: Some(format!("{}:/usr/bin:/bin", folder.display()).into()),
    };
    Credentials::load(&docker).expect("credentials")
}

/// Writes an executable credential helper.
fn write_helper(folder: &Path, name: &str, script: &str) {
    let path = folder.join(format!("docker-credential-{name}"));
    fs_err::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a file");
    fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
}

async fn pair(credentials: &Credentials, host: &str) -> Option<(String, String)> {
    match credentials.get(host).await.expect(host)? {
        Credential::Password { username, password } => {
            Some((username, password.expose_secret().to_owned()))
        }
        Credential::IdentityToken(token) => {
            Some(("<token>".to_owned(), token.expose_secret().to_owned()))
        }
    }
}

fn owned_pair(username: &str, password: &str) -> (String, String) {
    (username.to_owned(), password.to_owned())
}

#[tokio::test]
async fn stored_credentials_are_found_for_every_spelling_of_a_host() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = format!(
        r#"{{"auths": {{
            "https://index.docker.io/v1/": {{"auth": "{}"}},
            "https://quay.io/v2/": {{"auth": "{}"}},
            "nvcr.io": {{"auth": "{}"}},
            "ghcr.io": {{"username": "me", "password": "word"}},
            "azurecr.io": {{"auth": "", "identitytoken": "refresh"}},
            "empty.io": {{}}
        }}}}"#,
        STANDARD.encode("hub:pass:with:colons"),
        STANDARD.encode("quay:x"),
        STANDARD.encode("$oauthtoken:key"),
    );
    let credentials = load(folder.path(), &config);
    for host in ["docker.io", "index.docker.io", "registry-1.docker.io"] {
        let found = pair(&credentials, host).await;
        assert_eq!(found, Some(owned_pair("hub", "pass:with:colons")), "{host}");
    }
    assert_eq!(pair(&credentials, "quay.io").await, Some(owned_pair("quay", "x")));
    let nvidia = pair(&credentials, "nvcr.io").await;
    assert_eq!(nvidia, Some(owned_pair("$oauthtoken", "key")));
    assert_eq!(pair(&credentials, "ghcr.io").await, Some(owned_pair("me", "word")));
    let azure = pair(&credentials, "azurecr.io").await;
    assert_eq!(azure, Some(owned_pair("<token>", "refresh")));
    assert_eq!(pair(&credentials, "empty.io").await, None);
    assert_eq!(pair(&credentials, "127.0.0.1:5000").await, None);
}

#[tokio::test]
async fn errors_name_undecodable_credentials_without_showing_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let no_colon = STANDARD.encode(CANARY);
    let config = format!(
        r#"{{"auths": {{"a.io": {{"auth": "%{CANARY}"}}, "b.io": {{"auth": "{no_colon}"}}}}}}"#
    );
    let credentials = load(folder.path(), &config);
    for (host, problem) in [("a.io", "not base64"), ("b.io", "has no colon")] {
        let error = credentials.get(host).await.expect_err(host);
        let text = format!("{} {error:?}", one_line(&*error));
        assert!(text.contains(problem) && text.contains(host), "{text}");
        assert!(!text.contains(CANARY), "{text}");
        assert!(!text.contains(&no_colon), "{text}");
    }
}

#[test]
fn the_error_for_an_invalid_file_has_a_line_and_no_values() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = format!("{{\n\"auths\": \"{CANARY}\"}}");
    fs_err::write(folder.path().join("config.json"), config).expect("a file");
    let docker = DockerConfig { folder: Some(folder.path().to_owned()), search_path: None };
    let error = Credentials::load(&docker).expect_err("an invalid file");
    let text = format!("{} {error:?}", one_line(&error));
    assert!(text.contains("line 2"), "{text}");
    assert!(!text.contains(CANARY), "{text}");
}

#[tokio::test]
async fn null_counts_as_empty() {
    let folder = tempfile::tempdir().expect("a folder");
    let stored = STANDARD.encode("me:word");
    let entry = format!(r#"{{"ghcr.io": {{"auth": "{stored}", "identitytoken": null}}}}"#);
    for (config, expected) in [
        (r#"{"auths": null, "credHelpers": null, "credsStore": null}"#.to_owned(), None),
        (r#"{"auths": {"ghcr.io": null}, "credHelpers": {"ghcr.io": null}}"#.to_owned(), None),
        (
            format!(r#"{{"auths": {entry}, "credHelpers": null, "credsStore": null}}"#),
            Some(owned_pair("me", "word")),
        ),
        // With the helper `null`, the credentials of a registry are in the file, even if there is a store.
        (
            format!(
                r#"{{"auths": {entry}, "credHelpers": {{"ghcr.io": null}}, "credsStore": "gone"}}"#
            ),
            Some(owned_pair("me", "word")),
        ),
    ] {
        assert_eq!(pair(&load(folder.path(), &config), "ghcr.io").await, expected, "{config}");
    }
}

#[tokio::test]
async fn helpers_serve_their_registries_and_the_store_all_others() {
    let folder = tempfile::tempdir().expect("a folder");
    write_helper(
        folder.path(),
        "cloud",
        r#"printf '{"ServerURL":"%s","Username":"cloud","Secret":"s"}' "$(cat)""#,
    );
    write_helper(
        folder.path(),
        "store",
        r#"printf '{"Username":"<token>","Secret":"%s"}' "$(cat)""#,
    );
    let config = r#"{"credsStore": "store", "credHelpers": {"gcr.io": "cloud"}}"#;
    let credentials = load(folder.path(), config);
    assert_eq!(pair(&credentials, "gcr.io").await, Some(owned_pair("cloud", "s")));
    let hub = pair(&credentials, "docker.io").await;
    assert_eq!(hub, Some(owned_pair("<token>", DOCKER_HUB_KEY)));
}

#[tokio::test]
async fn a_helper_without_a_credential_means_anonymous() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = "echo 'credentials not found in native keychain'; exit 1";
    write_helper(folder.path(), "store", script);
    let credentials = load(folder.path(), r#"{"credsStore": "store"}"#);
    assert_eq!(pair(&credentials, "ghcr.io").await, None);
}

#[tokio::test]
async fn a_credential_is_looked_up_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    let script = format!(
        r#"cat > /dev/null; echo x >> {}; sleep 0.1; printf '{{"Username":"u","Secret":"s"}}'"#,
        log.display()
    );
    write_helper(folder.path(), "store", &script);
    let credentials = load(folder.path(), r#"{"credsStore": "store"}"#);
    tokio::join!(credentials.get("a.io"), credentials.get("a.io")).0.expect("credentials");
    assert_eq!(fs_err::read_to_string(&log).expect("a log"), "x\n");
}

#[tokio::test]
async fn errors_of_helpers_hide_their_output() {
    let folder = tempfile::tempdir().expect("a folder");
    let leak = format!("echo {CANARY}; echo {CANARY} >&2");
    write_helper(folder.path(), "fails", &format!("{leak}; exit 3"));
    write_helper(folder.path(), "prints", &leak);
    write_helper(folder.path(), "hangs", &format!("{leak}; exec sleep 60"));
    write_helper(folder.path(), "floods", &format!("exec yes {CANARY}"));
    write_helper(
        folder.path(),
        "truncates",
        &format!("printf '{{\"Username\":\"u\",\"Secret\":\"{CANARY}'"),
    );
    write_helper(folder.path(), "locked", &leak);
    let locked = folder.path().join("docker-credential-locked");
    fs_err::set_permissions(locked, std::fs::Permissions::from_mode(0o644)).expect("a mode");
    let config = r#"{"credHelpers": {
        "fails.io": "fails", "prints.io": "prints", "hangs.io": "hangs", "gone.io": "gone",
        "escape.io": "/../x", "floods.io": "floods", "truncates.io": "truncates", "locked.io": "locked"
    }}"#;
    fs_err::write(folder.path().join("config.json"), config).expect("a file");
    let docker = DockerConfig {
        folder: Some(folder.path().to_owned()),
        search_path: Some(format!("{}:/usr/bin:/bin", folder.path().display()).into()),
    };
    let docker = DockerKeychain::load(&docker, Duration::from_millis(500));
    let docker = Box::new(docker.expect("a configuration"));
    let credentials = Credentials::with_keychains(vec![docker], PlainHttp::default());
    let started = Instant::now();
    for (host, expected) in [
        ("fails.io", "for `fails.io` failed (exit status: 3)"),
        ("prints.io", "did not answer with credentials"),
        ("hangs.io", "for `hangs.io` did not answer"),
        ("gone.io", "`docker-credential-gone` for `gone.io` is not installed"),
        ("escape.io", "is not installed"),
        ("floods.io", "`docker-credential-floods` for `floods.io` failed"),
        ("truncates.io", "did not answer with credentials"),
        ("locked.io", "could not be run"),
    ] {
        let error = credentials.get(host).await.expect_err(host);
        let text = format!("{} {error:?} {:?}", one_line(&*error), error.hint());
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains(CANARY), "{text}");
    }
    assert!(started.elapsed() < Duration::from_secs(10));
}

/// Loads credentials from variables and authentication methods.
fn load_variables(variables: &[(&str, &str)], methods: &[(&str, AuthMethod)]) -> Credentials {
    let sources = CredentialSources {
        variables: to_variables(variables),
        methods: methods
            .iter()
            .map(|(host, method)| ((*host).to_owned(), method.clone()))
            .collect(),
        ..CredentialSources::default()
    };
    Credentials::load(sources).expect("credentials")
}

fn to_variables(pairs: &[(&str, &str)]) -> Variables {
    let variables = pairs.iter().map(|(name, value)| ((*name).to_owned(), Some((*value).into())));
    variables.collect()
}

fn basic(username: &str, variable: &str) -> AuthMethod {
    AuthMethod::Basic { username: username.to_owned(), variable: variable.to_owned() }
}

async fn failure(credentials: &Credentials, host: &str) -> String {
    let error = credentials.get(host).await.expect_err(host);
    let text = format!("{} {:?}", one_line(&*error), error.hint());
    assert!(!format!("{text} {error:?}").contains(CANARY), "{text}");
    text
}

#[tokio::test]
async fn the_first_source_with_a_credential_wins() {
    let folder = tempfile::tempdir().expect("a folder");
    write_helper(
        folder.path(),
        "store",
        r#"case "$(cat)" in none.io) echo 'credentials not found'; exit 1;; esac
        printf '{"Username":"helper","Secret":"s"}'"#,
    );
    let stored = STANDARD.encode("config:s");
    let config =
        format!(r#"{{"credsStore": "store", "auths": {{"none.io": {{"auth": "{stored}"}}}}}}"#);
    fs_err::write(folder.path().join("config.json"), config).expect("a file");
    let variable = STANDARD.encode("variable:s");
    let sources = |methods: &[(&str, AuthMethod)], variables: &[(&str, &str)]| CredentialSources {
        methods: methods
            .iter()
            .map(|(host, method)| ((*host).to_owned(), method.clone()))
            .collect(),
        variables: to_variables(variables),
        docker: DockerConfig {
            folder: Some(folder.path().to_owned()),
            search_path: Some(format!("{}:/usr/bin:/bin", folder.path().display()).into()),
        },
        ..CredentialSources::default()
    };
    let find = |sources, host: &'static str| async move {
        let result = Credentials::load(sources).expect("credentials").find(host).await;
        let resolved = result.expect(host).expect(host);
        (resolved.credential.username().expect("a user").to_owned(), resolved.source)
    };
    let methods = [("ghcr.io", basic("matrix", "PASSWORD"))];
    let variables = [
        ("PASSWORD", "s"),
        ("DOCKER_REGISTRY_ghcr.io", &*variable),
        ("DOCKER_REGISTRY_none.io", ""),
    ];
    let matrix = CredentialSource::Matrix { host: "ghcr.io".to_owned(), method: "BASIC" };
    assert_eq!(find(sources(&methods, &variables), "ghcr.io").await, ("matrix".to_owned(), matrix));
    let source = CredentialSource::Variable("DOCKER_REGISTRY_ghcr.io".to_owned());
    assert_eq!(find(sources(&[], &variables), "ghcr.io").await, ("variable".to_owned(), source));
    let config = folder.path().join("config.json");
    let docker = |helper: Option<&str>| CredentialSource::Docker {
        config: config.clone(),
        helper: helper.map(str::to_owned),
    };
    let source = docker(Some("store"));
    assert_eq!(find(sources(&[], &[]), "ghcr.io").await, ("helper".to_owned(), source));
    // An empty variable and a helper without a credential are skipped.
    let source = docker(None);
    assert_eq!(find(sources(&[], &variables), "none.io").await, ("config".to_owned(), source));
}

#[tokio::test]
async fn no_other_source_replaces_a_failed_method() {
    let pair = STANDARD.encode("variable:s");
    let credentials = load_variables(
        &[("DOCKER_REGISTRY_ghcr.io", &pair), ("EMPTY", "\n")],
        &[("ghcr.io", basic("me", "gone-name")), ("quay.io", basic("me", "EMPTY"))],
    );
    let text = failure(&credentials, "ghcr.io").await;
    assert!(text.contains("the variable `gone-name` or `GONE_NAME` is not set"), "{text}");
    let text = failure(&credentials, "quay.io").await;
    assert!(text.contains("the variable `EMPTY` is empty"), "{text}");
}

#[tokio::test]
async fn methods_with_one_secret_return_a_username_and_a_password() {
    let key = r#"{"type": "service_account", "client_email": "r@p", "private_key": "k"}"#;
    let encoded = STANDARD.encode("me:a:b");
    let credentials = load_variables(
        &[("GCP_SERVICE_ACCOUNT", key), ("token", "ya29.t\n"), ("WORD", "a:b"), ("P", &encoded)],
        &[
            ("a.io", AuthMethod::GcpServiceAccountJson { variable: "gcp-service-account".into() }),
            ("b.io", AuthMethod::AccessToken { username: None, variable: "token".into() }),
            (
                "c.io",
                AuthMethod::AccessToken { username: Some("who".into()), variable: "token".into() },
            ),
            ("index.docker.io", basic("$oauthtoken", "WORD")),
            ("d.io", AuthMethod::RegistrySecret { variable: "P".into() }),
        ],
    );
    for (host, expected) in [
        ("a.io", owned_pair("_json_key", key)),
        ("b.io", owned_pair("oauth2accesstoken", "ya29.t")),
        ("c.io", owned_pair("who", "ya29.t")),
        ("docker.io", owned_pair("$oauthtoken", "a:b")),
        ("d.io", owned_pair("me", "a:b")),
    ] {
        assert_eq!(pair(&credentials, host).await, Some(expected), "{host}");
    }
}

#[tokio::test]
async fn errors_name_undecodable_variables_without_showing_them() {
    let (no_colon, no_user) = (STANDARD.encode(CANARY), STANDARD.encode(format!(":{CANARY}")));
    let credentials = load_variables(
        &[
            ("DOCKER_REGISTRY_a.io", &format!("me:{CANARY}")),
            ("DOCKER_REGISTRY_B_IO", &no_colon),
            ("DOCKER_REGISTRY_https://index.docker.io/v1/", &no_user),
        ],
        &[],
    );
    let text = failure(&credentials, "a.io").await;
    assert!(text.contains("the credentials of `a.io`"), "{text}");
    assert!(text.contains("`DOCKER_REGISTRY_a.io` is not base64"), "{text}");
    assert!(text.contains("echo -n"), "{text}");
    let text = failure(&credentials, "b.io").await;
    assert!(
        text.contains("`DOCKER_REGISTRY_B_IO` is base64 of a text that has no colon"),
        "{text}"
    );
    let text = failure(&credentials, "registry-1.docker.io").await;
    assert!(text.contains("the credentials of `docker.io`"), "{text}");
    assert!(text.contains("no user before its colon"), "{text}");
    for secret in [&no_colon, &no_user] {
        assert!(!text.contains(secret.as_str()), "{text}");
    }
}

#[tokio::test]
async fn contradictory_variables_are_an_error() {
    let (one, other) = (STANDARD.encode("me:one"), STANDARD.encode("me:other"));
    let names = ["DOCKER_REGISTRY_ghcr.io", "DOCKER_REGISTRY_GHCR_IO"];
    let credentials = load_variables(&[(names[0], &one), (names[1], &other)], &[]);
    let text = failure(&credentials, "ghcr.io").await;
    assert!(text.contains(&format!("`{}` and `{}`", names[0], names[1])), "{text}");
    let credentials = load_variables(&[(names[0], &one), (names[1], &one)], &[]);
    assert_eq!(pair(&credentials, "ghcr.io").await, Some(owned_pair("me", "one")));
}

#[tokio::test]
async fn an_ambiguous_shell_spelling_is_an_error() {
    let secret = STANDARD.encode(format!("me:{CANARY}"));
    let credentials = load_variables(&[("DOCKER_REGISTRY_A_B_IO", &secret)], &[]);
    assert!(credentials.get("a-b.io").await.expect("credentials").is_some());
    let text = failure(&credentials, "a.b.io").await;
    assert!(text.contains("may mean `a-b.io` or `a.b.io`"), "{text}");
    let name = "DOCKER_REGISTRY_a.b.io";
    let credentials = load_variables(&[("DOCKER_REGISTRY_A_B_IO", &secret), (name, &secret)], &[]);
    assert!(credentials.get("a-b.io").await.expect("credentials").is_some());
    assert!(credentials.get("a.b.io").await.expect("credentials").is_some());
}

#[tokio::test]
async fn accepts_tokens_in_the_formats_that_platforms_document() {
    let password = "e".repeat(1800);
    let wrapped = STANDARD.encode(format!("AWS:{password}"));
    let wrapped: Vec<&str> = wrapped
        .as_bytes()
        .chunks(76)
        .map(|line| std::str::from_utf8(line).expect("ASCII"))
        .collect();
    let ecr = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
    let ecr_variable = format!("DOCKER_REGISTRY_{ecr}");
    let (nvidia, google) = (STANDARD.encode("$oauthtoken:key"), STANDARD.encode("ya29.token"));
    let google_pair = STANDARD.encode("oauth2accesstoken:ya29.token\n");
    let credentials = load_variables(
        &[
            (&ecr_variable, &wrapped.join("\n")),
            ("DOCKER_REGISTRY_nvcr.io", &nvidia),
            ("DOCKER_REGISTRY_europe-docker.pkg.dev", &google),
            ("DOCKER_REGISTRY_eu.gcr.io", &google_pair),
        ],
        &[],
    );
    assert_eq!(pair(&credentials, ecr).await, Some(owned_pair("AWS", &password)));
    assert_eq!(pair(&credentials, "nvcr.io").await, Some(owned_pair("$oauthtoken", "key")));
    for host in ["europe-docker.pkg.dev", "eu.gcr.io"] {
        let expected = Some(owned_pair("oauth2accesstoken", "ya29.token"));
        assert_eq!(pair(&credentials, host).await, expected, "{host}");
    }
}
