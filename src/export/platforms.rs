//! Configurations of platforms that run a published image: Baseten's `config.yaml`, Cerebrium's `cerebrium.toml` and an
//! app for fal.
//!
//! Each platform has a function from a [`PublishedImage`] and an optional [`Server`] to a [`Configuration`]. None of
//! them contains a secret: they name secrets, or variables of the environment that the platform's client runs in.

mod baseten;
mod cerebrium;
mod fal;

pub use baseten::baseten;
pub use cerebrium::cerebrium;
pub use fal::fal;

use std::fmt::Write as _;
use std::ops::RangeInclusive;

use crate::image::{Digest, Reference};

/// A published image and the properties that platforms depend on.
#[derive(Debug, Clone)]
pub struct PublishedImage<'a> {
    /// The version tag.
    pub reference: &'a Reference,
    /// The digest of the image, or of its index if it has several platforms.
    pub digest: &'a Digest,
    /// The id of the variant.
    pub variant: &'a str,
    /// The minor version of Python, such as `3.11`.
    pub python: Option<&'a str>,
    pub has_gpu: bool,
    /// The `USER` of the image: a name or a number, with or without a group. Empty for root.
    pub user: &'a str,
    /// Whether the image keeps the contract of fal, and so has the packages of fal's runtime.
    pub keeps_fal: bool,
    pub registry: RegistryKind<'a>,
    /// How the platform authenticates to the registry; `None` if everybody can pull the image.
    pub auth: Option<DockerAuth>,
}

/// The service that a registry belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistryKind<'a> {
    /// Amazon ECR.
    Aws {
        account: &'a str,
        region: &'a str,
    },
    /// Google Artifact Registry, or its predecessor.
    Google,
    Other,
}

/// How Baseten authenticates to a registry, by the names of its `auth_method`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DockerAuth {
    /// Keys of an AWS user.
    AwsIam,
    /// An AWS role that the platform assumes.
    AwsOidc,
    /// The key of a Google service account.
    GcpServiceAccountJson,
    /// A Google service account that the platform impersonates.
    GcpOidc,
    /// A username and a password.
    RegistrySecret,
}

impl DockerAuth {
    /// Returns the name of the `auth_method`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AwsIam => "AWS_IAM",
            Self::AwsOidc => "AWS_OIDC",
            Self::GcpServiceAccountJson => "GCP_SERVICE_ACCOUNT_JSON",
            Self::GcpOidc => "GCP_OIDC",
            Self::RegistrySecret => "REGISTRY_SECRET",
        }
    }
}

impl RegistryKind<'_> {
    /// Returns the usual way to authenticate.
    #[must_use]
    pub fn usual_auth(self) -> DockerAuth {
        match self {
            Self::Aws { .. } => DockerAuth::AwsIam,
            Self::Google => DockerAuth::GcpServiceAccountJson,
            Self::Other => DockerAuth::RegistrySecret,
        }
    }

    /// Returns true if the registry accepts `auth`.
    #[must_use]
    pub fn accepts(self, auth: DockerAuth) -> bool {
        match auth {
            DockerAuth::AwsIam | DockerAuth::AwsOidc => matches!(self, Self::Aws { .. }),
            DockerAuth::GcpServiceAccountJson | DockerAuth::GcpOidc => self == Self::Google,
            DockerAuth::RegistrySecret => true,
        }
    }
}

/// The server in an image, if the platform runs it instead of a server of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The command that starts it; `None` for the image's own, which only an unmodified image can use.
    pub start_command: Option<String>,
    pub port: u16,
    /// The path that answers requests.
    pub predict_endpoint: String,
    /// The path that reports whether the server is ready and healthy.
    pub health_endpoint: String,
    /// Whether the platform must not modify the image.
    pub no_build: bool,
}

/// The configuration of a platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    pub text: String,
    /// The reasons for which the platform would refuse it, and the values to fill in.
    pub warnings: Vec<String>,
}

/// Returns `text` as a double-quoted string, in the notation that YAML, TOML and Python share.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            // YAML has no other line breaks and control characters in a quoted string.
            _ if character.is_control() || "\u{2028}\u{2029}\u{feff}".contains(character) => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(character));
            }
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

/// Returns true if `version` is one of Python 3's minor versions in `range`.
fn is_python_in(version: &str, range: &RangeInclusive<u32>) -> bool {
    let minor = version.strip_prefix("3.").and_then(|minor| minor.parse().ok());
    minor.is_some_and(|minor| range.contains(&minor))
}

/// Returns the port that `command` passes to its server with `--port`, if it does.
fn port_of(command: &str) -> Option<u16> {
    let mut words = command.split_whitespace();
    while let Some(word) = words.next() {
        let port = match word.strip_prefix("--port") {
            Some("") => words.next(),
            Some(value) => value.strip_prefix('='),
            None => None,
        };
        if let Some(port) = port.and_then(|port| port.parse().ok()) {
            return Some(port);
        }
    }
    None
}

/// Warns about a command whose own port is not that of the server.
fn port_warning(server: &Server) -> Option<String> {
    let own = server.start_command.as_deref().and_then(port_of)?;
    let port = server.port;
    (own != port)
        .then(|| format!("the start command listens on port {own}, and the port is {port}"))
}

#[cfg(test)]
mod tests;
