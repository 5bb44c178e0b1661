use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret;

use super::*;
use crate::error::one_line;

/// What no error, no debug output and no event may ever show.
const CANARY: &str = "canary-5e1f";

fn load(folder: &Path, config: &str) -> Credentials {
    fs_err::write(folder.join("config.json"), config).expect("a file");
    let docker = DockerConfig {
        folder: Some(folder.to_owned()),
        search_path: Some(format!("{}:/usr/bin:/bin", folder.display()).into()),
    };
    Credentials::load(&docker).expect("credentials")
}

fn helper(folder: &Path, name: &str, script: &str) {
    let path = folder.join(format!("docker-credential-{name}"));
    fs_err::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a file");
    fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
}

async fn pair(credentials: &Credentials, host: &str) -> Option<(String, String)> {
    match credentials.of(host).await.expect(host)? {
        Credential::Password { username, password } => {
            Some((username, password.expose_secret().to_owned()))
        }
        Credential::IdentityToken(token) => {
            Some(("<token>".to_owned(), token.expose_secret().to_owned()))
        }
    }
}

fn both(username: &str, password: &str) -> (String, String) {
    (username.to_owned(), password.to_owned())
}

#[tokio::test]
async fn stored_credentials_are_found_under_every_spelling() {
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
        assert_eq!(found, Some(both("hub", "pass:with:colons")), "{host}");
    }
    assert_eq!(pair(&credentials, "quay.io").await, Some(both("quay", "x")));
    let nvidia = pair(&credentials, "nvcr.io").await;
    assert_eq!(nvidia, Some(both("$oauthtoken", "key")));
    assert_eq!(pair(&credentials, "ghcr.io").await, Some(both("me", "word")));
    let azure = pair(&credentials, "azurecr.io").await;
    assert_eq!(azure, Some(both("<token>", "refresh")));
    assert_eq!(pair(&credentials, "empty.io").await, None);
    assert_eq!(pair(&credentials, "127.0.0.1:5000").await, None);
}

#[tokio::test]
async fn what_cannot_be_decoded_is_named_and_not_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let no_colon = STANDARD.encode(CANARY);
    let config = format!(
        r#"{{"auths": {{"a.io": {{"auth": "%{CANARY}"}}, "b.io": {{"auth": "{no_colon}"}}}}}}"#
    );
    let credentials = load(folder.path(), &config);
    for (host, problem) in [("a.io", "not base64"), ("b.io", "no colon")] {
        let error = credentials.of(host).await.expect_err(host);
        let text = format!("{} {error:?}", one_line(&*error));
        assert!(text.contains(problem) && text.contains(host), "{text}");
        assert!(!text.contains(CANARY), "{text}");
        assert!(!text.contains(&no_colon), "{text}");
    }
}

#[test]
fn a_broken_file_is_named_by_line_without_its_values() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = format!("{{\n\"auths\": \"{CANARY}\"}}");
    fs_err::write(folder.path().join("config.json"), config).expect("a file");
    let docker = DockerConfig { folder: Some(folder.path().to_owned()), search_path: None };
    let error = Credentials::load(&docker).expect_err("a broken file");
    let text = format!("{} {error:?}", one_line(&error));
    assert!(text.contains("line 2"), "{text}");
    assert!(!text.contains(CANARY), "{text}");
}

#[tokio::test]
async fn helpers_answer_for_their_registries_and_the_store_for_the_rest() {
    let folder = tempfile::tempdir().expect("a folder");
    helper(
        folder.path(),
        "cloud",
        r#"printf '{"ServerURL":"%s","Username":"cloud","Secret":"s"}' "$(cat)""#,
    );
    helper(folder.path(), "store", r#"printf '{"Username":"<token>","Secret":"%s"}' "$(cat)""#);
    let config = r#"{"credsStore": "store", "credHelpers": {"gcr.io": "cloud"}}"#;
    let credentials = load(folder.path(), config);
    assert_eq!(pair(&credentials, "gcr.io").await, Some(both("cloud", "s")));
    let hub = pair(&credentials, "docker.io").await;
    assert_eq!(hub, Some(both("<token>", DOCKER_HUB_KEY)));
}

#[tokio::test]
async fn a_helper_that_knows_nothing_means_anonymous() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = "echo 'credentials not found in native keychain'; exit 1";
    helper(folder.path(), "store", script);
    let credentials = load(folder.path(), r#"{"credsStore": "store"}"#);
    assert_eq!(pair(&credentials, "ghcr.io").await, None);
}

#[tokio::test]
async fn a_registry_is_asked_for_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    let script = format!(
        r#"cat > /dev/null; echo x >> {}; sleep 0.1; printf '{{"Username":"u","Secret":"s"}}'"#,
        log.display()
    );
    helper(folder.path(), "store", &script);
    let credentials = load(folder.path(), r#"{"credsStore": "store"}"#);
    tokio::join!(credentials.of("a.io"), credentials.of("a.io")).0.expect("credentials");
    assert_eq!(fs_err::read_to_string(&log).expect("a log"), "x\n");
}

#[tokio::test]
async fn no_fault_of_a_helper_shows_what_it_printed() {
    let folder = tempfile::tempdir().expect("a folder");
    let leak = format!("echo {CANARY}; echo {CANARY} >&2");
    helper(folder.path(), "fails", &format!("{leak}; exit 3"));
    helper(folder.path(), "babbles", &leak);
    helper(folder.path(), "hangs", &format!("{leak}; exec sleep 60"));
    let config = r#"{"credHelpers": {
        "fails.io": "fails", "babbles.io": "babbles", "hangs.io": "hangs", "gone.io": "gone",
        "escape.io": "/../x"
    }}"#;
    let mut credentials = load(folder.path(), config);
    credentials.helpers = Helpers::new(
        Some(format!("{}:/usr/bin:/bin", folder.path().display()).into()),
        Duration::from_millis(500),
    );
    let begun = Instant::now();
    for (host, expected) in [
        ("fails.io", "failed for `fails.io` (exit status: 3)"),
        ("babbles.io", "did not answer with credentials"),
        ("hangs.io", "did not answer for `hangs.io`"),
        ("gone.io", "`docker-credential-gone` for `gone.io` is not installed"),
        ("escape.io", "is not installed"),
    ] {
        let error = credentials.of(host).await.expect_err(host);
        let text = format!("{} {error:?} {:?}", one_line(&*error), error.hint());
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains(CANARY), "{text}");
    }
    assert!(begun.elapsed() < Duration::from_secs(10));
}
