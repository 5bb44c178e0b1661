//! One registry: its address, its authentication and its limits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use reqwest::Url;
use tokio::sync::OnceCell;

use super::address::{self, Reach};
use super::challenge::Challenge;
use super::limiter::RateLimiter;
use super::tokens::Tokens;
use super::transport::{Transport, authority};
use super::{Credentials, HostOptions, RegistryErrorKind, RegistryOptions, RetryPolicy};
use crate::image::Repository;

/// Docker Hub in references, and the host of its API.
const DOCKER_HUB: &str = "docker.io";
const DOCKER_HUB_API: &str = "registry-1.docker.io";

/// The state that all registries share.
pub(super) struct Shared {
    pub(super) transport: Transport,
    pub(super) credentials: Arc<Credentials>,
    pub(super) retry: RetryPolicy,
    pub(super) options: HashMap<String, HostOptions>,
    limiters: Mutex<HashMap<String, Arc<RateLimiter>>>,
}

impl Shared {
    pub(super) fn new(options: &RegistryOptions) -> Result<Self, RegistryErrorKind> {
        Ok(Self {
            transport: Transport::new(&options.network, options.timeouts)?,
            credentials: Arc::clone(&options.credentials),
            retry: options.retry,
            options: options.hosts.clone().into_iter().collect(),
            limiters: Mutex::default(),
        })
    }

    /// Returns the limiter of `host`, which may be a token server too.
    pub(super) fn limiter(&self, host: &str) -> Arc<RateLimiter> {
        let mut limiters = self.limiters.lock().unwrap_or_else(PoisonError::into_inner);
        let limiter = limiters.entry(host.to_owned()).or_insert_with(|| {
            Arc::new(RateLimiter::new(&self.options.get(host).cloned().unwrap_or_default()))
        });
        Arc::clone(limiter)
    }
}

/// A registry or a mirror.
pub(super) struct Host {
    /// The host in references and configurations, such as `docker.io`.
    pub(super) name: String,
    /// The URL below which `/v2/` is.
    base: Url,
    pub(super) is_mirror: bool,
    pub(super) shared: Arc<Shared>,
    pub(super) retry: RetryPolicy,
    pub(super) limiter: Arc<RateLimiter>,
    pub(super) tokens: Tokens,
    /// The authentication that it last requested.
    challenge: RwLock<Option<Challenge>>,
    /// Set once the root of the API was requested for a challenge.
    pub(super) pinged: OnceCell<()>,
    reach: OnceCell<Reach>,
}

impl Host {
    /// Returns the registry with this host in a reference.
    pub(super) fn named(name: &str, shared: Arc<Shared>) -> Result<Self, RegistryErrorKind> {
        let place = if name == DOCKER_HUB { DOCKER_HUB_API } else { name };
        let plain_http = shared.options.get(name).and_then(|options| options.plain_http);
        let parse = |scheme: &str| {
            let url = Url::parse(&format!("{scheme}://{place}/"));
            url.map_err(|_| RegistryErrorKind::Setup {
                problem: format!("`{name}` is not a valid host"),
            })
        };
        let url = parse("http")?;
        let is_plain = plain_http.unwrap_or_else(|| address::is_loopback(&url));
        let base = if is_plain { url } else { parse("https")? };
        Ok(Self::at(base, name.to_owned(), shared))
    }

    /// Returns the mirror at `url`, which may lack its scheme.
    pub(super) fn mirror(url: &str, shared: Arc<Shared>) -> Result<Self, RegistryErrorKind> {
        let invalid = || RegistryErrorKind::Setup {
            problem: "a mirror's address is not an `https://` or `http://` URL".to_owned(),
        };
        let text = if url.contains("://") { url.to_owned() } else { format!("https://{url}") };
        let mut base = Url::parse(&text).map_err(|_| invalid())?;
        let has_password = !base.username().is_empty() || base.password().is_some();
        if !matches!(base.scheme(), "http" | "https") || !base.has_host() || has_password {
            return Err(invalid());
        }
        base.set_query(None);
        base.set_fragment(None);
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let name = authority(&base);
        // If a mirror fails, the registry itself is used.
        let retry =
            RetryPolicy { attempts: 1, longest_retry_after: Duration::ZERO, ..shared.retry };
        Ok(Self { retry, is_mirror: true, ..Self::at(base, name, shared) })
    }

    fn at(base: Url, name: String, shared: Arc<Shared>) -> Self {
        let limiter = shared.limiter(&name);
        Self {
            name,
            base,
            is_mirror: false,
            limiter,
            retry: shared.retry,
            shared,
            tokens: Tokens::default(),
            challenge: RwLock::default(),
            pinged: OnceCell::new(),
            reach: OnceCell::new(),
        }
    }

    /// Returns the URL of a path below `/v2/`.
    pub(super) fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}v2/{path}", self.base.path()));
        url
    }

    /// Returns the path of a repository in the registry's API. Docker's official images are in
    /// `library/`.
    pub(super) fn path(repository: &Repository) -> String {
        if repository.registry() == DOCKER_HUB && !repository.path().contains('/') {
            format!("library/{}", repository.path())
        } else {
            repository.path().to_owned()
        }
    }

    /// Returns true if credentials may be sent to `url`.
    pub(super) fn is_own_origin(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    pub(super) fn challenge(&self) -> Option<Challenge> {
        self.challenge.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_challenge(&self, challenge: &Challenge) {
        let mut known = self.challenge.write().unwrap_or_else(PoisonError::into_inner);
        *known = Some(challenge.clone());
    }

    /// Returns the networks that a request to `url` may reach if the registry redirects to it, or an
    /// error if it must not be sent.
    pub(super) async fn reach(&self, url: &Url) -> Result<Reach, RegistryErrorKind> {
        if self.is_own_origin(url) {
            return Ok(Reach::Named);
        }
        let refuse = |problem| Err(self.forbidden_target(url, problem));
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("which contains a username or a password");
        }
        match url.scheme() {
            "https" => {}
            "http" if self.base.scheme() == "http" && self.is_same_machine(url) => {}
            _ => return refuse("which does not use TLS"),
        }
        if self.base.host_str() == url.host_str() {
            return Ok(Reach::Named);
        }
        // A registry in a private network may have its storage there too.
        let own = self.reach.get_or_init(|| address::needed_for(&self.base)).await;
        let limit = (*own).min(Reach::Loopback);
        let needed = match address::literal(url) {
            Some(literal) => Reach::needed(literal),
            None if address::is_loopback(url) => Reach::Loopback,
            None => Reach::Public,
        };
        if needed <= limit { Ok(limit) } else { refuse("which is not a public address") }
    }

    fn is_same_machine(&self, url: &Url) -> bool {
        self.base.host_str() == url.host_str()
            || (address::is_loopback(&self.base) && address::is_loopback(url))
    }

    /// Returns the error for an address that the registry names and that is not used.
    pub(super) fn forbidden_target(&self, url: &Url, problem: &'static str) -> RegistryErrorKind {
        let path: String = url.path().chars().take(200).collect();
        RegistryErrorKind::ForbiddenTarget {
            host: self.name.clone(),
            target: format!("{}://{}{path}", url.scheme(), authority(url)),
            problem,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Credentials;
    use super::*;

    fn shared(plain_http: &[(&str, bool)]) -> Arc<Shared> {
        let mut options = RegistryOptions::new(Arc::new(Credentials::anonymous()));
        for (host, plain_http) in plain_http {
            let host_options =
                HostOptions { plain_http: Some(*plain_http), ..HostOptions::default() };
            options.hosts.insert((*host).to_owned(), host_options);
        }
        Arc::new(Shared::new(&options).expect("no certificates"))
    }

    fn base(name: &str, plain_http: &[(&str, bool)]) -> String {
        Host::named(name, shared(plain_http)).expect("a host").url("").to_string()
    }

    #[test]
    fn only_loopback_hosts_default_to_plain_http() {
        assert_eq!(base("docker.io", &[]), "https://registry-1.docker.io/v2/");
        assert_eq!(base("ghcr.io", &[]), "https://ghcr.io/v2/");
        assert_eq!(base("10.0.0.1:5000", &[]), "https://10.0.0.1:5000/v2/");
        assert_eq!(base("localhost:5000", &[]), "http://localhost:5000/v2/");
        assert_eq!(base("[::1]:5000", &[]), "http://[::1]:5000/v2/");
        assert_eq!(base("10.0.0.1:5000", &[("10.0.0.1:5000", true)]), "http://10.0.0.1:5000/v2/");
        assert_eq!(
            base("localhost:5000", &[("localhost:5000", false)]),
            "https://localhost:5000/v2/"
        );
    }

    #[test]
    fn mirrors_are_hosts_or_urls() {
        let base = |url| Host::mirror(url, shared(&[])).map(|host| host.url("").to_string()).ok();
        assert_eq!(base("mirror.gcr.io").as_deref(), Some("https://mirror.gcr.io/v2/"));
        assert_eq!(base("http://10.0.0.1:5000/").as_deref(), Some("http://10.0.0.1:5000/v2/"));
        assert_eq!(base("https://a.b/hub?x").as_deref(), Some("https://a.b/hub/v2/"));
        assert_eq!(base("https://user:pass@a.b/"), None);
        assert_eq!(base("ftp://a.b/"), None);
    }

    #[test]
    fn official_images_of_docker_are_in_library() {
        let path = |text: &str| Host::path(&text.parse().expect("a repository"));
        assert_eq!(path("python"), "library/python");
        assert_eq!(path("baseten/base"), "baseten/base");
        assert_eq!(path("ghcr.io/base"), "base");
    }

    #[tokio::test]
    async fn a_public_registry_redirects_only_to_public_addresses_with_tls() {
        // An address of the documentation range needs no DNS.
        let registry = Host::named("203.0.113.1", shared(&[])).expect("a host");
        for (url, reach) in [
            ("https://203.0.113.1/v2/", Some(Reach::Named)),
            ("https://203.0.113.1:8443/upload", Some(Reach::Named)),
            ("https://storage.example/upload", Some(Reach::Public)),
            ("http://203.0.113.1/v2/", None),
            ("http://storage.example/upload", None),
            ("https://user@storage.example/", None),
            ("https://127.0.0.1/", None),
            ("https://localhost/", None),
            ("https://10.0.0.1/", None),
            ("https://169.254.169.254/", None),
            ("https://0xa9fea9fe/", None),
        ] {
            let url = Url::parse(url).expect("a URL");
            assert_eq!(registry.reach(&url).await.ok(), reach, "{url}");
        }
    }

    #[tokio::test]
    async fn a_private_registry_redirects_to_private_addresses() {
        let registry = Host::named("10.0.0.1", shared(&[])).expect("a host");
        let reach = async |url: &str| registry.reach(&Url::parse(url).expect("a URL")).await.ok();
        assert_eq!(reach("https://10.0.0.2/").await, Some(Reach::Private));
        assert_eq!(reach("https://127.0.0.1/").await, None);
        assert_eq!(reach("https://169.254.169.254/").await, None);
        assert_eq!(reach("http://10.0.0.2/").await, None);
    }
}
