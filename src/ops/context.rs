//! [`Context`]: what every operation works with.
//!
//! It owns the matrix, the async runtime, the options of registry clients and the token that cancels a run. Each is
//! created when an operation first asks for it, so a command that needs no network starts no thread. The environment
//! reaches it as [`Settings`], plain values that the caller has read.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use secrecy::SecretString;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use super::{registries, signals};
use crate::contracts;
use crate::engine::{ConnectedEngine, EngineEnvironment, EngineRequest};
use crate::error::{ExitCode, Explain, FileError, Report};
use crate::files::Allowed;
use crate::matrix::{self, Matrix};
use crate::registry::{NamedHosts, Proxies, Registries, RegistryOptions};

/// How long an engine may take to report its mirrors.
const MIRRORS_TIMEOUT: Duration = Duration::from_secs(10);

/// The values that operations take from the environment and from the global arguments.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub file: PathBuf,
    /// The files outside the repository that the matrix may name.
    pub allowed: Allowed,
    /// The variables that credentials and build secrets are looked up in by name.
    pub variables: Variables,
    /// The variables of Docker's own client.
    pub engine: EngineEnvironment,
    /// The proxies of basegen's own connections.
    pub proxies: Proxies,
    /// The proxies of build steps, as build arguments.
    pub build_proxies: BTreeMap<String, String>,
    /// The build arguments of the command line.
    pub build_arguments: BTreeMap<String, String>,
    /// The hosts that may receive credentials without TLS.
    pub plain_http_hosts: BTreeSet<String>,
    /// The hosts that may receive well-known tokens besides the owners of these tokens.
    pub named_hosts: NamedHosts,
    /// The facts of a step of GitHub Actions.
    pub github: GitHubStep,
    /// The folder that basegen keeps locks and logs in; `None` for a user without a home.
    pub state_folder: Option<PathBuf>,
    /// The folder for temporary files.
    pub temporary_folder: PathBuf,
}

/// What GitHub Actions says about the running step.
#[derive(Clone, Debug, Default)]
pub struct GitHubStep {
    /// Whether basegen runs in such a step.
    pub is_actions: bool,
    /// `GITHUB_OUTPUT`, the file for the outputs of the step.
    pub output: Option<PathBuf>,
    /// `GITHUB_STEP_SUMMARY`, the file for the summary of the step.
    pub step_summary: Option<PathBuf>,
    pub run_id: Option<String>,
    pub repository: Option<String>,
    pub api_url: Option<String>,
}

/// Environment variables, looked up by names that the matrix or the command line gives.
#[derive(Clone, Default)]
pub struct Variables(BTreeMap<OsString, OsString>);

impl Variables {
    /// Returns the value of a variable that is valid UTF-8 and not empty.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(OsString::from(name).as_os_str())?.to_str().filter(|text| !text.is_empty())
    }

    /// Returns the bytes of a variable, even if it is empty.
    #[must_use]
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        Some(self.0.get(OsString::from(name).as_os_str())?.as_bytes())
    }

    /// Returns the value of a variable that is not empty, as a path.
    #[must_use]
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        let value = self.0.get(OsString::from(name).as_os_str())?;
        (!value.is_empty()).then(|| value.into())
    }

    /// Returns the value of a variable as a secret: `None` if it is not set, `Some(None)` if it is not valid UTF-8.
    #[must_use]
    pub fn secret(&self, name: &str) -> Option<Option<SecretString>> {
        let value = self.0.get(OsString::from(name).as_os_str())?;
        Some(value.to_str().map(SecretString::from))
    }

    /// Returns the names that begin with `prefix`.
    pub fn names<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        let names = self.0.keys().filter_map(|name| name.to_str());
        names.filter(move |name| name.starts_with(prefix))
    }
}

impl FromIterator<(OsString, OsString)> for Variables {
    fn from_iter<I: IntoIterator<Item = (OsString, OsString)>>(variables: I) -> Self {
        Self(variables.into_iter().collect())
    }
}

impl fmt::Debug for Variables {
    // Any value may be a secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Variables")
    }
}

/// Receives the messages of an operation that is still running.
pub trait Messages: Send + Sync {
    /// Shows a message that quiet commands leave out.
    fn note(&self, text: &str);

    /// Shows a message that every command prints.
    fn message(&self, text: &str);
}

/// A build argument of the command line that is not accepted. Never contains its value.
#[derive(Debug, thiserror::Error)]
#[error("the build argument `{name}` is refused: {reason}")]
struct RefusedArgument {
    name: String,
    reason: &'static str,
}

impl Explain for RefusedArgument {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Usage
    }
}

fn checked_arguments(
    given: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, RefusedArgument> {
    for (name, value) in given {
        if let Some(reason) = matrix::refuse_argument(name, value) {
            return Err(RefusedArgument { name: name.escape_debug().to_string(), reason });
        }
    }
    Ok(given.clone())
}

/// What every operation works with.
pub struct Context {
    /// The values that were read from the environment.
    pub settings: Settings,
    /// Receives messages while operations run.
    pub messages: Arc<dyn Messages>,
    /// Cancelled by the first interrupt.
    pub cancel: CancellationToken,
    matrix: OnceLock<Matrix>,
    runtime: OnceLock<Runtime>,
    registry_options: OnceLock<RegistryOptions>,
}

impl Context {
    /// Creates a context; nothing is read or started yet.
    #[must_use]
    pub fn new(settings: Settings, messages: Arc<dyn Messages>) -> Self {
        Self {
            settings,
            messages,
            cancel: CancellationToken::new(),
            matrix: OnceLock::new(),
            runtime: OnceLock::new(),
            registry_options: OnceLock::new(),
        }
    }

    /// Returns the matrix. The first call reads it.
    pub fn matrix(&self) -> Result<&Matrix, Report> {
        get_or_try_init(&self.matrix, || {
            let mut matrix = matrix::load_with(&self.settings.file, self.settings.allowed.clone())?;
            contracts::validate(&matrix)?;
            matrix.build.arguments = checked_arguments(&self.settings.build_arguments)?;
            Ok(matrix)
        })
    }

    /// Runs `work` on the runtime. This is the only place that blocks on a future.
    pub fn block_on<T>(&self, work: impl Future<Output = Result<T, Report>>) -> Result<T, Report> {
        let runtime =
            get_or_try_init(&self.runtime, || Ok(Runtime::new().map_err(FileError::runtime)?))?;
        runtime.block_on(work)
    }

    /// Runs `work`, which the first interrupt cancels through [`Context::cancel`]. Returns `None` if a second interrupt
    /// ended it at once.
    pub fn block_on_cancellable<T>(
        &self,
        work: impl Future<Output = Result<T, Report>>,
    ) -> Result<Option<T>, Report> {
        self.block_on(async {
            tokio::select! {
                done = work => done.map(Some),
                () = signals::watch(self.cancel.clone()) => Ok(None),
            }
        })
    }

    /// Returns the options of a client of the matrix' registries. The first call checks the matrix' credentials.
    pub fn registry_options(&self) -> Result<&RegistryOptions, Report> {
        get_or_try_init(&self.registry_options, || {
            registries::options(self.matrix()?, &self.settings)
        })
    }

    /// Opens a client of the matrix' registries that asks no mirror: mirrors do not have new images yet.
    pub fn registries(&self) -> Result<Registries, Report> {
        Ok(Registries::new(self.registry_options()?)?)
    }

    /// Opens a client for answers that an operation can do without: it makes one attempt and does not wait for long.
    /// `mirrors` are asked before Docker Hub.
    pub fn brief_registries(&self, mirrors: Vec<String>) -> Result<Registries, Report> {
        let options = RegistryOptions { mirrors, ..registries::brief(self.registry_options()?) };
        Ok(Registries::new(&options)?)
    }

    /// Returns the engine's mirrors of Docker Hub, or why they are unknown.
    pub async fn mirrors(&self) -> Result<Vec<String>, String> {
        let environment = self.settings.engine.clone();
        let request = EngineRequest { environment, ..EngineRequest::default() };
        let connect = ConnectedEngine::connect(&request);
        match tokio::time::timeout(MIRRORS_TIMEOUT, connect).await {
            Ok(Ok(engine)) => Ok(engine.registry_mirrors().to_owned()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("it does not answer".to_owned()),
        }
    }
}

impl Drop for Context {
    // Connections that have lost their peer must not keep the process alive.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Context").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Returns the value of `cell`, which `init` computes at the first call that succeeds.
fn get_or_try_init<T>(
    cell: &OnceLock<T>,
    init: impl FnOnce() -> Result<T, Report>,
) -> Result<&T, Report> {
    if let Some(value) = cell.get() {
        return Ok(value);
    }
    let value = init()?;
    Ok(cell.get_or_init(|| value))
}
