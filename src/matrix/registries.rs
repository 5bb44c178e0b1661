//! `[registries."host"]`: how a registry is reached, and who we are to it. Names of variables
//! stand here, never what is in them.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_spanned::Spanned;

use super::diagnostic::Diagnostic;
use super::document::tables;
use super::safe;
use super::schema::Span;
use super::secrets;
use super::validate::{Checker, quoted_list};
use crate::image::Repository;

/// The most requests that one registry may be sent at a time.
const MAX_CONCURRENCY: u16 = 256;

/// The variable of a service account's key where no other is named.
const GCP_SERVICE_ACCOUNT: &str = "gcp-service-account";

/// The host of Docker Hub, and its other spellings.
const DOCKER_HUB: &str = "docker.io";
const DOCKER_HUB_SPELLINGS: [&str; 3] =
    ["index.docker.io", "registry-1.docker.io", "https://index.docker.io/v1/"];

/// `[registries."host"]`: how a registry is reached, and who we are to it.
///
/// A key that ends in `secret_name` names an environment variable, which is also looked for in
/// the spelling that shells take: `gcp-service-account` as `GCP_SERVICE_ACCOUNT`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct RegistryTable {
    /// Where the credentials come from. Without it: from the variable `DOCKER_REGISTRY_<host>`,
    /// or from Docker's configuration.
    #[schemars(with = "Option<AuthMethodName>")]
    pub auth_method: Option<Spanned<AuthMethodName>>,
    /// For `GCP_SERVICE_ACCOUNT_JSON` (`gcp-service-account` where there is none),
    /// `ACCESS_TOKEN` and `REGISTRY_SECRET`: the variable that holds it.
    #[schemars(with = "Option<String>")]
    pub secret_name: Option<Spanned<String>>,
    /// For `BASIC` and `ACCESS_TOKEN`: the user; for a token `oauth2accesstoken` where there is none.
    #[schemars(with = "Option<String>")]
    pub username: Option<Spanned<String>>,
    /// For `BASIC`: the variable that holds the password.
    #[schemars(with = "Option<String>")]
    pub password_secret_name: Option<Spanned<String>>,
    /// For `AWS_IAM`: the variable of the access key's id, `aws_access_key_id` where there is none.
    #[schemars(with = "Option<String>")]
    pub aws_access_key_id_secret_name: Option<Spanned<String>>,
    /// For `AWS_IAM`: the variable of the secret access key, `aws_secret_access_key` where
    /// there is none.
    #[schemars(with = "Option<String>")]
    pub aws_secret_access_key_secret_name: Option<Spanned<String>>,
    /// For `AWS_IAM`: the variable of the token that temporary keys have, `aws_session_token`
    /// where there is none.
    #[schemars(with = "Option<String>")]
    pub aws_session_token_secret_name: Option<Spanned<String>>,
    /// For `AWS_IAM`: the region, where the host does not tell it.
    #[schemars(with = "Option<String>")]
    pub aws_region: Option<Spanned<String>>,
    /// Whether the registry is spoken to without TLS; where nothing is said, those on this
    /// machine alone are.
    pub plain_http: Option<bool>,
    /// Whether its tags are immutable: a tag that exists cannot move to another image.
    pub immutable_tags: Option<bool>,
    /// How many requests it is sent at a time; 8 where there is none.
    #[schemars(with = "Option<u16>", range(min = 1, max = 256))]
    pub concurrency: Option<Spanned<u16>>,
    /// How many requests it is sent in a second at the most.
    #[schemars(with = "Option<f64>", extend("exclusiveMinimum" = 0))]
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
    /// The JSON key of a service account, for Google Artifact Registry and Container Registry.
    GcpServiceAccountJson,
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

/// How a registry is reached, and who we are to it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RegistrySettings {
    /// Where its credentials come from, if the matrix says so.
    pub auth: Option<AuthMethod>,
    /// The variables that its credentials come from, each with its place in the file.
    pub variables: Vec<(String, Span)>,
    /// Whether it is spoken to without TLS.
    pub plain_http: Option<bool>,
    /// Whether its tags are immutable.
    pub immutable_tags: bool,
    /// How many requests it is sent at a time.
    pub concurrency: Option<usize>,
    /// How many requests it is sent in a second.
    pub requests_per_second: Option<f64>,
}

tables!(RegistryTable);

impl AuthMethodName {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::AwsIam => "AWS_IAM",
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
            Self::GcpServiceAccountJson | Self::RegistrySecret => &["secret_name"],
            Self::AccessToken => &["secret_name", "username"],
            Self::Basic => &["username", "password_secret_name"],
        }
    }
}

impl AuthMethod {
    fn file_name(&self) -> AuthMethodName {
        match self {
            Self::AwsIam { .. } => AuthMethodName::AwsIam,
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
    /// The keys that only some methods know, with what they are set to.
    fn credentials(&self) -> [(&'static str, Option<&Spanned<String>>); 7] {
        [
            ("secret_name", self.secret_name.as_ref()),
            ("username", self.username.as_ref()),
            ("password_secret_name", self.password_secret_name.as_ref()),
            ("aws_access_key_id_secret_name", self.aws_access_key_id_secret_name.as_ref()),
            ("aws_secret_access_key_secret_name", self.aws_secret_access_key_secret_name.as_ref()),
            ("aws_session_token_secret_name", self.aws_session_token_secret_name.as_ref()),
            ("aws_region", self.aws_region.as_ref()),
        ]
    }
}

impl RegistryTable {
    /// The variables that credentials come from. One that no key names has the place of `auth_method`.
    fn variables(&self) -> Vec<(String, Span)> {
        let Some(method) = &self.auth_method else { return Vec::new() };
        let keys = method.get_ref().keys().iter().filter(|key| key.ends_with("secret_name"));
        let variables = keys.filter_map(|key| {
            let (_, named) = self.credentials().into_iter().find(|(name, _)| name == key)?;
            match named {
                Some(name) => Some((name.get_ref().clone(), name.span())),
                None => Some((usual_variable(*method.get_ref(), key)?, method.span())),
            }
        });
        variables.collect()
    }
}

/// Returns the variable that `key` of `method` names if the table does not set it.
fn usual_variable(method: AuthMethodName, key: &str) -> Option<String> {
    let variable = match (method, key) {
        (AuthMethodName::GcpServiceAccountJson, "secret_name") => GCP_SERVICE_ACCOUNT,
        (AuthMethodName::AwsIam, _) => key.strip_suffix("_secret_name")?,
        _ => return None,
    };
    Some(variable.to_owned())
}

fn text(value: Option<&Spanned<String>>) -> Option<String> {
    value.map(|value| value.get_ref().clone())
}

impl Checker<'_> {
    /// The `[registries]`, by host.
    pub(super) fn registries(&mut self, tables: &Registries) -> BTreeMap<String, RegistrySettings> {
        let mut registries = BTreeMap::new();
        let mut spans: BTreeMap<String, Span> = BTreeMap::new();
        for (host, table) in tables {
            let name = self.registry_host(host);
            if let Some(first) = spans.insert(name.clone(), host.span()) {
                let message = format!("the registry `{name}` stands here twice");
                let diagnostic = Diagnostic::new(host.span(), message, "here again");
                self.refuse(diagnostic.related(first, "first here"));
            }
            let table = table.get_ref();
            self.check_variables(table);
            let auth = self.auth(table);
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
        let help = name.contains("://").then(|| "without `https://` and the path".to_owned());
        self.refuse(Diagnostic::new(host.span(), message, label).maybe_help(help));
        name.to_owned()
    }

    /// Whatever looks like a secret where the name of one should stand is refused, and not shown.
    fn check_variables(&mut self, table: &RegistryTable) {
        for (key, value) in table.credentials() {
            let Some(value) = value else { continue };
            if secrets::looks_like_secret(value.get_ref()) {
                let message = format!("`{key}` looks like a secret itself");
                let diagnostic = Diagnostic::new(value.span(), message, "not shown here")
                    .conceal()
                    .help(match key.strip_suffix("secret_name") {
                        Some(_) => "put the secret into an environment variable, and its name here",
                        None => "this file is no place for a secret",
                    });
                self.refuse(diagnostic);
                continue;
            }
            if let Some(label) = refuse_credential(key, value.get_ref()) {
                let message = match key.ends_with("secret_name") {
                    true => format!("`{key}` is not the name of a variable"),
                    false => format!("`{key}` is refused"),
                };
                // It may be a secret that nobody knows the look of.
                self.refuse(Diagnostic::new(value.span(), message, label).conceal());
            }
        }
    }

    fn auth(&mut self, table: &RegistryTable) -> Option<AuthMethod> {
        let method = table.auth_method.as_ref();
        let known = method.map_or(&[][..], |method| method.get_ref().keys());
        for (key, value) in table.credentials() {
            let Some(value) = value.filter(|_| !known.contains(&key)) else { continue };
            let diagnostic = match method {
                None => Diagnostic::new(
                    value.span(),
                    format!("`{key}` is of no use without `auth_method`"),
                    "which method is it for?",
                ),
                Some(method) => Diagnostic::new(
                    value.span(),
                    format!("`{key}` is of no use to `{}`", method.get_ref().name()),
                    format!("its keys are {}", quoted_list(known)),
                ),
            };
            self.refuse(diagnostic.conceal());
        }
        let method = method?;
        let set = |key: &str| {
            let keys = table.credentials().into_iter();
            keys.filter(|(name, _)| *name == key).find_map(|(_, value)| text(value))
        };
        let mut value = |key: &str| {
            let value = set(key).or_else(|| usual_variable(*method.get_ref(), key));
            if value.is_none() {
                let message = format!("`{}` needs `{key}`", method.get_ref().name());
                let label = format!("add `{key} = \"…\"`");
                self.refuse(Diagnostic::new(method.span(), message, label));
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
            let label = format!("1 to {MAX_CONCURRENCY}");
            self.refuse(Diagnostic::new(
                concurrency.span(),
                "`concurrency` is out of range",
                label,
            ));
        }
        if let Some(rate) = &table.requests_per_second
            && !(rate.get_ref().is_finite() && *rate.get_ref() > 0.0)
        {
            let label = "more than 0, such as `20` or `0.5`";
            self.refuse(Diagnostic::new(rate.span(), "`requests_per_second` is no rate", label));
        }
    }
}

/// The host of the registry that `name` is, if it is one: Docker Hub has several names.
pub(crate) fn registry_host(name: &str) -> Option<&str> {
    if DOCKER_HUB_SPELLINGS.contains(&name) {
        return Some(DOCKER_HUB);
    }
    let is_named = name.contains(['.', ':']) || name == "localhost";
    (is_named && Repository::new(name, "a").is_ok()).then_some(name)
}

/// Why `value` may not be what one of the [`AuthMethodName::keys`] is set to, if it may not.
pub(crate) fn refuse_credential(key: &str, value: &str) -> Option<&'static str> {
    match key {
        _ if secrets::looks_like_secret(value) => Some("it looks like a secret itself"),
        "username" => refuse_username(value),
        "aws_region" => refuse_region(value),
        _ => refuse_variable_name(value),
    }
}

/// Why `name` may not name an environment variable, if it may not. The platforms' names have
/// dashes and dots, and those after a registry anything that a URL has.
fn refuse_variable_name(name: &str) -> Option<&'static str> {
    let of_registry = name.starts_with("DOCKER_REGISTRY_");
    let is_word = |byte: u8| {
        byte.is_ascii_alphanumeric()
            || b"_-.".contains(&byte)
            || (of_registry && b":/".contains(&byte))
    };
    let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    let is_name = begins && name.len() <= 128 && name.bytes().all(is_word);
    (!is_name).then_some("letters, digits, `_`, `-` and `.`, and no digit first")
}

fn refuse_username(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("a user has a name");
    }
    name.chars()
        .any(|c| safe::is_invisible(c) || c == ':')
        .then_some("a user's name holds no colon, and nothing that cannot be seen")
}

fn refuse_region(name: &str) -> Option<&'static str> {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_region = !name.is_empty() && name.len() <= 32 && name.bytes().all(is_word);
    (!is_region).then_some("such as `eu-west-1`")
}

#[cfg(test)]
mod tests;
