//! The arguments of `basegen use`.

use clap::{Args, ValueEnum};

use super::NamingArgs;
use crate::export::platforms::DockerAuth;
use crate::ops::use_image::DeploymentPlatform;

#[derive(Debug, Args)]
pub(in crate::cli) struct UseArgs {
    /// The id of a variant, or its part of a tag: `3.11-gpu`
    #[arg(value_name = "VARIANT")]
    pub(in crate::cli) variant: String,
    /// The platform
    #[arg(id = "for", long = "for", value_enum, value_name = "PLATFORM")]
    pub(in crate::cli) platform: PlatformName,
    /// How Baseten authenticates to a private registry [default: keys on ECR and on Google's registries,
    /// `REGISTRY_SECRET` on others]
    #[arg(long, value_enum, value_name = "METHOD", ignore_case = true)]
    pub(in crate::cli) auth_method: Option<AuthMethodArg>,
    #[command(flatten)]
    pub(in crate::cli) naming: NamingArgs,
    #[command(flatten)]
    pub(in crate::cli) server: ServerArgs,
}

/// The server in the image.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "A server in the image")]
pub(in crate::cli) struct ServerArgs {
    /// Run the server of the image; the options below imply it
    ///
    /// In `docker_server`, `[cerebrium.runtime.custom]`, or a function with `exposed_port`.
    #[arg(long)]
    pub(in crate::cli) server: bool,
    /// Its command [default: ENTRYPOINT and CMD of the image]
    #[arg(long, visible_alias = "entrypoint", value_name = "COMMAND")]
    pub(in crate::cli) start_command: Option<String>,
    /// Its port [default: `port` of the matrix, or the port that the image exposes]
    #[arg(long, visible_aliases = ["server-port", "exposed-port"], value_name = "PORT")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    pub(in crate::cli) port: Option<u16>,
    /// The path that answers requests [default: /predict]
    #[arg(long, value_name = "PATH")]
    pub(in crate::cli) predict_endpoint: Option<String>,
    /// The path that reports whether it is ready and healthy [default: /health]
    #[arg(long, value_name = "PATH")]
    pub(in crate::cli) health_endpoint: Option<String>,
    /// Deploy the image unmodified, on Baseten
    #[arg(long)]
    pub(in crate::cli) no_build: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum PlatformName {
    /// A config.yaml for Truss
    Baseten,
    /// A cerebrium.toml
    Cerebrium,
    /// An app in Python
    Fal,
}

impl From<PlatformName> for DeploymentPlatform {
    fn from(name: PlatformName) -> Self {
        match name {
            PlatformName::Baseten => Self::Baseten,
            PlatformName::Cerebrium => Self::Cerebrium,
            PlatformName::Fal => Self::Fal,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "SCREAMING_SNAKE_CASE")]
pub(in crate::cli) enum AuthMethodArg {
    /// Keys of an AWS user
    AwsIam,
    /// An AWS role that Baseten assumes
    AwsOidc,
    /// The key of a Google service account
    GcpServiceAccountJson,
    /// A Google service account that Baseten impersonates
    GcpOidc,
    /// A username and a password, or a token
    RegistrySecret,
}

impl From<AuthMethodArg> for DockerAuth {
    fn from(method: AuthMethodArg) -> Self {
        match method {
            AuthMethodArg::AwsIam => Self::AwsIam,
            AuthMethodArg::AwsOidc => Self::AwsOidc,
            AuthMethodArg::GcpServiceAccountJson => Self::GcpServiceAccountJson,
            AuthMethodArg::GcpOidc => Self::GcpOidc,
            AuthMethodArg::RegistrySecret => Self::RegistrySecret,
        }
    }
}
