//! The ways to credentials that `[registries."host"]` of the matrix can name.

use secrecy::SecretString;

use super::ecr::Keyring;
use super::error::CredentialsError;
use super::variables::{VariableProblem, Variables};
use super::{Credential, google, pair, signature::Keys};

/// Where `auth_method` says that a registry's credentials come from. It holds names of
/// variables, never what is in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthMethod {
    /// `AWS_IAM`: a password that ECR gives to whoever has the keys.
    AwsIam(AwsIam),
    /// `GCP_SERVICE_ACCOUNT_JSON`: a service account's key.
    GcpServiceAccountJson {
        /// The variable that holds the key.
        variable: String,
    },
    /// `ACCESS_TOKEN`: an access token of Google's, or of a registry with another user for it.
    AccessToken {
        /// Whose password the token is; Google's `oauth2accesstoken` where there is none.
        username: Option<String>,
        /// The variable that holds the token.
        variable: String,
    },
    /// `BASIC`: a user and a password.
    Basic {
        /// The user.
        username: String,
        /// The variable that holds the password.
        variable: String,
    },
    /// `REGISTRY_SECRET`: base64 of `user:password` under a name of its own.
    RegistrySecret {
        /// The variable that holds it.
        variable: String,
    },
}

/// The names of the variables that hold AWS' keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsIam {
    /// The variable of the access key's id.
    pub access_key_id: String,
    /// The variable of the secret access key.
    pub secret_access_key: String,
    /// The variable of the token that temporary keys have.
    pub session_token: String,
    /// The region, where the registry's host does not tell it.
    pub region: Option<String>,
}

impl Default for AwsIam {
    fn default() -> Self {
        Self {
            access_key_id: "aws_access_key_id".to_owned(),
            secret_access_key: "aws_secret_access_key".to_owned(),
            session_token: "aws_session_token".to_owned(),
            region: None,
        }
    }
}

/// What a method comes to before any network is asked.
pub(super) enum Resolved {
    /// The credential itself.
    Ready(Credential),
    /// The keys that AWS is asked with.
    Aws(Keyring),
}

impl AuthMethod {
    /// The name, as `auth_method` has it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::AwsIam(_) => "AWS_IAM",
            Self::GcpServiceAccountJson { .. } => "GCP_SERVICE_ACCOUNT_JSON",
            Self::AccessToken { .. } => "ACCESS_TOKEN",
            Self::Basic { .. } => "BASIC",
            Self::RegistrySecret { .. } => "REGISTRY_SECRET",
        }
    }

    /// The variables that it may need.
    #[must_use]
    pub fn variables(&self) -> Vec<&str> {
        match self {
            Self::AwsIam(iam) => {
                vec![&iam.access_key_id, &iam.secret_access_key, &iam.session_token]
            }
            Self::GcpServiceAccountJson { variable }
            | Self::AccessToken { variable, .. }
            | Self::Basic { variable, .. }
            | Self::RegistrySecret { variable } => vec![variable],
        }
    }

    pub(super) fn resolve(
        &self,
        host: &str,
        variables: &Variables,
    ) -> Result<Resolved, CredentialsError> {
        let text =
            |name: &str| variables.either(name).map_err(|problem| missing(name, host, problem));
        Ok(Resolved::Ready(match self {
            Self::AwsIam(iam) => return iam.keyring(host, variables).map(Resolved::Aws),
            Self::GcpServiceAccountJson { variable } => {
                let (variable, secret) = text(variable)?;
                google::service_account(secret).map_err(|problem| {
                    CredentialsError::ServiceAccount { variable, host: host.to_owned(), problem }
                })?
            }
            Self::AccessToken { username, variable } => Credential::Password {
                username: username.clone().unwrap_or_else(|| google::ACCESS_TOKEN.to_owned()),
                password: line(text(variable)?.1),
            },
            Self::Basic { username, variable } => Credential::Password {
                username: username.clone(),
                password: line(text(variable)?.1),
            },
            Self::RegistrySecret { variable } => {
                let (variable, secret) = text(variable)?;
                pair::read(secret).map_err(|problem| CredentialsError::Pair {
                    variable,
                    host: host.to_owned(),
                    problem,
                })?
            }
        }))
    }
}

impl AwsIam {
    /// Both keys under the names that are given, or both in their shell-safe spelling; one of
    /// each only where neither pair is whole.
    fn keyring(&self, host: &str, variables: &Variables) -> Result<Keyring, CredentialsError> {
        let both = |spell: fn(&str) -> String| {
            let id = variables.text(&spell(&self.access_key_id));
            id.and_then(|id| Ok((id, variables.text(&spell(&self.secret_access_key))?)))
        };
        let one = |name: &str| match variables.either(name) {
            Ok((_, text)) => Ok(text),
            Err(problem) => Err(missing(name, host, problem)),
        };
        let pair = both(str::to_owned).or_else(|_| both(super::variables::shell_safe));
        let (id, secret) = match pair {
            Ok(pair) => pair,
            Err(_) => (one(&self.access_key_id)?, one(&self.secret_access_key)?),
        };
        let session_token = variables.either(&self.session_token).ok();
        Ok(Keyring {
            region: self.region.clone(),
            keys: Keys {
                access_key_id: line(id),
                secret_access_key: line(secret),
                session_token: session_token.map(|(_, token)| line(token)),
            },
            session_token_variable: self.session_token.clone(),
        })
    }
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
