use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard_buildkit_proto::moby::filesync::v1::auth_server::Auth as _;

use super::*;
use crate::matrix::AuthMethod;
use crate::registry::DockerConfig;
use crate::registry::testing::EcrApi;

async fn credentials(auth: &Auth, host: &str) -> (String, String) {
    let request = Request::new(CredentialsRequest { host: host.to_owned() });
    let response = auth.credentials(request).await.expect(host).into_inner();
    (response.username, response.secret)
}

/// The engine pulls private base images with the credentials of the client.
#[tokio::test]
async fn the_engine_receives_credentials_of_every_kind() {
    const ECR: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
    const KEY: &str = r#"{"type": "service_account", "client_email": "a@b", "private_key": "k"}"#;
    let folder = tempfile::tempdir().expect("a folder");
    let stored = format!(
        r#"{{"auths": {{"quay.io": {{"auth": "{}"}}, "azurecr.io": {{"identitytoken": "refresh"}}}}}}"#,
        STANDARD.encode("stored:word")
    );
    fs_err::write(folder.path().join("config.json"), stored).expect("a file");
    let api = EcrApi::start(9 * 60).await;
    let hub = STANDARD.encode("hub:pass:word");
    let nvidia = STANDARD.encode("$oauthtoken:key");
    let mut sources = api.sources(
        ECR,
        &[
            ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("DOCKER_REGISTRY_https://index.docker.io/v1/", &hub),
            ("DOCKER_REGISTRY_NVCR_IO", &nvidia),
            ("gcp-service-account", KEY),
            ("TOKEN", "ya29.token"),
        ],
    );
    let variable = "gcp-service-account".to_owned();
    let key = AuthMethod::GcpServiceAccountJson { variable };
    sources.methods.insert("europe-docker.pkg.dev".to_owned(), key);
    let token = AuthMethod::AccessToken { username: None, variable: "TOKEN".to_owned() };
    sources.methods.insert("gcr.io".to_owned(), token);
    sources.docker = DockerConfig { folder: Some(folder.path().to_owned()), search_path: None };
    let auth = Auth(Arc::new(Credentials::load(sources).expect("credentials")));
    for (host, username, secret) in [
        ("registry-1.docker.io", "hub", "pass:word"),
        ("nvcr.io", "$oauthtoken", "key"),
        ("europe-docker.pkg.dev", "_json_key", KEY),
        ("gcr.io", "oauth2accesstoken", "ya29.token"),
        ("quay.io", "stored", "word"),
        ("azurecr.io", "", "refresh"),
        ("unknown.io", "", ""),
        (ECR, "AWS", "ecr-1"),
        // A password that expires within ten minutes is renewed before the engine receives it.
        (ECR, "AWS", "ecr-2"),
    ] {
        assert_eq!(
            credentials(&auth, host).await,
            (username.to_owned(), secret.to_owned()),
            "{host}"
        );
    }
}

#[tokio::test]
async fn the_engine_receives_the_error_for_invalid_credentials() {
    let variables = [("DOCKER_REGISTRY_ghcr.io".to_owned(), Some("canary-3c:".into()))];
    let sources = crate::registry::CredentialSources {
        variables: variables.into_iter().collect(),
        ..Default::default()
    };
    let auth = Auth(Arc::new(Credentials::load(sources).expect("credentials")));
    let request = Request::new(CredentialsRequest { host: "ghcr.io".to_owned() });
    let status = auth.credentials(request).await.expect_err("an error");
    let text = format!("{status:?}");
    assert!(text.contains("`DOCKER_REGISTRY_ghcr.io` is not base64"), "{text}");
    assert!(!text.contains("canary-3c"), "{text}");
}

#[tokio::test]
async fn the_engine_receives_no_credentials_for_plain_http_by_default() {
    let host = "registry.example:5000";
    let variable = (format!("DOCKER_REGISTRY_{host}"), Some(STANDARD.encode("me:canary").into()));
    let sources = |allowed: &[&str]| crate::registry::CredentialSources {
        variables: [variable.clone()].into_iter().collect(),
        plain_http: crate::registry::PlainHttp {
            hosts: [host.to_owned()].into(),
            allowed: allowed.iter().map(|host| (*host).to_owned()).collect(),
        },
        ..Default::default()
    };
    let auth = |allowed| Auth(Arc::new(Credentials::load(sources(allowed)).expect("credentials")));
    let request = Request::new(CredentialsRequest { host: host.to_owned() });
    let status = auth(&[]).credentials(request).await.expect_err("an error");
    assert!(status.message().contains("are not sent over plain HTTP"), "{status:?}");
    assert_eq!(credentials(&auth(&[host]), host).await, ("me".to_owned(), "canary".to_owned()));
}
