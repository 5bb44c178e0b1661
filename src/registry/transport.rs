//! HTTP connections to registries: certificates, proxies and time-outs.

use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use reqwest::{Client, NoProxy, Proxy, Response, Url};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::address::{Reach, Resolver, is_loopback, is_metadata};
use super::{Network, Proxies, RegistryError, RegistryErrorKind, Timeouts};
use crate::error::one_line;

const USER_AGENT: &str = concat!("basegen/", env!("CARGO_PKG_VERSION"));

/// HTTP clients with their open connections, one for each [`Reach`] and [`Route`].
pub(super) struct Transport {
    certificates: Vec<CertificateDer<'static>>,
    proxies: Vec<Proxy>,
    proxy_hosts: Arc<[String]>,
    timeouts: Timeouts,
    tls: OnceLock<ClientConfig>,
    clients: Mutex<HashMap<(Reach, Route), Client>>,
}

/// The capabilities of a client. Clients without TLS are created faster, because they do not load
/// the system's certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Route {
    /// Whether requests go to this machine or its host, without a proxy.
    is_direct: bool,
    is_tls: bool,
    /// Whether requests have a time limit of their own, instead of one for the wait for an answer.
    is_limited: bool,
}

impl Network {
    /// Returns a client for requests to `url`, which is no registry's.
    pub fn client(&self, url: &Url) -> Result<Client, RegistryError> {
        let transport = Transport::new(self, Timeouts::default());
        let client = transport.and_then(|transport| transport.client(Reach::Named, url, false));
        let host = url.host_str().unwrap_or_default().to_owned();
        client.map_err(|kind| RegistryError::new("prepare a connection to", host, kind))
    }
}

impl Transport {
    pub(super) fn new(network: &Network, timeouts: Timeouts) -> Result<Self, RegistryErrorKind> {
        let certificates: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(&network.certificates).collect();
        let certificates = certificates
            .map_err(|error| setup(format!("the extra certificates are not valid PEM: {error}")))?;
        if certificates.is_empty() && !network.certificates.trim_ascii().is_empty() {
            return Err(setup("the extra certificates contain no certificate".to_owned()));
        }
        Ok(Self {
            certificates,
            proxies: proxies(&network.proxies)?,
            proxy_hosts: proxy_hosts(&network.proxies),
            timeouts,
            tls: OnceLock::new(),
            clients: Mutex::default(),
        })
    }

    /// Sends a request and waits for the status and headers of the answer.
    pub(super) async fn send(
        &self,
        reach: Reach,
        request: reqwest::Request,
    ) -> Result<Response, RegistryErrorKind> {
        let url = request.url().clone();
        let client = self.client(reach, &url, request.timeout().is_some())?;
        client.execute(request).await.map_err(|error| unreachable(&url, error))
    }

    fn client(
        &self,
        reach: Reach,
        url: &Url,
        is_limited: bool,
    ) -> Result<Client, RegistryErrorKind> {
        let route = Route {
            is_direct: is_loopback(url) || is_metadata(url),
            is_tls: url.scheme() == "https",
            is_limited,
        };
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&(reach, route)) {
            return Ok(client.clone());
        }
        let client = self.build_client(reach, route)?;
        clients.insert((reach, route), client.clone());
        Ok(client)
    }

    fn build_client(&self, reach: Reach, route: Route) -> Result<Client, RegistryErrorKind> {
        // The proxy itself may use TLS.
        let needs_tls = route.is_tls || (!route.is_direct && !self.proxies.is_empty());
        let tls = if needs_tls { self.tls()? } else { client_config(RootCertStore::empty())? };
        let mut builder = Client::builder()
            .user_agent(USER_AGENT)
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            // Without this, reqwest reads the proxies from the environment.
            .no_proxy();
        if let Some(limit) = self.timeouts.connect {
            builder = builder.connect_timeout(limit);
        }
        if let Some(limit) = self.timeouts.idle.filter(|_| !route.is_limited) {
            builder = builder.read_timeout(limit);
        }
        if !route.is_direct {
            for proxy in &self.proxies {
                builder = builder.proxy(proxy.clone());
            }
        }
        if reach != Reach::Named {
            let named = Arc::clone(&self.proxy_hosts);
            builder = builder.dns_resolver(Arc::new(Resolver { reach, named }));
        }
        builder.build().map_err(|error| setup(one_line(&error.without_url())))
    }

    /// Returns the TLS configuration, with the system's certificates and the extra ones.
    fn tls(&self) -> Result<ClientConfig, RegistryErrorKind> {
        if let Some(config) = self.tls.get() {
            return Ok(config.clone());
        }
        let mut roots = RootCertStore::empty();
        // Unreadable certificates of the system are ignored.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        for certificate in &self.certificates {
            roots
                .add(certificate.clone())
                .map_err(|error| setup(format!("an extra certificate cannot be used: {error}")))?;
        }
        let config = client_config(roots)?;
        Ok(self.tls.get_or_init(|| config).clone())
    }
}

fn client_config(roots: RootCertStore) -> Result<ClientConfig, RegistryErrorKind> {
    // Without an explicit provider, rustls panics if the dependencies enable a second one.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| setup(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

type Make = fn(&str) -> reqwest::Result<Proxy>;

/// Returns the proxies in order of precedence.
fn proxies(options: &Proxies) -> Result<Vec<Proxy>, RegistryErrorKind> {
    let beside = options.no_proxy.as_deref().and_then(NoProxy::from_string);
    let kinds: [(&str, &Option<String>, Make); 3] = [
        ("http", &options.http, |url| Proxy::http(url)),
        ("https", &options.https, |url| Proxy::https(url)),
        ("all", &options.all, |url| Proxy::all(url)),
    ];
    let mut proxies = Vec::new();
    for (name, url, make) in kinds {
        let Some(url) = url.as_deref().filter(|url| !url.trim().is_empty()) else {
            continue;
        };
        // The message of reqwest may quote the URL, which may contain a password.
        let proxy = make(url.trim()).map_err(|_| {
            setup(format!("the address of the {name} proxy is not a valid proxy URL"))
        })?;
        proxies.push(proxy.no_proxy(beside.clone()));
    }
    Ok(proxies)
}

/// Returns the hosts of the proxies, which may be in a private network.
fn proxy_hosts(options: &Proxies) -> Arc<[String]> {
    let urls = [&options.http, &options.https, &options.all].into_iter().flatten();
    let hosts = urls.filter_map(|url| {
        let url = url.trim();
        let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        Url::parse(&url).ok()?.host_str().map(str::to_owned)
    });
    hosts.collect()
}

fn setup(problem: String) -> RegistryErrorKind {
    RegistryErrorKind::Setup { problem }
}

/// Returns `host[:port]` of a URL.
pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Returns the error for a connection that could not be established, or broke.
pub(super) fn unreachable(url: &Url, error: reqwest::Error) -> RegistryErrorKind {
    let error = error.without_url();
    let mut cause = Cause::default();
    cause.descend(&error);
    let problem = if error.is_timeout() {
        "it did not respond in time".to_owned()
    } else {
        cause.innermost.unwrap_or_else(|| one_line(&error))
    };
    let transient = !error.is_builder() && !cause.is_final;
    RegistryErrorKind::Unreachable { host: authority(url), problem, transient }
}

/// The root cause of a failed connection.
#[derive(Default)]
struct Cause {
    innermost: Option<String>,
    /// Whether another attempt fails too, such as for an invalid certificate or an unknown host.
    is_final: bool,
}

impl Cause {
    fn descend(&mut self, error: &(dyn Error + 'static)) {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            let text = io.to_string();
            self.is_final |= io.kind() == io::ErrorKind::PermissionDenied
                || text.contains("Name or service not known")
                || text.contains("nodename nor servname");
            self.innermost = Some(text);
            // The inner error of an `io::Error` is not among its sources.
            if let Some(inner) = io.get_ref() {
                self.descend(inner);
            }
        } else if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            self.is_final = true;
            self.innermost = Some(tls.to_string());
        }
        if let Some(source) = error.source() {
            self.descend(source);
        }
    }
}
