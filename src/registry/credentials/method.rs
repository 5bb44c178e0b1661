//! The ways to credentials that `[registries."host"]` of the matrix can name.

use secrecy::SecretString;

use super::ecr::Keyring;
use super::error::CredentialsError;
use super::variables::{VariableProblem, Variables};
use super::{Credential, google, pair, signature::Keys};
use crate::matrix::AuthMethod;

/// What a method comes to before any network is asked.
pub(super) enum Resolved {
    /// The credential itself.
    Ready(Credential),
    /// The keys that AWS is asked with.
    Aws(Keyring),
}

/// Reads the variables that `method` names, for the registry at `host`.
pub(super) fn resolve(
    method: &AuthMethod,
    host: &str,
    variables: &Variables,
) -> Result<Resolved, CredentialsError> {
    let text = |name: &str| variables.either(name).map_err(|problem| missing(name, host, problem));
    Ok(Resolved::Ready(match method {
        AuthMethod::AwsIam { access_key_id, secret_access_key, session_token, region } => {
            let names = [access_key_id, secret_access_key, session_token];
            let keyring = keyring(names.map(String::as_str), region.as_ref(), host, variables);
            return keyring.map(Resolved::Aws);
        }
        AuthMethod::GcpServiceAccountJson { variable } => {
            let (variable, secret) = text(variable)?;
            google::service_account(secret).map_err(|problem| CredentialsError::ServiceAccount {
                variable,
                host: host.to_owned(),
                problem,
            })?
        }
        AuthMethod::AccessToken { username, variable } => Credential::Password {
            username: username.clone().unwrap_or_else(|| google::ACCESS_TOKEN.to_owned()),
            password: line(text(variable)?.1),
        },
        AuthMethod::Basic { username, variable } => {
            Credential::Password { username: username.clone(), password: line(text(variable)?.1) }
        }
        AuthMethod::RegistrySecret { variable } => {
            let (variable, secret) = text(variable)?;
            pair::read(secret).map_err(|problem| CredentialsError::Pair {
                variable,
                host: host.to_owned(),
                problem,
            })?
        }
    }))
}

/// Returns both keys under the names that are given, or both in their shell-safe spelling. One of each
/// is used only where neither pair is complete.
fn keyring(
    [access_key_id, secret_access_key, session_token]: [&str; 3],
    region: Option<&String>,
    host: &str,
    variables: &Variables,
) -> Result<Keyring, CredentialsError> {
    let both = |spell: fn(&str) -> String| {
        let id = variables.text(&spell(access_key_id));
        id.and_then(|id| Ok((id, variables.text(&spell(secret_access_key))?)))
    };
    let one = |name: &str| match variables.either(name) {
        Ok((_, text)) => Ok(text),
        Err(problem) => Err(missing(name, host, problem)),
    };
    let pair = both(str::to_owned).or_else(|_| both(super::variables::shell_safe));
    let (id, secret) = match pair {
        Ok(pair) => pair,
        Err(_) => (one(access_key_id)?, one(secret_access_key)?),
    };
    let token = variables.either(session_token).ok();
    Ok(Keyring {
        region: region.cloned(),
        keys: Keys {
            access_key_id: line(id),
            secret_access_key: line(secret),
            session_token: token.map(|(_, token)| line(token)),
        },
        session_token_variable: session_token.to_owned(),
    })
}

fn missing(variable: &str, host: &str, problem: VariableProblem) -> CredentialsError {
    let safe = super::variables::shell_safe(variable);
    let variable = match safe == variable {
        true => safe,
        // Both spellings were looked for.
        false => format!("{variable}` or `{safe}"),
    };
    CredentialsError::Variable { variable, host: host.to_owned(), problem }
}

/// A secret of one line, without the line end that a file or `echo` left behind it.
fn line(secret: &SecretString) -> SecretString {
    use secrecy::ExposeSecret as _;
    secret.expose_secret().trim_end_matches(['\r', '\n']).into()
}
