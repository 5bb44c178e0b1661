//! The environment of the process, read once and turned into plain values.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::PathBuf;

use crate::engine::EngineEnvironment;
use crate::ops::{GitHubStep, Settings, Variables, owners};
use crate::registry::{NamedHosts, Proxies};
use crate::report::{ColorSignals, Display, Guard, Style, Verbosity};

use super::allow;
use super::args::GlobalArgs;

/// The build arguments that the Dockerfile frontend passes to steps and keeps out of images
/// and of the build cache's keys: <https://docs.docker.com/build/building/variables/#pre-defined-build-arguments>
const PROXIES: [&str; 8] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// The variables and terminals of the process, as they were when basegen started.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: Variables,
    stdout_is_terminal: bool,
    stderr_is_terminal: bool,
}

impl Environment {
    /// Reads the environment of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self {
            variables: std::env::vars_os().collect(),
            stdout_is_terminal: std::io::stdout().is_terminal(),
            stderr_is_terminal: std::io::stderr().is_terminal(),
        }
    }

    /// Returns the values that operations take from the environment and the global arguments.
    pub(super) fn settings(&self, global: &GlobalArgs) -> Settings {
        let (plain_http_hosts, github_hosts) = allow::hosts(&global.allow);
        Settings {
            file: global.file.clone(),
            allowed: allow::files(&global.allow),
            variables: self.variables.clone(),
            engine: self.engine(),
            proxies: self.proxies(),
            build_proxies: self.build_proxies(),
            build_arguments: self.build_arguments(&global.build_arg),
            plain_http_hosts,
            named_hosts: self.named_hosts(github_hosts),
            github: self.github(),
            state_folder: self.state_folder(),
            temporary_folder: self.variables.path("TMPDIR").unwrap_or_else(|| "/tmp".into()),
        }
    }

    /// Returns how a run is displayed unless the command line says so.
    pub(super) fn display(&self) -> Display {
        let term = self.variables.text("TERM");
        Display::automatic(self.stderr_is_terminal, term, self.is_actions())
    }

    /// Returns the style of a run.
    pub(super) fn style(&self, global: &GlobalArgs) -> Style {
        let verbosity = match (global.quiet, global.verbose) {
            (true, _) => Verbosity::Quiet,
            (_, true) => Verbosity::Verbose,
            _ => Verbosity::Normal,
        };
        Style { color: self.stderr_color(), verbosity, width: self.width() }
    }

    /// Returns build arguments, `NAME=VALUE` or `NAME` for a variable of the environment. Leaves out variables that are not
    /// set, like Docker.
    fn build_arguments(&self, arguments: &[String]) -> BTreeMap<String, String> {
        let arguments = arguments.iter().filter_map(|argument| match argument.split_once('=') {
            Some((name, value)) => Some((name.to_owned(), value.to_owned())),
            None => Some((argument.clone(), self.text(argument)?)),
        });
        arguments.collect()
    }

    fn text(&self, name: &str) -> Option<String> {
        self.variables.text(name).map(str::to_owned)
    }

    /// Returns the variables of Docker's own client.
    fn engine(&self) -> EngineEnvironment {
        EngineEnvironment {
            buildkit_host: self.text("BUILDKIT_HOST"),
            docker_host: self.text("DOCKER_HOST"),
            docker_context: self.text("DOCKER_CONTEXT"),
            docker_tls_verify: self.text("DOCKER_TLS_VERIFY").is_some(),
            docker_cert_path: self.variables.path("DOCKER_CERT_PATH"),
            docker_config: self.variables.path("DOCKER_CONFIG"),
            home: self.variables.path("HOME"),
            runtime_dir: self.variables.path("XDG_RUNTIME_DIR"),
        }
    }

    fn proxies(&self) -> Proxies {
        let either = |lower: &str, upper: &str| self.text(lower).or_else(|| self.text(upper));
        Proxies {
            http: either("http_proxy", "HTTP_PROXY"),
            https: either("https_proxy", "HTTPS_PROXY"),
            all: either("all_proxy", "ALL_PROXY"),
            no_proxy: either("no_proxy", "NO_PROXY"),
        }
    }

    /// Returns the proxies of build steps, as build arguments.
    pub(super) fn build_proxies(&self) -> BTreeMap<String, String> {
        let set = PROXIES.iter().filter_map(|name| Some(((*name).to_owned(), self.text(name)?)));
        set.collect()
    }

    /// Returns the hosts that may receive well-known tokens besides the owners of these tokens; `github` are those that
    /// the command line names.
    fn named_hosts(&self, github: Vec<String>) -> NamedHosts {
        let hosts = |names: &[&str]| {
            let values = names.iter().filter_map(|name| self.variables.text(name));
            values.filter_map(owners::host_of).collect::<Vec<_>>()
        };
        let mut named = NamedHosts {
            github: hosts(&["GITHUB_API_URL", "GITHUB_SERVER_URL", "GH_HOST"]),
            gitlab: hosts(&["CI_REGISTRY", "CI_SERVER_URL"]),
            aws: hosts(&["AWS_ENDPOINT_URL_ECR", "AWS_ENDPOINT_URL"]),
        };
        named.github.extend(github);
        named
    }

    fn github(&self) -> GitHubStep {
        let is_actions = self.is_actions();
        GitHubStep {
            is_actions,
            output: self.variables.path("GITHUB_OUTPUT"),
            step_summary: self.variables.path("GITHUB_STEP_SUMMARY").filter(|_| is_actions),
            run_id: self.text("GITHUB_RUN_ID"),
            repository: self.text("GITHUB_REPOSITORY"),
            api_url: self.text("GITHUB_API_URL"),
        }
    }

    /// Returns true in a step of a workflow of GitHub Actions.
    pub(super) fn is_actions(&self) -> bool {
        self.variables.text("GITHUB_ACTIONS") == Some("true")
    }

    /// Returns the folder that basegen keeps locks and logs in; `None` for a user without a home. A
    /// relative path is ignored, as the XDG specification demands: it may lead into the checkout.
    fn state_folder(&self) -> Option<PathBuf> {
        let absolute = |name| self.variables.path(name).filter(|path| path.is_absolute());
        let state = absolute("XDG_STATE_HOME");
        let state = state.or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
        state.map(|state| state.join("basegen"))
    }

    /// Returns how stdout and stderr are guarded.
    pub(super) fn guards(&self) -> (Guard, Guard) {
        let actions = self.is_actions();
        let guard = |color, terminal| Guard { color, actions, terminal };
        let out = guard(self.stdout_color(), self.stdout_is_terminal);
        (out, guard(self.stderr_color(), self.stderr_is_terminal))
    }

    pub(super) fn stdout_color(&self) -> bool {
        self.color(self.stdout_is_terminal)
    }

    pub(super) fn stderr_color(&self) -> bool {
        self.color(self.stderr_is_terminal)
    }

    /// Returns the number of columns of stderr, or 80 if it is unknown.
    fn width(&self) -> usize {
        let columns = self.variables.text("COLUMNS").and_then(|columns| columns.parse().ok());
        let of_terminal =
            || self.stderr_is_terminal.then(|| console::Term::stderr().size().1.into());
        columns.or_else(of_terminal).filter(|width| *width > 0).unwrap_or(80)
    }

    fn color(&self, is_terminal: bool) -> bool {
        let signals = ColorSignals {
            no_color: self.variables.text("NO_COLOR"),
            clicolor_force: self.variables.text("CLICOLOR_FORCE"),
            clicolor: self.variables.text("CLICOLOR"),
            term: self.variables.text("TERM"),
            is_terminal,
        };
        signals.wants_color()
    }
}
