//! The credentials that `auth_method` in `[registries."host"]` of the matrix names.

use std::collections::BTreeMap;

use futures_util::FutureExt as _;
use reqsign_aws_v4::Credential as AwsKeys;
use secrecy::{ExposeSecret as _, SecretString};

use super::aws::{self, EcrHost};
use super::cloud::Cloud;
use super::error::{CloudProblem, CredentialsError, VariableProblem};
use super::keychain::{CredentialSource, Host, Keychain, Lifetime, ResolvedCredential, Resolving};
use super::variables::shell_safe;
use super::{ACCESS_TOKEN, Credential, google, pair};
use crate::matrix::AuthMethod;

/// How the ids of keys begin that only a session token makes valid.
const TEMPORARY_KEY: &str = "ASIA";

/// The secrets that the matrix names. A registry with a method that fails gets no other credential.
pub(super) struct MatrixKeychain {
    pub(super) methods: BTreeMap<String, AuthMethod>,
    pub(super) cloud: Cloud,
}

impl Keychain for MatrixKeychain {
    fn resolve<'a>(&'a self, host: Host<'a>) -> Resolving<'a> {
        async move {
            let Some(method) = self.methods.get(host.key) else { return Ok(None) };
            let source =
                CredentialSource::Matrix { host: host.name.to_owned(), method: method.name() };
            // A cloud is not asked for a password that may not be sent.
            if host.is_plain {
                return Err(CredentialsError::plain_http(host, source));
            }
            let (credential, lifetime) = self.credential(host.name, method).await?;
            Ok(Some(ResolvedCredential { credential, source, lifetime }))
        }
        .boxed()
    }
}

impl MatrixKeychain {
    async fn credential(
        &self,
        host: &str,
        method: &AuthMethod,
    ) -> Result<(Credential, Lifetime), CredentialsError> {
        let aws = |problem| CredentialsError::cloud("AWS", host, problem);
        let password = |username: &str, variable: &str| {
            let (_, secret) = self.variable(host, variable)?;
            let (username, password) = (username.to_owned(), line(secret).into());
            Ok::<_, CredentialsError>(Credential::Password { username, password })
        };
        let credential = match method {
            AuthMethod::AwsIam { access_key_id, secret_access_key, session_token, region } => {
                let keys = self.aws_keys(host, access_key_id, secret_access_key, session_token)?;
                let password = aws::password(&self.cloud, host, region.as_deref(), keys).await;
                return password.map_err(aws);
            }
            AuthMethod::AwsOidc { role_arn, region } => {
                let region =
                    region.as_deref().or_else(|| EcrHost::parse(host).map(|ecr| ecr.region));
                let region = region.ok_or(CloudProblem::NoRegion).map_err(aws)?;
                let keys = aws::role_keys(&self.cloud, role_arn, region).await.map_err(aws)?;
                let password = aws::password(&self.cloud, host, Some(region), keys).await;
                return password.map_err(aws);
            }
            AuthMethod::GcpOidc { service_account, provider } => {
                let token = google::workload_token(&self.cloud, service_account, provider).await;
                return token.map_err(|problem| CredentialsError::cloud("Google", host, problem));
            }
            AuthMethod::GcpServiceAccountJson { variable } => {
                let (variable, secret) = self.variable(host, variable)?;
                google::service_account(secret).map_err(|problem| {
                    let problem = VariableProblem::ServiceAccount(problem);
                    CredentialsError::variable(variable, host, problem)
                })?
            }
            AuthMethod::AccessToken { username, variable } => {
                password(username.as_deref().unwrap_or(ACCESS_TOKEN), variable)?
            }
            AuthMethod::Basic { username, variable } => password(username, variable)?,
            AuthMethod::RegistrySecret { variable } => {
                let (variable, secret) = self.variable(host, variable)?;
                pair::read(secret).map_err(|problem| {
                    CredentialsError::variable(variable, host, VariableProblem::Pair(problem))
                })?
            }
        };
        Ok((credential, Lifetime::Run))
    }

    /// Returns both keys under the given names, or both under their shell-safe spelling. One of each
    /// is used only where neither pair is complete.
    fn aws_keys(
        &self,
        host: &str,
        id: &str,
        secret: &str,
        token: &str,
    ) -> Result<AwsKeys, CredentialsError> {
        let variables = self.cloud.variables();
        let both =
            |id: &str, secret: &str| Some((variables.text(id).ok()?, variables.text(secret).ok()?));
        let pair = both(id, secret).or_else(|| both(&shell_safe(id), &shell_safe(secret)));
        let (id, secret) = match pair {
            Some(pair) => pair,
            None => (self.variable(host, id)?.1, self.variable(host, secret)?.1),
        };
        let keys = AwsKeys {
            access_key_id: line(id),
            secret_access_key: line(secret),
            session_token: variables.either(token).ok().map(|(_, token)| line(token)),
            expires_in: None,
        };
        if keys.access_key_id.starts_with(TEMPORARY_KEY) && keys.session_token.is_none() {
            let problem = CloudProblem::NoSessionToken(token.to_owned());
            return Err(CredentialsError::cloud("AWS", host, problem));
        }
        Ok(keys)
    }

    /// Returns the content of the variable and the spelling of its name that is set.
    fn variable(
        &self,
        host: &str,
        name: &str,
    ) -> Result<(String, &SecretString), CredentialsError> {
        self.cloud.variables().either(name).map_err(|problem| {
            let safe = shell_safe(name);
            let names = if safe == name { safe } else { format!("{name}` or `{safe}") };
            CredentialsError::variable(names, host, problem)
        })
    }
}

/// Returns a secret of one line without the line end that a file or `echo` left behind it.
fn line(secret: &SecretString) -> String {
    secret.expose_secret().trim_end_matches(['\r', '\n']).to_owned()
}
