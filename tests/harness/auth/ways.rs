//! Every way to be let in: those that the platforms document, and Docker's own.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use basegen::matrix::AuthMethod;
use basegen::registry::{
    CredentialSources, DockerConfig, Network, PlainHttp, Proxies, VARIABLE_PREFIX,
};

use crate::harness::auth::door::{Asks, Door, Registry};

/// What nothing that is shown may ever hold.
pub(crate) const CANARY: &str = "canary-e4d1";

pub(crate) const ECR: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";

/// The id of keys that do not end.
pub(crate) const KEY_ID: &str = "AKIAIOSFODNN7EXAMPLE";

const GOOGLE: &str = "europe-docker.pkg.dev";

/// The key of a service account.
fn service_account() -> String {
    format!(
        "{{\n  \"type\": \"service_account\",\n  \"private_key\": \"{CANARY}:\\n\",\n  \
         \"client_email\": \"robot@acme.iam.gserviceaccount.com\"\n}}"
    )
}

/// Where credentials are looked for.
#[derive(Default)]
pub(crate) struct Given {
    variables: Vec<(String, String)>,
    methods: Vec<(&'static str, AuthMethod)>,
    config: Option<String>,
    helper: Option<String>,
}

impl Given {
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn method(mut self, host: &'static str, method: AuthMethod) -> Self {
        self.methods.push((host, method));
        self
    }

    /// The sources, with Docker's configuration in `folder`.
    pub(crate) fn sources(&self, door: &Door, folder: &Path) -> CredentialSources {
        if let Some(config) = &self.config {
            fs_err::write(folder.join("config.json"), config).expect("a file");
        }
        if let Some(script) = &self.helper {
            use std::os::unix::fs::PermissionsExt as _;
            let path = folder.join("docker-credential-door");
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
            network: Network { proxies: proxies(door), certificates: Vec::new() },
            plain_http: PlainHttp {
                allowed: ["api.ecr.eu-west-1.amazonaws.com".to_owned()].into(),
                ..PlainHttp::default()
            },
        }
    }
}

/// The proxies that lead to the door.
pub(crate) fn proxies(door: &Door) -> Proxies {
    Proxies { http: Some(door.url.clone()), ..Proxies::default() }
}

/// One way to be let in.
pub(crate) struct Way {
    /// As references name the registry.
    pub(crate) host: &'static str,
    /// As it is reached.
    pub(crate) api: &'static str,
    pub(crate) registry: Registry,
    pub(crate) given: Given,
}

pub(crate) fn ways() -> Vec<Way> {
    let ways = by_variable().into_iter().chain(by_method()).chain(by_docker());
    let way = |(host, registry, given)| {
        let api = if host == "docker.io" { "registry-1.docker.io" } else { host };
        Way { host, api, registry, given }
    };
    ways.map(way).collect()
}

type Plain = (&'static str, Registry, Given);

/// A registry with a token server.
fn asking(user: &'static str, secret: &str) -> Registry {
    Registry::new(Asks::Token, user, secret)
}

/// A password with colons in it.
fn colons() -> String {
    format!("{CANARY}:with:colons")
}

/// `DOCKER_REGISTRY_<host>`, in each of its spellings.
fn by_variable() -> Vec<Plain> {
    let named = |host, of: &str, registry: Registry, end: &str| {
        let pair = format!("{}:{}{end}", registry.user, registry.secret);
        let given = Given::default();
        let given = given.variable(&format!("{VARIABLE_PREFIX}{of}"), &STANDARD.encode(pair));
        (host, registry, given)
    };
    let token = format!("ya29.{CANARY}");
    let lone = Given::default().variable("DOCKER_REGISTRY_gcr.io", &STANDARD.encode(&token));
    vec![
        named("docker.io", "https://index.docker.io/v1/", asking("me", &colons()), ""),
        named("ghcr.io", "ghcr.io", asking("me", CANARY), ""),
        named("ghcr.io", "GHCR_IO", asking("me", CANARY), "\n"),
        named("nvcr.io", "nvcr.io", asking("$oauthtoken", CANARY), ""),
        named(ECR, ECR, Registry::new(Asks::Basic, "AWS", CANARY), ""),
        named(GOOGLE, GOOGLE, asking("oauth2accesstoken", &token), ""),
        ("gcr.io", asking("oauth2accesstoken", &token), lone),
    ]
}

/// `auth_method` of the matrix.
fn by_method() -> Vec<Plain> {
    let key = AuthMethod::GcpServiceAccountJson { variable: "gcp-service-account".into() };
    let access = AuthMethod::AccessToken { username: None, variable: "TOKEN".into() };
    let basic = AuthMethod::Basic { username: "acme+robot".into(), variable: "PASSWORD".into() };
    let secret = AuthMethod::RegistrySecret { variable: "ACME".into() };
    let named = |host, registry: Registry, method, variable: &str, value: &str| {
        (host, registry, Given::default().method(host, method).variable(variable, value))
    };
    let (json, token) = (service_account(), format!("ya29.{CANARY}"));
    let pair = STANDARD.encode(format!("me:{}", colons()));
    let in_basic = Registry::new(Asks::Basic, "_json_key", &json);
    let lined = format!("{json}\n");
    vec![
        (ECR, Registry::new(Asks::Basic, "AWS", "none yet"), keys().method(ECR, iam())),
        named(GOOGLE, asking("_json_key", &json), key.clone(), "gcp-service-account", &json),
        named("eu.gcr.io", in_basic, key, "GCP_SERVICE_ACCOUNT", &lined),
        named(GOOGLE, asking("oauth2accesstoken", &token), access, "TOKEN", &token),
        named("quay.io", asking("acme+robot", &colons()), basic, "PASSWORD", &colons()),
        named("quay.io", asking("me", &colons()), secret, "ACME", &pair),
    ]
}

/// What Docker's configuration holds or leads to.
fn by_docker() -> Vec<Plain> {
    let pair = STANDARD.encode(format!("me:{}", colons()));
    let configured = |config: String| Given { config: Some(config), ..Given::default() };
    let stored = configured(format!(r#"{{"auths": {{"quay.io": {{"auth": "{pair}"}}}}}}"#));
    let identity =
        format!(r#"{{"auths": {{"acme.azurecr.io": {{"identitytoken": "{CANARY}"}}}}}}"#);
    let script = format!(r#"cat > /dev/null; printf '{{"Username":"u","Secret":"{CANARY}"}}'"#);
    let helped = configured(r#"{"credHelpers": {"gcr.io": "door"}}"#.to_owned());
    let token = Registry::new(Asks::IdentityToken, "", CANARY);
    vec![
        ("quay.io", asking("me", &colons()), stored),
        ("acme.azurecr.io", token, configured(identity)),
        ("gcr.io", asking("u", CANARY), Given { helper: Some(script), ..helped }),
    ]
}

pub(crate) fn iam() -> AuthMethod {
    AuthMethod::AwsIam {
        access_key_id: "aws_access_key_id".to_owned(),
        secret_access_key: "aws_secret_access_key".to_owned(),
        session_token: "aws_session_token".to_owned(),
        region: None,
    }
}

/// Keys of AWS under the names that the platforms give them.
pub(crate) fn keys() -> Given {
    let given = Given::default().variable("aws_access_key_id", KEY_ID);
    given.variable("aws_secret_access_key", CANARY)
}
