//! A registry for every source of credentials: those that the platforms document, and Docker's own.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use basegen::matrix::AuthMethod;
use basegen::registry::{
    CredentialSources, DockerConfig, Network, PlainHttp, Proxies, VARIABLE_PREFIX,
};

use crate::harness::auth::proxy::{AuthScheme, ProtectedRegistry, RegistryProxy};

/// A secret that no output may contain.
pub(crate) const CANARY: &str = "canary-e4d1";

pub(crate) const ECR: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";

/// The id of a key without an expiration date.
pub(crate) const KEY_ID: &str = "AKIAIOSFODNN7EXAMPLE";

const GOOGLE: &str = "europe-docker.pkg.dev";

/// Returns the key of a Google service account.
fn service_account() -> String {
    format!(
        "{{\n  \"type\": \"service_account\",\n  \"private_key\": \"{CANARY}:\\n\",\n  \
         \"client_email\": \"robot@acme.iam.gserviceaccount.com\"\n}}"
    )
}

/// The variables, methods and files that credentials are read from.
#[derive(Default)]
pub(crate) struct CredentialInputs {
    variables: Vec<(String, String)>,
    methods: Vec<(&'static str, AuthMethod)>,
    config: Option<String>,
    helper: Option<String>,
}

impl CredentialInputs {
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn method(mut self, host: &'static str, method: AuthMethod) -> Self {
        self.methods.push((host, method));
        self
    }

    /// Returns the sources, with Docker's configuration in `folder`.
    pub(crate) fn sources(&self, proxy: &RegistryProxy, folder: &Path) -> CredentialSources {
        if let Some(config) = &self.config {
            fs_err::write(folder.join("config.json"), config).expect("a file");
        }
        if let Some(script) = &self.helper {
            use std::os::unix::fs::PermissionsExt as _;
            let path = folder.join("docker-credential-proxy");
            fs_err::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a file");
            let mode = std::fs::Permissions::from_mode(0o755);
            fs_err::set_permissions(&path, mode).expect("a mode");
        }
        let endpoint = "http://api.ecr.eu-west-1.amazonaws.com".to_owned();
        let endpoint = ("AWS_ENDPOINT_URL_ECR".to_owned(), endpoint);
        let variables = self.variables.iter().cloned().chain([endpoint]);
        let methods = self.methods.iter().cloned();
        CredentialSources {
            methods: methods.map(|(host, method)| (host.to_owned(), method)).collect(),
            variables: variables.map(|(name, value)| (name, Some(value.into()))).collect(),
            docker: DockerConfig {
                folder: Some(folder.to_owned()),
                search_path: Some(format!("{}:/usr/bin:/bin", folder.display()).into()),
            },
            network: Network { proxies: proxies(proxy), certificates: Vec::new() },
            plain_http: PlainHttp {
                allowed: ["api.ecr.eu-west-1.amazonaws.com".to_owned()].into(),
                ..PlainHttp::default()
            },
        }
    }
}

pub(crate) fn proxies(proxy: &RegistryProxy) -> Proxies {
    Proxies { http: Some(proxy.url.clone()), ..Proxies::default() }
}

/// A registry, and inputs that contain its credentials.
pub(crate) struct CredentialCase {
    /// The registry's host in image references.
    pub(crate) host: &'static str,
    /// The host of its API.
    pub(crate) api: &'static str,
    pub(crate) registry: ProtectedRegistry,
    pub(crate) inputs: CredentialInputs,
}

pub(crate) fn credential_cases() -> Vec<CredentialCase> {
    let cases = variable_cases().into_iter().chain(method_cases()).chain(docker_cases());
    let case = |(host, registry, inputs)| {
        let api = if host == "docker.io" { "registry-1.docker.io" } else { host };
        CredentialCase { host, api, registry, inputs }
    };
    cases.map(case).collect()
}

type Case = (&'static str, ProtectedRegistry, CredentialInputs);

/// Returns a registry with a token server.
fn token_registry(user: &'static str, secret: &str) -> ProtectedRegistry {
    ProtectedRegistry::new(AuthScheme::Token, user, secret)
}

fn password_with_colons() -> String {
    format!("{CANARY}:with:colons")
}

/// Returns the cases of `DOCKER_REGISTRY_<host>`, in each of its spellings.
fn variable_cases() -> Vec<Case> {
    let case = |host, suffix: &str, registry: ProtectedRegistry, end: &str| {
        let pair = format!("{}:{}{end}", registry.user, registry.secret);
        let inputs = CredentialInputs::default();
        let name = format!("{VARIABLE_PREFIX}{suffix}");
        (host, registry, inputs.variable(&name, &STANDARD.encode(pair)))
    };
    let token = format!("ya29.{CANARY}");
    let token_only =
        CredentialInputs::default().variable("DOCKER_REGISTRY_gcr.io", &STANDARD.encode(&token));
    vec![
        case(
            "docker.io",
            "https://index.docker.io/v1/",
            token_registry("me", &password_with_colons()),
            "",
        ),
        case("ghcr.io", "ghcr.io", token_registry("me", CANARY), ""),
        case("ghcr.io", "GHCR_IO", token_registry("me", CANARY), "\n"),
        case("nvcr.io", "nvcr.io", token_registry("$oauthtoken", CANARY), ""),
        case(ECR, ECR, ProtectedRegistry::new(AuthScheme::Basic, "AWS", CANARY), ""),
        case(GOOGLE, GOOGLE, token_registry("oauth2accesstoken", &token), ""),
        ("gcr.io", token_registry("oauth2accesstoken", &token), token_only),
    ]
}

/// Returns the cases of the matrix's `auth_method`.
fn method_cases() -> Vec<Case> {
    let key = AuthMethod::GcpServiceAccountJson { variable: "gcp-service-account".into() };
    let access = AuthMethod::AccessToken { username: None, variable: "TOKEN".into() };
    let basic = AuthMethod::Basic { username: "acme+robot".into(), variable: "PASSWORD".into() };
    let secret = AuthMethod::RegistrySecret { variable: "ACME".into() };
    let case = |host, registry: ProtectedRegistry, method, variable: &str, value: &str| {
        (host, registry, CredentialInputs::default().method(host, method).variable(variable, value))
    };
    let (json, token) = (service_account(), format!("ya29.{CANARY}"));
    let pair = STANDARD.encode(format!("me:{}", password_with_colons()));
    let json_key_registry = ProtectedRegistry::new(AuthScheme::Basic, "_json_key", &json);
    let json_line = format!("{json}\n");
    vec![
        (
            ECR,
            ProtectedRegistry::new(AuthScheme::Basic, "AWS", "none yet"),
            aws_keys().method(ECR, aws_iam()),
        ),
        case(GOOGLE, token_registry("_json_key", &json), key.clone(), "gcp-service-account", &json),
        case("eu.gcr.io", json_key_registry, key, "GCP_SERVICE_ACCOUNT", &json_line),
        case(GOOGLE, token_registry("oauth2accesstoken", &token), access, "TOKEN", &token),
        case(
            "quay.io",
            token_registry("acme+robot", &password_with_colons()),
            basic,
            "PASSWORD",
            &password_with_colons(),
        ),
        case("quay.io", token_registry("me", &password_with_colons()), secret, "ACME", &pair),
    ]
}

/// Returns the cases of Docker's configuration: stored credentials, an identity token and a credential helper.
fn docker_cases() -> Vec<Case> {
    let pair = STANDARD.encode(format!("me:{}", password_with_colons()));
    let configured =
        |config: String| CredentialInputs { config: Some(config), ..CredentialInputs::default() };
    let stored = configured(format!(r#"{{"auths": {{"quay.io": {{"auth": "{pair}"}}}}}}"#));
    let identity =
        format!(r#"{{"auths": {{"acme.azurecr.io": {{"identitytoken": "{CANARY}"}}}}}}"#);
    let script = format!(r#"cat > /dev/null; printf '{{"Username":"u","Secret":"{CANARY}"}}'"#);
    let with_helper = configured(r#"{"credHelpers": {"gcr.io": "proxy"}}"#.to_owned());
    let token = ProtectedRegistry::new(AuthScheme::IdentityToken, "", CANARY);
    vec![
        ("quay.io", token_registry("me", &password_with_colons()), stored),
        ("acme.azurecr.io", token, configured(identity)),
        (
            "gcr.io",
            token_registry("u", CANARY),
            CredentialInputs { helper: Some(script), ..with_helper },
        ),
    ]
}

pub(crate) fn aws_iam() -> AuthMethod {
    AuthMethod::AwsIam {
        access_key_id: "aws_access_key_id".to_owned(),
        secret_access_key: "aws_secret_access_key".to_owned(),
        session_token: "aws_session_token".to_owned(),
        region: None,
    }
}

/// Returns AWS keys in the variables that the platforms document.
pub(crate) fn aws_keys() -> CredentialInputs {
    let inputs = CredentialInputs::default().variable("aws_access_key_id", KEY_ID);
    inputs.variable("aws_secret_access_key", CANARY)
}
