use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret;

use super::cache::HELPER_ANSWER;
use super::*;
use crate::error::{Explain as _, one_line};
use crate::registry::testing::pass;

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
    match credentials.get(host).await.expect(host)? {
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
async fn undecodable_credentials_are_named_and_hidden() {
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
async fn null_counts_as_empty() {
    let folder = tempfile::tempdir().expect("a folder");
    let stored = STANDARD.encode("me:word");
    let entry = format!(r#"{{"ghcr.io": {{"auth": "{stored}", "identitytoken": null}}}}"#);
    for (config, expected) in [
        (r#"{"auths": null, "credHelpers": null, "credsStore": null}"#.to_owned(), None),
        (r#"{"auths": {"ghcr.io": null}, "credHelpers": {"ghcr.io": null}}"#.to_owned(), None),
        (
            format!(r#"{{"auths": {entry}, "credHelpers": null, "credsStore": null}}"#),
            Some(both("me", "word")),
        ),
        // A registry whose helper is none has its credentials in the file, whatever the store is.
        (
            format!(
                r#"{{"auths": {entry}, "credHelpers": {{"ghcr.io": null}}, "credsStore": "gone"}}"#
            ),
            Some(both("me", "word")),
        ),
    ] {
        assert_eq!(pair(&load(folder.path(), &config), "ghcr.io").await, expected, "{config}");
    }
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
async fn a_helper_without_a_credential_means_anonymous() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = "echo 'credentials not found in native keychain'; exit 1";
    helper(folder.path(), "store", script);
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
    helper(folder.path(), "store", &script);
    let credentials = load(folder.path(), r#"{"credsStore": "store"}"#);
    tokio::join!(credentials.get("a.io"), credentials.get("a.io")).0.expect("credentials");
    assert_eq!(fs_err::read_to_string(&log).expect("a log"), "x\n");
}

#[tokio::test]
async fn errors_of_helpers_hide_their_output() {
    let folder = tempfile::tempdir().expect("a folder");
    let leak = format!("echo {CANARY}; echo {CANARY} >&2");
    helper(folder.path(), "fails", &format!("{leak}; exit 3"));
    helper(folder.path(), "babbles", &leak);
    helper(folder.path(), "hangs", &format!("{leak}; exec sleep 60"));
    helper(folder.path(), "floods", &format!("exec yes {CANARY}"));
    helper(folder.path(), "halts", &format!("printf '{{\"Username\":\"u\",\"Secret\":\"{CANARY}'"));
    helper(folder.path(), "locked", &leak);
    let locked = folder.path().join("docker-credential-locked");
    fs_err::set_permissions(locked, std::fs::Permissions::from_mode(0o644)).expect("a mode");
    let config = r#"{"credHelpers": {
        "fails.io": "fails", "babbles.io": "babbles", "hangs.io": "hangs", "gone.io": "gone",
        "escape.io": "/../x", "floods.io": "floods", "halts.io": "halts", "locked.io": "locked"
    }}"#;
    fs_err::write(folder.path().join("config.json"), config).expect("a file");
    let docker = DockerConfig {
        folder: Some(folder.path().to_owned()),
        search_path: Some(format!("{}:/usr/bin:/bin", folder.path().display()).into()),
    };
    let docker = DockerKeychain::load(&docker, Duration::from_millis(500));
    let docker = Box::new(docker.expect("a configuration"));
    let credentials = Credentials::with_keychains(vec![docker], PlainHttp::default());
    let begun = Instant::now();
    for (host, expected) in [
        ("fails.io", "for `fails.io` failed (exit status: 3)"),
        ("babbles.io", "did not answer with credentials"),
        ("hangs.io", "for `hangs.io` did not answer"),
        ("gone.io", "`docker-credential-gone` for `gone.io` is not installed"),
        ("escape.io", "is not installed"),
        ("floods.io", "`docker-credential-floods` for `floods.io` failed"),
        ("halts.io", "did not answer with credentials"),
        ("locked.io", "could not be run"),
    ] {
        let error = credentials.get(host).await.expect_err(host);
        let text = format!("{} {error:?} {:?}", one_line(&*error), error.hint());
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains(CANARY), "{text}");
    }
    assert!(begun.elapsed() < Duration::from_secs(10));
}

/// Credentials from variables and methods alone.
fn of_variables(variables: &[(&str, &str)], methods: &[(&str, AuthMethod)]) -> Credentials {
    let sources = CredentialSources {
        variables: held(variables),
        methods: methods
            .iter()
            .map(|(host, method)| ((*host).to_owned(), method.clone()))
            .collect(),
        ..CredentialSources::default()
    };
    Credentials::load(sources).expect("credentials")
}

fn held(variables: &[(&str, &str)]) -> Variables {
    let held = variables.iter().map(|(name, value)| ((*name).to_owned(), Some((*value).into())));
    held.collect()
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
    helper(
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
        variables: held(variables),
        docker: DockerConfig {
            folder: Some(folder.path().to_owned()),
            search_path: Some(format!("{}:/usr/bin:/bin", folder.path().display()).into()),
        },
        ..CredentialSources::default()
    };
    let found = |sources, host: &'static str| async move {
        let found = Credentials::load(sources).expect("credentials").find(host).await;
        let found = found.expect(host).expect(host);
        (found.credential.username().expect("a user").to_owned(), found.source)
    };
    let methods = [("ghcr.io", basic("matrix", "PASSWORD"))];
    let variables = [
        ("PASSWORD", "s"),
        ("DOCKER_REGISTRY_ghcr.io", &*variable),
        ("DOCKER_REGISTRY_none.io", ""),
    ];
    let matrix = CredentialSource::Matrix { host: "ghcr.io".to_owned(), method: "BASIC" };
    assert_eq!(
        found(sources(&methods, &variables), "ghcr.io").await,
        ("matrix".to_owned(), matrix)
    );
    let source = CredentialSource::Variable("DOCKER_REGISTRY_ghcr.io".to_owned());
    assert_eq!(found(sources(&[], &variables), "ghcr.io").await, ("variable".to_owned(), source));
    let config = folder.path().join("config.json");
    let docker = |helper: Option<&str>| CredentialSource::Docker {
        config: config.clone(),
        helper: helper.map(str::to_owned),
    };
    let source = docker(Some("store"));
    assert_eq!(found(sources(&[], &[]), "ghcr.io").await, ("helper".to_owned(), source));
    // An empty variable is none, and a helper that knows nothing leaves it to the file.
    let source = docker(None);
    assert_eq!(found(sources(&[], &variables), "none.io").await, ("config".to_owned(), source));
}

#[tokio::test]
async fn no_other_source_replaces_a_failed_method() {
    let pair = STANDARD.encode("variable:s");
    let credentials = of_variables(
        &[("DOCKER_REGISTRY_ghcr.io", &pair), ("EMPTY", "\n")],
        &[("ghcr.io", basic("me", "gone-name")), ("quay.io", basic("me", "EMPTY"))],
    );
    let text = failure(&credentials, "ghcr.io").await;
    assert!(text.contains("the variable `gone-name` or `GONE_NAME` is not set"), "{text}");
    let text = failure(&credentials, "quay.io").await;
    assert!(text.contains("the variable `EMPTY` is empty"), "{text}");
}

#[tokio::test]
async fn every_method_of_one_secret_gives_its_pair() {
    let key = r#"{"type": "service_account", "client_email": "r@p", "private_key": "k"}"#;
    let encoded = STANDARD.encode("me:a:b");
    let credentials = of_variables(
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
        ("a.io", both("_json_key", key)),
        ("b.io", both("oauth2accesstoken", "ya29.t")),
        ("c.io", both("who", "ya29.t")),
        ("docker.io", both("$oauthtoken", "a:b")),
        ("d.io", both("me", "a:b")),
    ] {
        assert_eq!(pair(&credentials, host).await, Some(expected), "{host}");
    }
}

#[tokio::test]
async fn undecodable_variables_are_named_and_hidden() {
    let (no_colon, no_user) = (STANDARD.encode(CANARY), STANDARD.encode(format!(":{CANARY}")));
    let credentials = of_variables(
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
async fn variables_that_disagree_are_an_error() {
    let (one, other) = (STANDARD.encode("me:one"), STANDARD.encode("me:other"));
    let names = ["DOCKER_REGISTRY_ghcr.io", "DOCKER_REGISTRY_GHCR_IO"];
    let credentials = of_variables(&[(names[0], &one), (names[1], &other)], &[]);
    let text = failure(&credentials, "ghcr.io").await;
    assert!(text.contains(&format!("`{}` and `{}`", names[0], names[1])), "{text}");
    let credentials = of_variables(&[(names[0], &one), (names[1], &one)], &[]);
    assert_eq!(pair(&credentials, "ghcr.io").await, Some(both("me", "one")));
}

#[tokio::test]
async fn a_spelling_for_shells_is_for_one_registry() {
    let secret = STANDARD.encode(format!("me:{CANARY}"));
    let credentials = of_variables(&[("DOCKER_REGISTRY_A_B_IO", &secret)], &[]);
    assert!(credentials.get("a-b.io").await.expect("credentials").is_some());
    let text = failure(&credentials, "a.b.io").await;
    assert!(text.contains("may mean `a-b.io` or `a.b.io`"), "{text}");
    let name = "DOCKER_REGISTRY_a.b.io";
    let credentials = of_variables(&[("DOCKER_REGISTRY_A_B_IO", &secret), (name, &secret)], &[]);
    assert!(credentials.get("a-b.io").await.expect("credentials").is_some());
    assert!(credentials.get("a.b.io").await.expect("credentials").is_some());
}

#[tokio::test]
async fn tokens_work_in_the_forms_that_platforms_document() {
    let password = "e".repeat(1800);
    let broken = STANDARD.encode(format!("AWS:{password}"));
    let broken: Vec<&str> = broken
        .as_bytes()
        .chunks(76)
        .map(|line| std::str::from_utf8(line).expect("ASCII"))
        .collect();
    let ecr = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
    let ecr_variable = format!("DOCKER_REGISTRY_{ecr}");
    let (nvidia, google) = (STANDARD.encode("$oauthtoken:key"), STANDARD.encode("ya29.token"));
    let pair_of_google = STANDARD.encode("oauth2accesstoken:ya29.token\n");
    let credentials = of_variables(
        &[
            (&ecr_variable, &broken.join("\n")),
            ("DOCKER_REGISTRY_nvcr.io", &nvidia),
            ("DOCKER_REGISTRY_europe-docker.pkg.dev", &google),
            ("DOCKER_REGISTRY_eu.gcr.io", &pair_of_google),
        ],
        &[],
    );
    assert_eq!(pair(&credentials, ecr).await, Some(both("AWS", &password)));
    assert_eq!(pair(&credentials, "nvcr.io").await, Some(both("$oauthtoken", "key")));
    for host in ["europe-docker.pkg.dev", "eu.gcr.io"] {
        let expected = Some(both("oauth2accesstoken", "ya29.token"));
        assert_eq!(pair(&credentials, host).await, expected, "{host}");
    }
}

/// Credentials of a helper that does `script` with `$n`, which counts how often it was asked,
/// and a function that tells that.
fn counting(folder: &Path, script: &str) -> (Credentials, impl Fn() -> usize) {
    let count = folder.join("count");
    let counts = format!("cat > /dev/null; echo x >> {0}; n=$(wc -l < {0})", count.display());
    helper(folder, "store", &format!("{counts}\n{script}"));
    let asked = move || fs_err::read_to_string(&count).expect("a count").lines().count();
    (load(folder, r#"{"credsStore": "store"}"#), asked)
}

#[tokio::test]
async fn a_refused_credential_is_looked_up_once_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = r#"[ "$n" -gt 2 ] && n=2; printf '{"Username":"u","Secret":"s%s"}' "$n""#;
    let (credentials, asked) = counting(folder.path(), script);
    let first = credentials.get("a.io").await.expect("an answer").expect("a credential");
    let second = credentials.replace("a.io", &first).await.expect("an answer");
    let second = second.expect("another one");
    // Those that were refused with the first at the same time are handed the second.
    let same = credentials.replace("a.io", &first).await.expect("an answer");
    assert!(same.expect("the second").is(&second));
    for _ in 0..3 {
        assert!(credentials.replace("a.io", &second).await.expect("an answer").is_none());
    }
    assert_eq!(asked(), 3, "once at first, once after each refusal of another credential");
}

#[tokio::test]
async fn a_helper_is_asked_again_after_some_minutes() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = r#"printf '{"Username":"u","Secret":"s%s"}' "$n""#;
    let (credentials, asked) = counting(folder.path(), script);
    assert_eq!(pair(&credentials, "a.io").await, Some(both("u", "s1")));
    pass(HELPER_ANSWER * 9 / 10).await;
    assert_eq!(pair(&credentials, "a.io").await, Some(both("u", "s1")));
    assert_eq!(asked(), 1);
    pass(HELPER_ANSWER / 10).await;
    assert_eq!(pair(&credentials, "a.io").await, Some(both("u", "s2")));
}

#[tokio::test]
async fn a_helper_without_a_credential_is_asked_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = r#"[ "$n" = 1 ] && { echo 'credentials not found'; exit 1; }
        printf '{"Username":"u","Secret":"s"}'"#;
    let (credentials, _) = counting(folder.path(), script);
    assert_eq!(pair(&credentials, "a.io").await, None);
    pass(HELPER_ANSWER).await;
    assert_eq!(pair(&credentials, "a.io").await, Some(both("u", "s")));
}

#[tokio::test]
async fn a_helper_that_fails_later_keeps_its_last_answer() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = r#"[ "$n" = 2 ] && exit 3; printf '{"Username":"u","Secret":"s%s"}' "$n""#;
    let (credentials, asked) = counting(folder.path(), script);
    assert_eq!(pair(&credentials, "a.io").await, Some(both("u", "s1")));
    pass(HELPER_ANSWER).await;
    for _ in 0..2 {
        assert_eq!(pair(&credentials, "a.io").await, Some(both("u", "s1")));
    }
    assert_eq!(asked(), 2, "it is not asked for with every request");
    pass(HELPER_ANSWER).await;
    assert_eq!(pair(&credentials, "a.io").await, Some(both("u", "s3")));
}

#[tokio::test]
async fn a_credential_that_could_not_be_replaced_can_be_later() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = r#"[ "$n" -lt 3 ] && n=1; printf '{"Username":"u","Secret":"s%s"}' "$n""#;
    let (credentials, asked) = counting(folder.path(), script);
    let first = credentials.get("a.io").await.expect("an answer").expect("a credential");
    for _ in 0..2 {
        assert!(credentials.replace("a.io", &first).await.expect("an answer").is_none());
    }
    assert_eq!(asked(), 2);
    pass(HELPER_ANSWER).await;
    let third = credentials.replace("a.io", &first).await.expect("an answer");
    assert!(third.is_some_and(|third| !third.is(&first)));
}
