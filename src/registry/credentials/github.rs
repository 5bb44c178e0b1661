//! `GITHUB_TOKEN`, which GitHub Actions gives to each job, for GitHub's own registry.

use std::sync::Arc;

use futures_util::FutureExt as _;
use reqwest::Url;

use super::Credential;
use super::keychain::{CredentialSource, Host, Keychain, Lifetime, ResolvedCredential, Resolving};
use super::variables::Variables;

const TOKEN: &str = "GITHUB_TOKEN";

/// The user where `GITHUB_ACTOR` names none: the registry looks at the token alone.
const ANY_USER: &str = "x-access-token";

pub(super) struct GitHubKeychain {
    pub(super) variables: Arc<Variables>,
}

impl GitHubKeychain {
    /// Returns true if `host` is GitHub's registry, or that of the company whose server the job is on.
    fn is_own_registry(&self, host: &str) -> bool {
        let server = self.variables.get("GITHUB_SERVER_URL").and_then(|url| Url::parse(url).ok());
        let server = server.as_ref().and_then(Url::host_str);
        host == "ghcr.io"
            || server.is_some_and(|server| host.strip_prefix("containers.") == Some(server))
    }
}

impl Keychain for GitHubKeychain {
    fn resolve<'a>(&'a self, host: Host<'a>) -> Resolving<'a> {
        let token = self.variables.get(TOKEN).filter(|_| self.is_own_registry(host.name));
        let resolved = token.map(|token| {
            let username = self.variables.get("GITHUB_ACTOR").unwrap_or(ANY_USER).to_owned();
            let credential = Credential::Password { username, password: token.trim().into() };
            let source = CredentialSource::Variable(TOKEN.to_owned());
            ResolvedCredential { credential, source, lifetime: Lifetime::Run }
        });
        async { Ok(resolved) }.boxed()
    }
}
