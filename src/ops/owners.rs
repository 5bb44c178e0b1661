//! Refuses a matrix that sends a well-known token to a host that is not its owner's.

use crate::matrix::{AuthMethod, Diagnostic, Matrix, SourceError};
use crate::registry::{NamedHosts, Owner};

use super::Variables;

/// Checks the variables that `[registries]` names, before any host is contacted.
pub(crate) fn check_registries(matrix: &Matrix, named: &NamedHosts) -> Result<(), SourceError> {
    let registries = matrix.registries.iter();
    let variables = registries.flat_map(|(host, settings)| {
        settings.variables.iter().map(move |(variable, span)| (host, variable, span))
    });
    let diagnostics = variables.filter_map(|(host, variable, span)| {
        let owner = Owner::for_variable(variable)?;
        (!owner.admits(variable, host, named)).then(|| {
            let message = format!("the variable `{variable}` is not sent to `{host}`");
            let label = format!("it is for {}", owner.hosts());
            Diagnostic::new(span.clone(), message, label).help(
                "for a credential of this registry, set a variable of another name and write that name here",
            )
        })
    });
    let methods = matrix.registries.iter().filter_map(|(host, settings)| {
        let method = settings.auth.as_ref()?;
        let owner = match method.get_ref() {
            AuthMethod::AwsOidc { .. } => Owner::Aws,
            AuthMethod::GcpOidc { .. } => Owner::Google,
            _ => return None,
        };
        (!owner.admits("", host, named)).then(|| {
            let message = format!("`{}` is not for `{host}`", method.get_ref().name());
            Diagnostic::new(method.span(), message, format!("it is for {}", owner.hosts()))
        })
    });
    refuse(matrix, diagnostics.chain(methods).collect())
}

/// Checks the variables that `[pull_request]` names, whose values go to `api_host`.
pub(crate) fn check_pull_request(
    matrix: &Matrix,
    api_host: &str,
    named: &NamedHosts,
) -> Result<(), SourceError> {
    let table = &matrix.pull_request;
    let keys =
        [&table.token_secret_name, &table.app_id_secret_name, &table.app_private_key_secret_name];
    let diagnostics = keys.into_iter().flatten().filter_map(|name| {
        let variable = name.get_ref();
        let owner = Owner::for_variable(variable)?;
        // The caller has made sure that the host is GitHub's.
        (owner != Owner::GitHub && !owner.admits(variable, api_host, named)).then(|| {
            let message = format!("the variable `{variable}` is not sent to GitHub");
            Diagnostic::new(name.span(), message, format!("it is for {}", owner.hosts()))
        })
    });
    refuse(matrix, diagnostics.collect())
}

/// Checks that no build step is given a well-known token because the matrix asks for it. Build steps run
/// commands of the checkout, which may send the token anywhere.
pub(crate) fn check_build_secrets(
    matrix: &Matrix,
    is_given: impl Fn(&str) -> bool,
    variables: &Variables,
) -> Result<(), SourceError> {
    let diagnostics = matrix.build.secrets.iter().filter_map(|(id, table)| {
        let variable = table.env.as_ref()?;
        let name = variable.get_ref();
        let is_set = variables.bytes(name).is_some_and(|value| !value.is_empty());
        (is_set && !is_given(id) && Owner::for_variable(name).is_some()).then(|| {
            let message = format!("the variable `{name}` is not given to build steps");
            let label = "the matrix alone asks for this token";
            let help = format!("allow it with `--secret id={id},env={name}`");
            Diagnostic::new(variable.span(), message, label).help(help)
        })
    });
    refuse(matrix, diagnostics.collect())
}

fn refuse(matrix: &Matrix, diagnostics: Vec<Diagnostic>) -> Result<(), SourceError> {
    if diagnostics.is_empty() { Ok(()) } else { Err(SourceError::new(&matrix.source, diagnostics)) }
}

/// Returns `host[:port]` of a URL, or of a text that is one without its scheme.
pub(crate) fn host_of(text: &str) -> Option<String> {
    let is_url = text.contains("://");
    let url = if is_url { text.to_owned() } else { format!("https://{text}") };
    authority(&url.parse().ok()?)
}

/// Returns `host[:port]` of a URL.
pub(crate) fn authority(url: &reqwest::Url) -> Option<String> {
    let host = url.host_str()?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}
