//! `[registries."host"]`: connection settings and credentials of registries. The file contains the
//! names of environment variables, never secrets.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use regex_lite::Regex;
use schemars::JsonSchema;
use serde::Deserialize;

use super::checker::Checker;
use super::diagnostic::quoted_list;
use super::document::tables;
use super::safe;
use super::secrets;
use super::spanned::{Span, Spanned};
use crate::image::Repository;

const MAX_CONCURRENCY: u16 = 256;

/// The default variable of a service account's key.
const GCP_SERVICE_ACCOUNT: &str = "gcp-service-account";

/// The host of Docker Hub and its other names.
const DOCKER_HUB: &str = "docker.io";
const DOCKER_HUB_SPELLINGS: [&str; 3] =
    ["index.docker.io", "registry-1.docker.io", "https://index.docker.io/v1/"];

/// `[registries."host"]`: connection settings and credentials of a registry.
///
/// A key that ends in `secret_name` is the name of an environment variable. It is also looked up in
/// the spelling of shells: `gcp-service-account` as `GCP_SERVICE_ACCOUNT`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct RegistryTable {
    /// The source of the credentials. Default: the environment variable `DOCKER_REGISTRY_<host>`,
    /// or Docker's configuration.
    pub auth_method: Option<Spanned<AuthMethodName>>,
    /// For `GCP_SERVICE_ACCOUNT_JSON` (default: `gcp-service-account`), `ACCESS_TOKEN` and
    /// `REGISTRY_SECRET`: the variable that contains the secret.
    pub secret_name: Option<Spanned<String>>,
    /// For `BASIC` and `ACCESS_TOKEN`: the user. Default for `ACCESS_TOKEN`: `oauth2accesstoken`.
    pub username: Option<Spanned<String>>,
    /// For `BASIC`: the variable that contains the password.
    pub password_secret_name: Option<Spanned<String>>,
    /// For `AWS_IAM`: the variable that contains the access key id. Default: `aws_access_key_id`.
    pub aws_access_key_id_secret_name: Option<Spanned<String>>,
    /// For `AWS_IAM`: the variable that contains the secret access key. Default:
    /// `aws_secret_access_key`.
    pub aws_secret_access_key_secret_name: Option<Spanned<String>>,
    /// For `AWS_IAM`: the variable that contains the session token of temporary keys. Default:
    /// `aws_session_token`.
    pub aws_session_token_secret_name: Option<Spanned<String>>,
    /// For `AWS_IAM`: the region. Default: the region in the host.
    pub aws_region: Option<Spanned<String>>,
    /// For `AWS_OIDC`: the ARN of the role to assume.
    pub aws_oidc_role_arn: Option<Spanned<String>>,
    /// For `AWS_OIDC`: the region. Default: the region in the host.
    pub aws_oidc_region: Option<Spanned<String>>,
    /// For `GCP_OIDC`: the e-mail address of the service account.
    pub gcp_oidc_service_account: Option<Spanned<String>>,
    /// For `GCP_OIDC`: the workload identity provider, as
    /// `projects/<number>/locations/global/workloadIdentityPools/<pool>/providers/<provider>`.
    pub gcp_oidc_workload_id_provider: Option<Spanned<String>>,
    /// Whether to connect without TLS. Default: `true` for registries on this machine, `false` for
    /// all others.
    pub plain_http: Option<bool>,
    /// Whether the registry's tags are immutable: an existing tag cannot move to another image. Default: `false`.
    pub immutable_tags: Option<bool>,
    /// The maximum number of concurrent requests, from 1 to 256. Default: 8.
    #[schemars(range(min = 1, max = 256))]
    pub concurrency: Option<Spanned<u16>>,
    /// The maximum number of requests per second. Default: no limit.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub requests_per_second: Option<Spanned<f64>>,
}

/// The tables of all registries.
pub type Registries = IndexMap<Spanned<String>, Spanned<RegistryTable>>;

/// How basegen authenticates to a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AuthMethodName {
    /// A password that Amazon ECR issues for the keys of an IAM user.
    AwsIam,
    /// A password that Amazon ECR issues for the identity token of a job of GitHub Actions, or of a pod.
    AwsOidc,
    /// The JSON key of a service account, for Google Artifact Registry and Container Registry.
    GcpServiceAccountJson,
    /// An access token that Google issues for the identity token of a job of GitHub Actions.
    GcpOidc,
    /// An access token, for Google's registries unless `username` names another user.
    AccessToken,
    /// A user and a password.
    Basic,
    /// Base64 of `user:password`.
    RegistrySecret,
}

/// How basegen authenticates to a registry. Holds the names of environment variables, never their
/// values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthMethod {
    /// Amazon ECR issues a password for the keys of an IAM user.
    AwsIam {
        access_key_id: String,
        secret_access_key: String,
        /// Only temporary keys have one.
        session_token: String,
        /// Required where the registry's host does not contain it.
        region: Option<String>,
    },
    /// Amazon ECR issues a password for the role that an identity token (OIDC) can assume.
    AwsOidc {
        role_arn: String,
        region: Option<String>,
    },
    /// Google issues an access token of the service account for an identity token (OIDC).
    GcpOidc {
        service_account: String,
        provider: String,
    },
    /// The password is the JSON key of a Google service account.
    GcpServiceAccountJson {
        variable: String,
    },
    /// The password is an access token, by default one of Google's.
    AccessToken {
        username: Option<String>,
        variable: String,
    },
    Basic {
        username: String,
        variable: String,
    },
    /// The variable holds base64 of `user:password`.
    RegistrySecret {
        variable: String,
    },
}

/// The connection settings and the authentication of a registry.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RegistrySettings {
    pub auth: Option<Spanned<AuthMethod>>,
    /// The variables that contain its credentials, with their locations in the file.
    pub variables: Vec<(String, Span)>,
    /// Whether to connect without TLS, if the matrix sets it.
    pub plain_http: Option<bool>,
    pub immutable_tags: bool,
    /// The maximum number of concurrent requests.
    pub concurrency: Option<usize>,
    /// The maximum number of requests per second.
    pub requests_per_second: Option<f64>,
}

tables!(RegistryTable);

impl AuthMethodName {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::AwsIam => "AWS_IAM",
            Self::AwsOidc => "AWS_OIDC",
            Self::GcpOidc => "GCP_OIDC",
            Self::GcpServiceAccountJson => "GCP_SERVICE_ACCOUNT_JSON",
            Self::AccessToken => "ACCESS_TOKEN",
            Self::Basic => "BASIC",
            Self::RegistrySecret => "REGISTRY_SECRET",
        }
    }

    /// Returns the keys of the table that configure this method.
    pub(crate) fn keys(self) -> &'static [&'static str] {
        match self {
            Self::AwsIam => &[
                "aws_access_key_id_secret_name",
                "aws_secret_access_key_secret_name",
                "aws_session_token_secret_name",
                "aws_region",
            ],
            Self::AwsOidc => &["aws_oidc_role_arn", "aws_oidc_region"],
            Self::GcpOidc => &["gcp_oidc_service_account", "gcp_oidc_workload_id_provider"],
            Self::GcpServiceAccountJson | Self::RegistrySecret => &["secret_name"],
            Self::AccessToken => &["secret_name", "username"],
            Self::Basic => &["username", "password_secret_name"],
        }
    }

    /// Returns the variable that `key` names if the table does not set it.
    pub(crate) fn default_variable(self, key: &str) -> Option<&str> {
        match (self, key) {
            (Self::GcpServiceAccountJson, "secret_name") => Some(GCP_SERVICE_ACCOUNT),
            (Self::AwsIam, _) => key.strip_suffix("_secret_name"),
            _ => None,
        }
    }
}

impl AuthMethod {
    fn file_name(&self) -> AuthMethodName {
        match self {
            Self::AwsIam { .. } => AuthMethodName::AwsIam,
            Self::AwsOidc { .. } => AuthMethodName::AwsOidc,
            Self::GcpOidc { .. } => AuthMethodName::GcpOidc,
            Self::GcpServiceAccountJson { .. } => AuthMethodName::GcpServiceAccountJson,
            Self::AccessToken { .. } => AuthMethodName::AccessToken,
            Self::Basic { .. } => AuthMethodName::Basic,
            Self::RegistrySecret { .. } => AuthMethodName::RegistrySecret,
        }
    }

    /// Returns the name as `auth_method` has it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.file_name().name()
    }
}

impl RegistryTable {
    /// Returns the keys that depend on `auth_method`, with their values.
    fn credentials(&self) -> [(&'static str, Option<&Spanned<String>>); 11] {
        [
            ("secret_name", self.secret_name.as_ref()),
            ("username", self.username.as_ref()),
            ("password_secret_name", self.password_secret_name.as_ref()),
            ("aws_access_key_id_secret_name", self.aws_access_key_id_secret_name.as_ref()),
            ("aws_secret_access_key_secret_name", self.aws_secret_access_key_secret_name.as_ref()),
            ("aws_session_token_secret_name", self.aws_session_token_secret_name.as_ref()),
            ("aws_region", self.aws_region.as_ref()),
            ("aws_oidc_role_arn", self.aws_oidc_role_arn.as_ref()),
            ("aws_oidc_region", self.aws_oidc_region.as_ref()),
            ("gcp_oidc_service_account", self.gcp_oidc_service_account.as_ref()),
            ("gcp_oidc_workload_id_provider", self.gcp_oidc_workload_id_provider.as_ref()),
        ]
    }

    /// Returns the variables that contain credentials. A default variable has the location of `auth_method`.
    fn variables(&self) -> Vec<(String, Span)> {
        let Some(method) = &self.auth_method else { return Vec::new() };
        let keys = method.get_ref().keys().iter().filter(|key| key.ends_with("secret_name"));
        let variables = keys.filter_map(|key| {
            let (_, name) = self.credentials().into_iter().find(|(name, _)| name == key)?;
            match name {
                Some(name) => Some((name.get_ref().clone(), name.span())),
                None => Some((method.get_ref().default_variable(key)?.to_owned(), method.span())),
            }
        });
        variables.collect()
    }
}

impl Checker<'_> {
    pub(super) fn registries(&mut self, tables: &Registries) -> BTreeMap<String, RegistrySettings> {
        let mut registries = BTreeMap::new();
        let mut spans: BTreeMap<String, Span> = BTreeMap::new();
        for (host, table) in tables {
            let name = self.registry_host(host);
            if let Some(first) = spans.insert(name.clone(), host.span()) {
                let message = format!("the registry `{name}` is listed twice");
                self.report(host.span(), message, "duplicate").add_related(first, "first here");
            }
            let table = table.get_ref();
            self.check_variables(table);
            let method = self.auth(table);
            let spanned = |method| Some(Spanned::new(table.auth_method.as_ref()?.span(), method));
            let auth = method.and_then(spanned);
            self.check_limits(table);
            let settings = RegistrySettings {
                auth,
                variables: table.variables(),
                plain_http: table.plain_http,
                immutable_tags: table.immutable_tags.unwrap_or_default(),
                concurrency: table.concurrency.as_ref().map(|value| usize::from(*value.get_ref())),
                requests_per_second: table.requests_per_second.as_ref().map(|rate| *rate.get_ref()),
            };
            registries.insert(name, settings);
        }
        registries
    }

    fn registry_host(&mut self, host: &Spanned<String>) -> String {
        let name = host.get_ref().as_str();
        if let Some(host) = registry_host(name) {
            return host.to_owned();
        }
        let message = format!("`{}` is not a registry", name.escape_debug());
        let label = "expected `host` or `host:port`, such as `ghcr.io`";
        let help = name.contains("://").then(|| "remove the scheme and the path".to_owned());
        self.report(host.span(), message, label).help = help;
        name.to_owned()
    }

    /// Reports values that look like a secret where the name of one is expected, without showing them.
    fn check_variables(&mut self, table: &RegistryTable) {
        for (key, value) in table.credentials() {
            let Some(value) = value else { continue };
            if may_be_secret(key, value) {
                let help = if key.ends_with("secret_name") {
                    "put the secret into an environment variable, and write its name here"
                } else {
                    "never write a secret into this file"
                };
                let message = format!("`{key}` looks like a secret itself");
                let error = self.report(value.span(), message, "not shown here");
                error.help = Some(help.to_owned());
                error.is_concealed = true;
            } else if let Some(label) = refuse_credential(key, value) {
                let message = if key.ends_with("secret_name") {
                    format!("`{key}` is not the name of an environment variable")
                } else {
                    format!("invalid `{key}`")
                };
                // It may be a secret of an unknown kind.
                self.report(value.span(), message, label).is_concealed = true;
            }
        }
    }

    fn auth(&mut self, table: &RegistryTable) -> Option<AuthMethod> {
        let method = table.auth_method.as_ref();
        let known = method.map_or(&[][..], |method| method.get_ref().keys());
        for (key, value) in table.credentials() {
            let Some(value) = value.filter(|_| !known.contains(&key)) else { continue };
            let (message, label) = match method {
                None => (
                    format!("`{key}` has no effect without `auth_method`"),
                    "add `auth_method`".to_owned(),
                ),
                Some(method) => (
                    format!("`{key}` has no effect with `{}`", method.name()),
                    format!("its keys are {}", quoted_list(known)),
                ),
            };
            self.report(value.span(), message, label).is_concealed = true;
        }
        let method = method?;
        let set = |key: &str| {
            let mut keys = table.credentials().into_iter();
            keys.find(|(name, _)| *name == key)?.1.map(|value| value.to_string())
        };
        let mut value = |key: &str| {
            let value =
                set(key).or_else(|| method.get_ref().default_variable(key).map(str::to_owned));
            if value.is_none() {
                let message = format!("`{}` needs `{key}`", method.name());
                self.report(method.span(), message, format!("add `{key} = \"…\"`"));
            }
            value.unwrap_or_default()
        };
        Some(match method.get_ref() {
            AuthMethodName::AwsIam => AuthMethod::AwsIam {
                access_key_id: value("aws_access_key_id_secret_name"),
                secret_access_key: value("aws_secret_access_key_secret_name"),
                session_token: value("aws_session_token_secret_name"),
                region: set("aws_region"),
            },
            AuthMethodName::AwsOidc => AuthMethod::AwsOidc {
                role_arn: value("aws_oidc_role_arn"),
                region: set("aws_oidc_region"),
            },
            AuthMethodName::GcpOidc => AuthMethod::GcpOidc {
                service_account: value("gcp_oidc_service_account"),
                provider: value("gcp_oidc_workload_id_provider"),
            },
            AuthMethodName::GcpServiceAccountJson => {
                AuthMethod::GcpServiceAccountJson { variable: value("secret_name") }
            }
            AuthMethodName::AccessToken => AuthMethod::AccessToken {
                username: set("username"),
                variable: value("secret_name"),
            },
            AuthMethodName::Basic => AuthMethod::Basic {
                username: value("username"),
                variable: value("password_secret_name"),
            },
            AuthMethodName::RegistrySecret => {
                AuthMethod::RegistrySecret { variable: value("secret_name") }
            }
        })
    }

    fn check_limits(&mut self, table: &RegistryTable) {
        if let Some(concurrency) = &table.concurrency
            && !(1..=MAX_CONCURRENCY).contains(concurrency.get_ref())
        {
            let label = format!("expected 1 to {MAX_CONCURRENCY}");
            self.report(concurrency.span(), "`concurrency` is out of range", label);
        }
        if let Some(rate) = &table.requests_per_second
            && !(rate.is_finite() && **rate > 0.0)
        {
            let label = "expected a number above 0, such as `20` or `0.5`";
            self.report(rate.span(), "`requests_per_second` is out of range", label);
        }
    }
}

/// Returns the host of the registry `name`, if valid. Docker Hub has several names.
pub(crate) fn registry_host(name: &str) -> Option<&str> {
    if DOCKER_HUB_SPELLINGS.contains(&name) {
        return Some(DOCKER_HUB);
    }
    let is_named = name.contains(['.', ':']) || name == "localhost";
    (is_named && Repository::new(name, "a").is_ok()).then_some(name)
}

/// Returns why `value` is not valid for one of the [`AuthMethodName::keys`], if so.
pub(crate) fn refuse_credential(key: &str, value: &str) -> Option<&'static str> {
    if may_be_secret(key, value) {
        return Some("it looks like a secret itself");
    }
    let (form, expected) = match key {
        "username" => {
            ("[^:]+", "a user name must not be empty, or contain colons or invisible characters")
        }
        "aws_region" | "aws_oidc_region" => {
            ("[a-z0-9-]{1,32}", "expected a region such as `eu-west-1`")
        }
        "aws_oidc_role_arn" => (
            r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+",
            "such as `arn:aws:iam::123456789012:role/publisher`",
        ),
        "gcp_oidc_service_account" => (
            r"[A-Za-z0-9.-]+@[A-Za-z0-9.-]+\.gserviceaccount\.com",
            "such as `publisher@project.iam.gserviceaccount.com`",
        ),
        "gcp_oidc_workload_id_provider" => (
            "projects/[A-Za-z0-9-]+/locations/[A-Za-z0-9-]+/workloadIdentityPools/[A-Za-z0-9-]+/providers/[A-Za-z0-9-]+",
            "such as `projects/123/locations/global/workloadIdentityPools/pool/providers/github`",
        ),
        // Names of platforms contain dashes and dots, and those after a registry the characters of a URL.
        _ => (
            r"[A-Za-z_][\w.-]{0,127}|DOCKER_REGISTRY_[\w.:/-]{0,112}",
            "expected letters, digits, `_`, `-` and `.`, not beginning with a digit",
        ),
    };
    let form = Regex::new(&format!("^(?:{form})$")).expect("each form is a regular expression");
    let is_valid = form.is_match(value) && !value.contains(safe::is_invisible);
    (!is_valid).then_some(expected)
}

/// Returns true if `value` looks like a secret. The keys of OIDC have forms that no secret has.
fn may_be_secret(key: &str, value: &str) -> bool {
    !key.contains("_oidc_") && secrets::looks_like_secret(value)
}

#[cfg(test)]
mod tests;
