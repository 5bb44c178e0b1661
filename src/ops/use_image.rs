//! `basegen use`: the configuration of a platform for a published image.

use std::sync::Arc;

use super::{ArgumentError, Context, NameOptions, lint, selection};
use crate::contracts::{self, Rule, Scope};
use crate::error::{ExitCode, Explain, Report};
use crate::export::platforms::{
    Configuration, DockerAuth, PublishedImage, RegistryKind, Server, baseten, cerebrium, fal,
};
use crate::image::{Digest, Reference, Repository};
use crate::matrix::{Contract, Matrix, Selection, Value, Variant};
use crate::plan::{Graph, Lock, Plan};
use crate::publish::{self, ContainerConfig};
use crate::registry::{Credentials, EcrHost, Registries, RegistryOptions, is_google_host};
use crate::render::Renderer;

/// Commands that base images have as their own, and that serve nothing.
const NO_SERVERS: [&str; 4] = ["bash", "python", "python3", "sh"];

/// The name of several variants.
#[derive(Debug, thiserror::Error)]
#[error("`{name}` is the name of {} variants", .ids.len())]
struct Ambiguous {
    name: String,
    ids: Vec<String>,
}

impl Explain for Ambiguous {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Selection
    }

    fn hint(&self) -> Option<String> {
        let ids: Vec<String> = self.ids.iter().map(|id| format!("`{id}`")).collect();
        Some(format!("use one of their ids: {}", ids.join(", ")))
    }
}

/// An image that its registry does not have.
#[derive(Debug, thiserror::Error)]
#[error("{reference} is not published")]
struct NotPublished {
    reference: Reference,
    variant: String,
}

impl Explain for NotPublished {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Drift
    }

    fn hint(&self) -> Option<String> {
        Some(format!(
            "`basegen --push --variant {}` publishes it; `--version-tag` selects another version",
            self.variant
        ))
    }
}

/// A property of the server that neither the request nor the image has.
#[derive(Debug, thiserror::Error)]
#[error("the image {what}")]
struct NoServer {
    what: &'static str,
    option: &'static str,
}

impl Explain for NoServer {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Usage
    }

    fn hint(&self) -> Option<String> {
        Some(format!("pass `{}`", self.option))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeploymentPlatform {
    Baseten,
    Cerebrium,
    Fal,
}

impl DeploymentPlatform {
    fn name(self) -> &'static str {
        match self {
            Self::Baseten => "baseten",
            Self::Cerebrium => "cerebrium",
            Self::Fal => "fal",
        }
    }

    /// Returns the contract of images that the platform runs as `server` says.
    fn contract(self, server: Option<&Server>) -> Contract {
        match self {
            Self::Baseten if server.is_some_and(|server| server.no_build) => {
                Contract::BasetenNoBuild
            }
            Self::Baseten => Contract::Baseten,
            Self::Cerebrium => Contract::Cerebrium,
            Self::Fal => Contract::Fal,
        }
    }
}

#[derive(Debug, Clone)]
pub struct UseRequest {
    /// The id or the name of a variant.
    pub variant: String,
    pub platform: DeploymentPlatform,
    /// The parts of its name that the matrix does not set.
    pub naming: NameOptions,
    /// How Baseten authenticates to the registry; `None` for the usual way, if the image is private.
    pub auth_method: Option<DockerAuth>,
    /// The server to run instead of the platform's own.
    pub server: Option<ServerRequest>,
}

/// A server in the image. Missing values are those of the image.
#[derive(Debug, Clone)]
pub struct ServerRequest {
    pub start_command: Option<String>,
    pub port: Option<u16>,
    pub predict_endpoint: String,
    pub health_endpoint: String,
    pub no_build: bool,
}

/// Reads the image from its registry and returns the configuration of the platform for it.
pub async fn run(context: &Context, request: UseRequest) -> Result<Configuration, Report> {
    let matrix = context.matrix()?;
    let ids = vec![variant_id(matrix, &request.variant)?];
    let plan =
        selection::plan(context, &Selection { ids, ..Selection::default() }, &request.naming)?;
    let target = &plan.targets[0];
    let repository = &target.reference.repository;
    let registry = registry_kind(repository);
    check_auth(&request, repository, registry)?;

    let registries = context.registries()?;
    let Some(found) = registries.head(repository, &target.reference.tag).await? else {
        let (reference, variant) = (target.reference.clone(), target.id().to_owned());
        return Err(NotPublished { reference, variant }.into());
    };
    let config = publish::container_config(&registries, repository, &found.digest).await?;
    let auth = match request.auth_method {
        None if is_private(context, repository, &found.digest).await? => {
            Some(registry.usual_auth())
        }
        method => method,
    };
    let settings = &matrix.image.settings;
    let own_user = settings.run_as_user_id.map(|user| user.to_string());
    let image = PublishedImage {
        reference: &target.reference,
        digest: &found.digest,
        variant: target.id(),
        python: axis_value(matrix, target.variant, "python").and_then(|value| match value {
            Value::Text(text) => Some(text.as_str()),
            Value::Bool(_) => None,
        }),
        has_gpu: axis_value(matrix, target.variant, "gpu") == Some(&Value::Bool(true))
            || has_gpu_variable(&config),
        user: own_user.as_deref().unwrap_or(&config.user),
        keeps_fal: matrix.contracts(target.variant).contains(&Contract::Fal),
        registry,
        auth,
    };
    let port = settings.port.as_ref().map(|port| **port);
    let server = request.server.map(|server| complete(server, &config, port)).transpose()?;
    let mut configuration = match request.platform {
        DeploymentPlatform::Baseten => baseten(&image, server.as_ref()),
        DeploymentPlatform::Cerebrium => cerebrium(&image, server.as_ref()),
        DeploymentPlatform::Fal => fal(&image, server.as_ref()),
    };
    if !plan.custom {
        let broken = broken_rules(&plan, request.platform, server.as_ref())?;
        configuration.warnings.extend(broken);
    }
    Ok(configuration)
}

/// Returns how the Dockerfile of the variant breaks the contract of the platform, except where the configuration takes
/// care of it.
fn broken_rules(
    plan: &Plan<'_>,
    platform: DeploymentPlatform,
    server: Option<&Server>,
) -> Result<Vec<String>, Report> {
    let matrix = plan.matrix;
    let mut renderer = Renderer::new(matrix)?.pinned(Lock::read(matrix)?.pins);
    let (graph, contexts) = Graph::render(plan, &mut renderer)?;
    let variants: Vec<&Variant> = graph.targets.iter().map(|target| target.variant).collect();
    let contexts = lint::with_parents(&variants, &contexts);
    let scope = Scope::Only(platform.contract(server));
    let is_open = |rule: &Rule| match rule.id.rsplit('/').next() {
        // It has a warning of its own.
        Some("python") => false,
        Some("user") => server.is_none(),
        Some("command") => server.is_none_or(|server| server.start_command.is_none()),
        _ => true,
    };
    let findings = contracts::inspect(matrix, &[(variants[0], &*contexts[0])], scope);
    let warnings = findings.iter().filter(|finding| is_open(finding.rule)).map(|finding| {
        let contracts::Finding { file, line, column, rule, what, .. } = finding;
        format!("{file}:{line}:{column}: {}: {what}", rule.id)
    });
    Ok(warnings.collect())
}

/// Returns the id of the variant with this id or name. An unknown name is returned as it is.
fn variant_id(matrix: &Matrix, name: &str) -> Result<String, Ambiguous> {
    let named = matrix.variants.iter().filter(|variant| variant.name == name);
    let mut ids: Vec<String> = named.map(|variant| variant.id.clone()).collect();
    if ids.len() < 2 || matrix.variants.iter().any(|variant| variant.id == name) {
        return Ok(if ids.len() == 1 { ids.remove(0) } else { name.to_owned() });
    }
    Err(Ambiguous { name: name.to_owned(), ids })
}

fn axis_value<'a>(matrix: &'a Matrix, variant: &Variant, axis: &str) -> Option<&'a Value> {
    let (index, _) = matrix.axis(axis)?;
    Some(&matrix.value(variant, index).value)
}

/// Returns true if the image asks NVIDIA's container runtime for GPUs.
fn has_gpu_variable(config: &ContainerConfig) -> bool {
    let variables = config.env.iter().flatten();
    let mut devices =
        variables.filter_map(|variable| variable.strip_prefix("NVIDIA_VISIBLE_DEVICES="));
    devices.next_back().is_some_and(|devices| !matches!(devices, "" | "none" | "void"))
}

fn registry_kind(repository: &Repository) -> RegistryKind<'_> {
    let host = repository.registry();
    match EcrHost::parse(host) {
        Some(ecr) => RegistryKind::Aws { account: ecr.account, region: ecr.region },
        None if is_google_host(host) => RegistryKind::Google,
        None => RegistryKind::Other,
    }
}

/// Refuses options that the platform or the registry does not have.
fn check_auth(
    request: &UseRequest,
    repository: &Repository,
    registry: RegistryKind<'_>,
) -> Result<(), ArgumentError> {
    let refuse = |reason: &str| Err(ArgumentError::new("--for", request.platform.name(), &reason));
    if request.platform != DeploymentPlatform::Baseten {
        if request.auth_method.is_some() {
            return refuse("`--auth-method` is an option of Baseten");
        }
        if request.server.as_ref().is_some_and(|server| server.no_build) {
            return refuse("`--no-build` is an option of Baseten");
        }
    }
    if let Some(method) = request.auth_method.filter(|method| !registry.accepts(*method)) {
        let reason = format!("the registry `{}` has other credentials", repository.registry());
        return Err(ArgumentError::new("--auth-method", method.name(), &reason));
    }
    Ok(())
}

/// Returns true if the image cannot be pulled without a credential.
async fn is_private(
    context: &Context,
    repository: &Repository,
    digest: &Digest,
) -> Result<bool, Report> {
    let credentials = Arc::new(Credentials::anonymous());
    let options = RegistryOptions { credentials, ..context.registry_options()?.clone() };
    match Registries::new(&options)?.head(repository, digest).await {
        Ok(found) => Ok(found.is_none()),
        Err(error) if error.kind().is_denied() => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Completes the request with the command and the port of the image. `own_port` is that of the matrix.
fn complete(
    request: ServerRequest,
    config: &ContainerConfig,
    own_port: Option<u16>,
) -> Result<Server, NoServer> {
    let ServerRequest { start_command, port, predict_endpoint, health_endpoint, no_build } =
        request;
    let port = port
        .or(own_port)
        .or_else(|| exposed_port(config))
        .ok_or(NoServer { what: "does not expose exactly one port", option: "--port" })?;
    // The platform runs the own command of an unmodified image.
    let start_command = start_command.or_else(|| own_command(config).filter(|_| !no_build));
    if start_command.is_none() && !no_build {
        return Err(NoServer { what: "has no server as its command", option: "--start-command" });
    }
    Ok(Server { start_command, port, predict_endpoint, health_endpoint, no_build })
}

/// Returns the TCP port that the image exposes, if it is the only one.
fn exposed_port(config: &ContainerConfig) -> Option<u16> {
    let ports = config.exposed_ports.iter().flatten();
    let ports = ports.map(|(port, _)| port.strip_suffix("/tcp").unwrap_or(port).parse().ok());
    let ports: Vec<u16> = ports.flatten().collect();
    match ports[..] {
        [port] => Some(port),
        _ => None,
    }
}

/// Returns the command line of the image, unless it is a shell or an interpreter without arguments.
fn own_command(config: &ContainerConfig) -> Option<String> {
    let words: Vec<&str> =
        config.entrypoint.iter().chain(&config.cmd).flatten().map(String::as_str).collect();
    let program = words.first()?.rsplit('/').next().unwrap_or_default();
    if words.len() == 1 && NO_SERVERS.contains(&program) {
        return None;
    }
    Some(words.into_iter().map(shell_word).collect::<Vec<_>>().join(" "))
}

/// Quotes a word for a POSIX shell, if it needs it.
fn shell_word(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "%+,-./:=@_".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
