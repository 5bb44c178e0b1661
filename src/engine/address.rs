//! Addresses of engines, as in `DOCKER_HOST` and `--builder`.

use std::fmt;
use std::path::PathBuf;

use super::EngineError;

/// The address of an engine, and its protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineAddress {
    pub kind: EngineKind,
    pub endpoint: Endpoint,
    /// The certificates for a TCP endpoint with TLS.
    pub tls: Option<Box<TlsFiles>>,
}

/// The product at an [`EngineAddress`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineKind {
    /// A Docker Engine. It serves `BuildKit`'s API after an upgrade of `POST /grpc`.
    Docker,
    /// A `buildkitd`. It serves gRPC directly.
    BuildKit,
}

/// A unix or TCP socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    Unix(PathBuf),
    Tcp {
        /// A host name or IP address. IPv6 addresses have no brackets.
        host: String,
        port: u16,
    },
}

/// The PEM files of a mutual TLS connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate authority of the engine.
    pub ca: PathBuf,
    pub cert: PathBuf,
    /// The key of the client certificate.
    pub key: PathBuf,
}

impl TlsFiles {
    /// Returns the files in `folder` with Docker's names.
    #[must_use]
    pub fn in_folder(folder: &std::path::Path) -> Self {
        Self {
            ca: folder.join("ca.pem"),
            cert: folder.join("cert.pem"),
            key: folder.join("key.pem"),
        }
    }
}

impl EngineAddress {
    /// Parses the address of a Docker Engine, as in `DOCKER_HOST` and docker contexts:
    /// `unix:///path` or `tcp://host[:port]`.
    pub fn docker(url: &str, tls: Option<TlsFiles>) -> Result<Self, EngineError> {
        let default_port = if tls.is_some() { 2376 } else { 2375 };
        let (scheme, rest) = split(url)?;
        let endpoint = match scheme {
            "unix" => unix(url, rest)?,
            "tcp" | "http" | "https" => tcp(url, rest, default_port)?,
            "ssh" => {
                return Err(EngineError::SshHost { host: rest.to_owned() });
            }
            _ => return Err(EngineError::address(url, "expected `unix://` or `tcp://`")),
        };
        Ok(Self::new(EngineKind::Docker, endpoint, tls))
    }

    /// Parses the address of a `buildkitd`: `unix:///path` or `tcp://host[:port]`.
    pub fn buildkit(url: &str, tls: Option<TlsFiles>) -> Result<Self, EngineError> {
        let (scheme, rest) = split(url)?;
        let endpoint = match scheme {
            "unix" => unix(url, rest)?,
            "tcp" => tcp(url, rest, 1234)?,
            _ => return Err(EngineError::address(url, "expected `unix://` or `tcp://`")),
        };
        Ok(Self::new(EngineKind::BuildKit, endpoint, tls))
    }

    fn new(kind: EngineKind, endpoint: Endpoint, tls: Option<TlsFiles>) -> Self {
        // A unix socket has no TLS, even if DOCKER_TLS_VERIFY is set.
        let tls = tls.filter(|_| matches!(endpoint, Endpoint::Tcp { .. }));
        Self { kind, endpoint, tls: tls.map(Box::new) }
    }
}

impl fmt::Display for EngineAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.endpoint {
            Endpoint::Unix(path) => write!(formatter, "unix://{}", path.display()),
            Endpoint::Tcp { host, port } if host.contains(':') => {
                write!(formatter, "tcp://[{host}]:{port}")
            }
            Endpoint::Tcp { host, port } => write!(formatter, "tcp://{host}:{port}"),
        }
    }
}

fn split(url: &str) -> Result<(&str, &str), EngineError> {
    url.split_once("://").ok_or_else(|| {
        EngineError::address(url, "expected a URL such as `unix:///run/buildkit/buildkitd.sock`")
    })
}

fn unix(url: &str, path: &str) -> Result<Endpoint, EngineError> {
    if path.starts_with('/') {
        Ok(Endpoint::Unix(PathBuf::from(path)))
    } else {
        Err(EngineError::address(url, "expected an absolute path"))
    }
}

fn tcp(url: &str, rest: &str, default_port: u16) -> Result<Endpoint, EngineError> {
    let refuse = || EngineError::address(url, "expected `host:port` and nothing after it");
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match authority.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']').ok_or_else(refuse)?,
        None => authority.find(':').map_or((authority, ""), |colon| authority.split_at(colon)),
    };
    let port = match port.strip_prefix(':') {
        Some(digits) => digits.parse().map_err(|_| refuse())?,
        None if port.is_empty() => default_port,
        None => return Err(refuse()),
    };
    if host.is_empty() || host.contains(['/', '@', ' ']) {
        return Err(refuse());
    }
    Ok(Endpoint::Tcp { host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tls() -> TlsFiles {
        TlsFiles::in_folder("/certs".as_ref())
    }

    #[test]
    fn docker_hosts_are_parsed_like_in_docker() {
        let cases = [
            ("unix:///var/run/docker.sock", None, "unix:///var/run/docker.sock"),
            ("tcp://10.0.0.1", None, "tcp://10.0.0.1:2375"),
            ("tcp://10.0.0.1", Some(tls()), "tcp://10.0.0.1:2376"),
            ("http://engine:80/", None, "tcp://engine:80"),
            ("tcp://[::1]:2375", None, "tcp://[::1]:2375"),
        ];
        for (url, tls, expected) in cases {
            let address = EngineAddress::docker(url, tls).expect(url);
            assert_eq!(address.to_string(), expected);
        }
    }

    #[test]
    fn a_unix_socket_has_no_tls() {
        let address = EngineAddress::docker("unix:///s", Some(tls())).expect("an address");
        assert_eq!(address.tls, None);
    }

    #[test]
    fn invalid_addresses_are_rejected() {
        for url in [
            "",
            "builder",
            "unix://relative",
            "tcp://",
            "tcp://host:port",
            "tcp://host:1/path",
            "tcp://[::1",
            "docker-container://buildkitd",
            "npipe:////./pipe/docker_engine",
        ] {
            assert!(EngineAddress::buildkit(url, None).is_err(), "{url}");
        }
    }

    #[test]
    fn ssh_addresses_have_an_error_of_their_own() {
        let error = EngineAddress::docker("ssh://me@host", None).expect_err("ssh");
        assert!(matches!(error, EngineError::SshHost { host } if host == "me@host"));
    }
}
