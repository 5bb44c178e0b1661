//! AWS keys from every place where the AWS CLI looks for them, and with them the password of Amazon ECR.
//!
//! [`AwsKeychain`] asks for keys in the order of the AWS SDKs: environment variables, a web identity, the
//! profile, the container's credentials, the instance's metadata. reqsign knows how each is asked;
//! [`password`] exchanges keys for the password of a registry.

mod ecr;

pub(crate) use self::ecr::EcrHost;
pub(super) use self::ecr::password;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use ini::Ini;
use reqsign_aws_v4::{
    AssumeRoleCredentialProvider, AssumeRoleWithWebIdentityCredentialProvider as WebIdentity,
    Credential as Keys, ECSCredentialProvider, EnvCredentialProvider, IMDSv2CredentialProvider,
    ProcessCredentialProvider, ProfileCredentialProvider, RequestSigner, SSOCredentialProvider,
    StaticCredentialProvider,
};
use reqsign_core::{ProvideCredentialDyn, Signer};
use secrecy::ExposeSecret as _;

use super::cloud::Cloud;
use super::error::{CloudProblem, CredentialsError};
use super::keychain::{CredentialSource, Host, Keychain, ResolvedCredential, Resolving};

/// What STS calls the sessions of basegen, in the logs of AWS.
const SESSION: &str = "basegen";

/// How many profiles may refer to each other by `source_profile`.
const MAX_PROFILES: usize = 5;

type Sourced = Result<Option<(Keys, String)>, CloudProblem>;

/// AWS, for private registries of Amazon ECR.
pub(super) struct AwsKeychain {
    pub(super) cloud: Cloud,
}

impl Keychain for AwsKeychain {
    fn resolve<'a>(&'a self, host: Host<'a>) -> Resolving<'a> {
        async move {
            let Some(ecr) = EcrHost::parse(host.name).filter(|_| !host.is_plain) else {
                return Ok(None);
            };
            let failed = |problem| CredentialsError::cloud("AWS", host.name, problem);
            let Some((keys, source)) = self.keys(ecr.region).await.map_err(failed)? else {
                return Ok(None);
            };
            let password = password(&self.cloud, host.name, None, keys).await;
            let (credential, lifetime) = password.map_err(failed)?;
            let source = CredentialSource::Cloud(source);
            Ok(Some(ResolvedCredential { credential, source, lifetime }))
        }
        .boxed()
    }
}

impl AwsKeychain {
    /// Returns the first keys and their source.
    async fn keys(&self, region: &str) -> Sourced {
        let variable = "environment variable `AWS_ACCESS_KEY_ID`".to_owned();
        if let Some(keys) = self.ask(EnvCredentialProvider::new(), variable).await? {
            return Ok(Some(keys));
        }
        if let Some(role) = self.cloud.variable("AWS_ROLE_ARN") {
            let web_identity = web_identity(&self.cloud, role, region);
            let source = format!("AWS web identity, role `{role}`");
            if let Some(keys) = self.ask(web_identity, source).await? {
                return Ok(Some(keys));
            }
        }
        let profile = self.cloud.variable("AWS_PROFILE");
        let config = self.config().await?;
        if let Some(keys) = self.profile(&config, profile.unwrap_or("default"), region, 1).await? {
            return Ok(Some(keys));
        }
        if let Some(profile) = profile {
            return Err(CloudProblem::Source {
                origin: format!("AWS profile `{profile}`"),
                problem: "it is in no file of AWS, or has no credentials".to_owned(),
                is_temporary: false,
            });
        }
        let container = "AWS container credentials".to_owned();
        if let Some(keys) = self.ask(ECSCredentialProvider::new(), container).await? {
            return Ok(Some(keys));
        }
        // Most machines are no instances of EC2, or have no role.
        let metadata = "AWS instance metadata".to_owned();
        Ok(self.ask(IMDSv2CredentialProvider::new(), metadata).await.unwrap_or_default())
    }

    async fn ask(
        &self,
        provider: impl ProvideCredentialDyn<Credential = Keys>,
        source: String,
    ) -> Sourced {
        let context = self.cloud.context();
        match provider.provide_credential_dyn(&context).await {
            Ok(keys) => Ok(keys.map(|keys| (keys, source))),
            Err(error) => Err(CloudProblem::from_reqsign(&source, &error)),
        }
    }

    /// Reads the shared configuration of AWS; a file that does not exist is empty.
    async fn config(&self) -> Result<Ini, CloudProblem> {
        let home = self.cloud.variable("HOME").unwrap_or_default();
        let named = self.cloud.variable("AWS_CONFIG_FILE").map(str::to_owned);
        let path = named.unwrap_or_else(|| format!("{home}/.aws/config"));
        let Ok(text) = tokio::fs::read_to_string(&path).await else { return Ok(Ini::new()) };
        Ini::load_from_str(&text).map_err(|error| CloudProblem::Source {
            origin: format!("`{path}`"),
            problem: format!("line {} is not that of an INI file", error.line),
            is_temporary: false,
        })
    }

    /// Returns the keys of a profile, in whichever way it names them.
    fn profile<'a>(
        &'a self,
        config: &'a Ini,
        name: &'a str,
        region: &'a str,
        depth: usize,
    ) -> BoxFuture<'a, Sourced> {
        async move {
            let section =
                if name == "default" { name.to_owned() } else { format!("profile {name}") };
            let value = |key: &str| config.get_from(Some(section.as_str()), key);
            let named = format!("AWS profile `{name}`");
            if let Some(role) = value("role_arn") {
                if let Some(file) = value("web_identity_token_file") {
                    let provider = web_identity(&self.cloud, role, region);
                    let provider = provider.with_web_identity_token_file(file);
                    return self.ask(provider, format!("{named} via web identity")).await;
                }
                let Some(other) = value("source_profile").filter(|_| depth < MAX_PROFILES) else {
                    return Ok(None);
                };
                let Some((keys, _)) =
                    self.source_profile(config, name, other, region, depth).await?
                else {
                    return Ok(None);
                };
                let mut provider = self.role(role, region, &keys);
                if let Some(id) = value("external_id") {
                    provider = provider.with_external_id(id.to_owned());
                }
                return self.ask(provider, format!("{named} via role `{role}`")).await;
            }
            if let Some(sso) = sso(config, &section) {
                let sso = match self.cloud.endpoint(&["AWS_ENDPOINT_URL_SSO"])? {
                    Some(url) => sso.with_endpoint(format!("{url}federation/credentials")),
                    None => sso,
                };
                return self.ask(sso, format!("{named} via SSO")).await;
            }
            if let Some(keys) = self.stored(name).await? {
                return Ok(Some(keys));
            }
            let process = ProcessCredentialProvider::new().with_profile(name);
            self.ask(process, format!("{named} via credential_process")).await
        }
        .boxed()
    }

    /// Returns the keys that the files contain for a profile.
    async fn stored(&self, name: &str) -> Sourced {
        let stored = ProfileCredentialProvider::new().with_profile(name);
        self.ask(stored, format!("AWS profile `{name}`")).await
    }

    /// Returns the keys of the profile `other`, which may be those that `name` itself stores.
    async fn source_profile(
        &self,
        config: &Ini,
        name: &str,
        other: &str,
        region: &str,
        depth: usize,
    ) -> Sourced {
        if other == name {
            return self.stored(name).await;
        }
        self.profile(config, other, region, depth + 1).await
    }

    fn role(&self, role: &str, region: &str, keys: &Keys) -> AssumeRoleCredentialProvider {
        let mut own = StaticCredentialProvider::new(&keys.access_key_id, &keys.secret_access_key);
        if let Some(token) = &keys.session_token {
            own = own.with_session_token(token);
        }
        let context = self.cloud.context();
        let signer = Signer::new(context, own, RequestSigner::new("sts", region));
        AssumeRoleCredentialProvider::new(role.to_owned(), signer)
            .with_role_session_name(SESSION.to_owned())
            .with_region(region.to_owned())
            .with_regional_sts_endpoint()
    }
}

/// Returns how the profile of `section` logs in with IAM Identity Center, if it does.
fn sso(config: &Ini, section: &str) -> Option<SSOCredentialProvider> {
    let value = |key: &str| config.get_from(Some(section), key);
    let session = value("sso_session");
    let session_section = session.map(|session| format!("sso-session {session}"));
    let shared = |key: &str| {
        let of_session =
            session_section.as_deref().and_then(|name| config.get_from(Some(name), key));
        of_session.or_else(|| value(key))
    };
    // The provider uses the start URL only to find the cached token, and that of a session is stored
    // under the name of the session.
    let cached_as = session.or_else(|| value("sso_start_url"))?;
    Some(
        SSOCredentialProvider::new()
            .with_account_id(value("sso_account_id")?)
            .with_role_name(value("sso_role_name")?)
            .with_region(shared("sso_region")?)
            .with_start_url(cached_as),
    )
}

/// Returns the provider that exchanges an identity token for the keys of `role`.
fn web_identity(cloud: &Cloud, role: &str, region: &str) -> WebIdentity {
    let session = cloud.variable("AWS_ROLE_SESSION_NAME").unwrap_or(SESSION);
    WebIdentity::new()
        .with_role_arn(role)
        .with_role_session_name(session.to_owned())
        .with_region(region.to_owned())
        .with_regional_sts_endpoint()
}

/// Returns the keys of `role`, for the identity token of this job of GitHub Actions or for that in
/// `AWS_WEB_IDENTITY_TOKEN_FILE`.
pub(super) async fn role_keys(
    cloud: &Cloud,
    role: &str,
    region: &str,
) -> Result<Keys, CloudProblem> {
    let mut provider = web_identity(cloud, role, region);
    if let Some(token) = cloud.identity_token("sts.amazonaws.com").await? {
        provider = provider.with_subject_token(token.expose_secret());
    }
    let keys = provider.provide_credential_dyn(&cloud.context()).await;
    let keys =
        keys.map_err(|error| CloudProblem::from_reqsign(&format!("role `{role}`"), &error))?;
    keys.ok_or(CloudProblem::NoIdentityToken)
}

#[cfg(test)]
mod tests;
