//! HTTP requests to the clouds that issue credentials.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use reqwest::{Client, Url};

use super::cloud::CloudProblem;
use super::{Credentials, PlainHttp};
use crate::registry::address::Reach;
use crate::registry::transport::{Transport, authority, timed_out, unreachable};
use crate::registry::{Proxies, RegistryError, RegistryErrorKind, RegistryOptions};

/// The longest answer that is read, in bytes; a password of ECR has about 2,500.
pub(super) const MAX_ANSWER: usize = 256 << 10;

const TIMEOUT: Duration = Duration::from_secs(30);

/// How long a metadata server may take. Outside of its cloud nothing answers at its address.
const METADATA_TIMEOUT: Duration = Duration::from_secs(1);

/// How clouds are reached that issue credentials.
#[derive(Debug, Clone, Default)]
pub struct Network {
    pub proxies: Proxies,
    /// Certificates (PEM) that are trusted beside the system's.
    pub certificates: Vec<u8>,
}

impl Network {
    /// Returns a client for requests to `url`, which is no registry's.
    pub fn client(&self, url: &Url) -> Result<Client, RegistryError> {
        let client = self.transport().and_then(|transport| transport.client(Reach::Named, url));
        let host = url.host_str().unwrap_or_default().to_owned();
        client.map_err(|kind| RegistryError::new("prepare a connection to", host, kind))
    }

    fn transport(&self) -> Result<Transport, RegistryErrorKind> {
        Transport::new(&RegistryOptions {
            proxies: self.proxies.clone(),
            certificates: self.certificates.clone(),
            ..RegistryOptions::new(Arc::new(Credentials::anonymous()))
        })
    }
}

/// Whom a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    /// An API of a cloud, through proxies.
    Api,
    /// A service on this machine or its host, past all proxies.
    Local,
    /// The metadata server of this machine, which may not exist.
    Metadata,
}

/// The connections to clouds, made when the first is needed.
pub(super) struct Http {
    network: Network,
    permitted: PlainHttp,
    api: OnceLock<Transport>,
    local: OnceLock<Transport>,
}

impl Http {
    pub(super) fn new(network: Network, permitted: PlainHttp) -> Self {
        Self { network, permitted, api: OnceLock::new(), local: OnceLock::new() }
    }

    /// Sends a request and reads the whole answer, whatever its status.
    pub(super) async fn send(
        &self,
        request: http::Request<Bytes>,
        peer: Peer,
    ) -> Result<http::Response<Bytes>, CloudProblem> {
        let request = reqwest::Request::try_from(request)
            .map_err(|_| CloudProblem::setup("the address of the cloud is no URL"))?;
        let url = request.url().clone();
        if !self.permitted.admits(&url) && !is_link_local(&url) {
            return Err(CloudProblem::PlainHttp(authority(&url)));
        }
        let client = self.client(peer, &url)?;
        let limit = if peer == Peer::Metadata { METADATA_TIMEOUT } else { TIMEOUT };
        match tokio::time::timeout(limit, exchange(&client, request, &url)).await {
            Ok(answer) => answer,
            Err(_) => Err(timed_out(&url).into()),
        }
    }

    fn client(&self, peer: Peer, url: &Url) -> Result<Client, RegistryErrorKind> {
        let (cell, network) = match peer {
            Peer::Api => (&self.api, self.network.clone()),
            Peer::Local | Peer::Metadata => (&self.local, Network::default()),
        };
        if let Some(transport) = cell.get() {
            return transport.client(Reach::Named, url);
        }
        let transport = network.transport()?;
        cell.get_or_init(|| transport).client(Reach::Named, url)
    }
}

async fn exchange(
    client: &Client,
    request: reqwest::Request,
    url: &Url,
) -> Result<http::Response<Bytes>, CloudProblem> {
    let unreachable = |error| CloudProblem::from(unreachable(url, error));
    let mut answer = client.execute(request).await.map_err(unreachable)?;
    let mut response = http::Response::builder().status(answer.status());
    if let Some(headers) = response.headers_mut() {
        headers.clone_from(answer.headers());
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(CloudProblem::protocol(url, answer.status()));
        }
        body.extend_from_slice(&chunk);
    }
    response.body(body.into()).map_err(|_| CloudProblem::setup("the answer cannot be read"))
}

/// Returns true for addresses that lead no further than the host that this machine runs on, where clouds
/// have their metadata servers.
fn is_link_local(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    if host == "metadata.google.internal" {
        return true;
    }
    match host.trim_matches(['[', ']']).parse() {
        Ok(std::net::IpAddr::V4(address)) => address.is_link_local(),
        // The container agent and IMDS of EC2: https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
        Ok(std::net::IpAddr::V6(address)) => address.segments()[..2] == [0xfd00, 0x0ec2],
        Err(_) => false,
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Http")
    }
}
