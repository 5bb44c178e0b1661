//! Connections: certificates, proxies, time-outs.

use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use reqwest::{Client, NoProxy, Proxy, Response, Url};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::address::{Reach, Resolver, is_loopback};
use super::payload::Activity;
use super::{Proxies, RegistryErrorKind, RegistryOptions, Timeouts};
use crate::error::one_line;

/// How basegen names itself to registries.
const USER_AGENT: &str = concat!("basegen/", env!("CARGO_PKG_VERSION"));

/// Makes connections and keeps them open, a set of them for each [`Reach`].
pub(super) struct Transport {
    certificates: Vec<CertificateDer<'static>>,
    proxies: Vec<Proxy>,
    proxy_hosts: Arc<[String]>,
    timeouts: Timeouts,
    tls: OnceLock<ClientConfig>,
    clients: Mutex<HashMap<(Reach, Way), Client>>,
}

/// What a client must be able to do. Reading the system's certificates takes a while, so that
/// clients which need none are made without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Way {
    /// To this machine, past every proxy.
    Direct,
    DirectTls,
    Usual,
    UsualTls,
}

impl Transport {
    pub(super) fn new(options: &RegistryOptions) -> Result<Self, RegistryErrorKind> {
        let certificates: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(&options.certificates).collect();
        let certificates = certificates
            .map_err(|error| setup(format!("the extra certificates are no PEM: {error}")))?;
        if certificates.is_empty() && !options.certificates.trim_ascii().is_empty() {
            return Err(setup("the extra certificates hold none".to_owned()));
        }
        Ok(Self {
            certificates,
            proxies: proxies(&options.proxies)?,
            proxy_hosts: proxy_hosts(&options.proxies),
            timeouts: options.timeouts,
            tls: OnceLock::new(),
            clients: Mutex::default(),
        })
    }

    pub(super) fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    /// Sends a request and waits for the head of its answer.
    pub(super) async fn send(
        &self,
        reach: Reach,
        request: reqwest::Request,
        activity: &Activity,
    ) -> Result<Response, RegistryErrorKind> {
        let url = request.url().clone();
        let client = self.client(reach, &url)?;
        tokio::select! {
            answer = client.execute(request) => answer.map_err(|error| unreachable(&url, error)),
            () = activity.ceased(self.timeouts.idle) => Err(silent(&url)),
        }
    }

    pub(super) fn client(&self, reach: Reach, url: &Url) -> Result<Client, RegistryErrorKind> {
        let way = match (is_loopback(url), url.scheme() == "https") {
            (true, false) => Way::Direct,
            (true, true) => Way::DirectTls,
            (false, false) => Way::Usual,
            (false, true) => Way::UsualTls,
        };
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&(reach, way)) {
            return Ok(client.clone());
        }
        let client = self.connect(reach, way)?;
        clients.insert((reach, way), client.clone());
        Ok(client)
    }

    fn connect(&self, reach: Reach, way: Way) -> Result<Client, RegistryErrorKind> {
        // An HTTPS proxy is spoken to with TLS whatever lies behind it.
        let with_tls = way != Way::Direct && (way != Way::Usual || !self.proxies.is_empty());
        let tls = match with_tls {
            true => self.tls()?,
            false => client_config(RootCertStore::empty())?,
        };
        let mut builder = Client::builder()
            .user_agent(USER_AGENT)
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            // Proxies are told to us; without this the library asks the environment.
            .no_proxy();
        if let Some(limit) = self.timeouts.connect {
            builder = builder.connect_timeout(limit);
        }
        if matches!(way, Way::Usual | Way::UsualTls) {
            builder =
                self.proxies.iter().fold(builder, |builder, proxy| builder.proxy(proxy.clone()));
        }
        if reach != Reach::Named {
            let named = Arc::clone(&self.proxy_hosts);
            builder = builder.dns_resolver(Arc::new(Resolver { reach, named }));
        }
        builder.build().map_err(|error| setup(one_line(&error.without_url())))
    }

    /// TLS that trusts the system's certificates and the extra ones.
    fn tls(&self) -> Result<ClientConfig, RegistryErrorKind> {
        if let Some(config) = self.tls.get() {
            return Ok(config.clone());
        }
        let mut roots = RootCertStore::empty();
        // Single certificates that cannot be read are the system's concern, not ours.
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
    // The provider is named, so that a second one among the dependencies cannot make this panic.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| setup(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

type Make = fn(&str) -> reqwest::Result<Proxy>;

/// The proxies in the order in which they are asked.
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
        // The library's message may quote the URL, and the URL may hold a password.
        let proxy = make(url.trim())
            .map_err(|_| setup(format!("the address of the {name} proxy is no URL of a proxy")))?;
        proxies.push(proxy.no_proxy(beside.clone()));
    }
    Ok(proxies)
}

/// The hosts of the proxies, which may be in a private network where no registry leads.
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

/// `host[:port]` of a URL.
pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Nothing was heard of a request for too long.
pub(super) fn silent(url: &Url) -> RegistryErrorKind {
    RegistryErrorKind::Unreachable {
        host: authority(url),
        problem: "it does not answer".to_owned(),
        transient: true,
    }
}

/// A connection that could not be made, or that broke.
pub(super) fn unreachable(url: &Url, error: reqwest::Error) -> RegistryErrorKind {
    let error = error.without_url();
    let causes = Cause::of(&error);
    let problem = match error.is_timeout() {
        true => "it does not answer".to_owned(),
        false => causes.innermost.unwrap_or_else(|| one_line(&error)),
    };
    let transient = !error.is_builder() && !causes.is_final;
    RegistryErrorKind::Unreachable { host: authority(url), problem, transient }
}

/// What lies at the bottom of a broken connection.
#[derive(Default)]
struct Cause {
    innermost: Option<String>,
    /// Whether asking again changes nothing: a certificate does not become valid by it, nor a
    /// name known.
    is_final: bool,
}

impl Cause {
    fn of(error: &(dyn Error + 'static)) -> Self {
        let mut causes = Self::default();
        causes.descend(error);
        causes
    }

    fn descend(&mut self, error: &(dyn Error + 'static)) {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            let text = io.to_string();
            self.is_final |= io.kind() == io::ErrorKind::PermissionDenied
                || text.contains("Name or service not known")
                || text.contains("nodename nor servname");
            self.innermost = Some(text);
            // What an `io::Error` was made of is not among its sources.
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
