//! What is read from the process's surroundings: once, here, and handed on as values.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::io::IsTerminal as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use secrecy::SecretString;

use crate::report::{ColorSignals, Guard};

use super::allow::Entitlement;
use super::owners;

/// Variables and terminals, as they were when basegen started.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
    stdout_is_terminal: bool,
    stderr_is_terminal: bool,
    allowed: Vec<Entitlement>,
}

impl Environment {
    /// The surroundings of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self {
            variables: std::env::vars_os().collect(),
            stdout_is_terminal: std::io::stdout().is_terminal(),
            stderr_is_terminal: std::io::stderr().is_terminal(),
            allowed: Vec::new(),
        }
    }

    /// Returns the same with one more variable.
    #[cfg(test)]
    pub(super) fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    /// Returns the same with the exceptions that the command line allows.
    pub(super) fn with_allowed(&self, allowed: &[Entitlement]) -> Self {
        Self { allowed: allowed.to_vec(), ..self.clone() }
    }

    /// Returns the hosts that may receive credentials without TLS.
    pub(super) fn plain_http_hosts(&self) -> BTreeSet<String> {
        let hosts = self.allowed.iter().filter_map(|allowed| match allowed {
            Entitlement::PlainHttp(host) => Some(host.clone()),
            _ => None,
        });
        hosts.collect()
    }

    /// Returns the hosts beside GitHub's own that may receive a token of GitHub's: those of `GITHUB_API_URL`,
    /// `GITHUB_SERVER_URL` and `GH_HOST`, and those that the command line names.
    pub(super) fn github_hosts(&self) -> Vec<String> {
        let names = ["GITHUB_API_URL", "GITHUB_SERVER_URL", "GH_HOST"];
        let hosts = names.iter().filter_map(|name| owners::host_of(self.variable(name)?));
        let allowed = self.allowed.iter().filter_map(|allowed| match allowed {
            Entitlement::GitHub(host) => Some(host.clone()),
            _ => None,
        });
        hosts.chain(allowed).collect()
    }

    /// A variable that is set and not empty.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables
            .get(OsString::from(name).as_os_str())?
            .to_str()
            .filter(|text| !text.is_empty())
    }

    /// The bytes of a variable that is set, even to nothing.
    #[must_use]
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        Some(self.variables.get(OsString::from(name).as_os_str())?.as_bytes())
    }

    /// A variable that holds a path.
    #[must_use]
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        let value = self.variables.get(OsString::from(name).as_os_str())?;
        (!value.is_empty()).then(|| value.into())
    }

    /// Whether this is a step of a workflow of GitHub Actions.
    pub(super) fn is_actions(&self) -> bool {
        self.variable("GITHUB_ACTIONS") == Some("true")
    }

    /// The file for the summary of the step, where this is one.
    pub(super) fn step_summary(&self) -> Option<PathBuf> {
        self.path("GITHUB_STEP_SUMMARY").filter(|_| self.is_actions())
    }

    /// The user's folder for what programs note between runs; none for someone without a home. A
    /// relative path is ignored, as the XDG specification asks: it may lead into the checkout.
    pub(super) fn state_folder(&self) -> Option<PathBuf> {
        let absolute = |name| self.path(name).filter(|path| path.is_absolute());
        let state = absolute("XDG_STATE_HOME");
        let state = state.or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
        state.map(|state| state.join("basegen"))
    }

    /// The folder for temporary files.
    pub(super) fn temporary_folder(&self) -> PathBuf {
        self.path("TMPDIR").unwrap_or_else(|| "/tmp".into())
    }

    /// A variable that holds a secret, as credentials are given it: `None` is not set, and a
    /// value that is no text is there without a text.
    #[must_use]
    pub fn secret(&self, name: &str) -> Option<Option<SecretString>> {
        let value = self.variables.get(OsString::from(name).as_os_str())?;
        Some(value.to_str().map(SecretString::from))
    }

    /// The names, as far as they are texts, that begin with `prefix`.
    pub fn names<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        let names = self.variables.keys().filter_map(|name| name.to_str());
        names.filter(move |name| name.starts_with(prefix))
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

    pub(super) fn stderr_is_terminal(&self) -> bool {
        self.stderr_is_terminal
    }

    /// How many columns stderr has, 80 where nobody knows.
    pub(super) fn width(&self) -> usize {
        let columns = self.variable("COLUMNS").and_then(|columns| columns.parse().ok());
        let of_terminal =
            || self.stderr_is_terminal.then(|| console::Term::stderr().size().1.into());
        columns.or_else(of_terminal).filter(|width| *width > 0).unwrap_or(80)
    }

    fn color(&self, is_terminal: bool) -> bool {
        let signals = ColorSignals {
            no_color: self.variable("NO_COLOR"),
            clicolor_force: self.variable("CLICOLOR_FORCE"),
            clicolor: self.variable("CLICOLOR"),
            term: self.variable("TERM"),
            is_terminal,
        };
        signals.wants_color()
    }
}

impl fmt::Debug for Environment {
    // Some variables are secrets, and nobody knows which.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Environment")
    }
}
