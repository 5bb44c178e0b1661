//! The addresses to which a registry may send a request.
//!
//! The answers of a registry name further addresses: redirects, uploads and token servers. None of
//! them may lead to a service that only this machine can reach, such as a cloud's metadata service.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The networks that a request may reach, each including those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Reach {
    Public,
    /// The public Internet and private networks.
    Private,
    /// Those networks and this machine.
    Loopback,
    /// Any address, because the user named the host.
    Named,
}

impl Reach {
    /// Returns the reach that `address` requires. Link-local addresses, where clouds serve
    /// credentials, and addresses that belong to no host require [`Self::Named`].
    pub(super) fn needed(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => needed_for_v4(address),
            IpAddr::V6(address) => needed_for_v6(address),
        }
    }
}

fn needed_for_v4(address: Ipv4Addr) -> Reach {
    // Alibaba's metadata service, which is in the shared range.
    let metadata = Ipv4Addr::new(100, 100, 100, 200);
    let [first, second, ..] = address.octets();
    if address.is_loopback() {
        Reach::Loopback
    } else if address.is_link_local()
        || address == metadata
        || first == 0
        || address.is_multicast()
        || first >= 240
    {
        Reach::Named
    } else if address.is_private() || (first == 100 && (64..128).contains(&second)) {
        Reach::Private
    } else {
        Reach::Public
    }
}

fn needed_for_v6(address: Ipv6Addr) -> Reach {
    let segments = address.segments();
    if let Some(address) = address.to_ipv4_mapped() {
        return needed_for_v4(address);
    }
    if segments[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
        let [.., a, b, c, d] = address.octets();
        return needed_for_v4(Ipv4Addr::new(a, b, c, d));
    }
    if address.is_loopback() {
        Reach::Loopback
    } else if address.is_unicast_link_local()
        || is_aws_metadata(address)
        || address.is_unspecified()
        || address.is_multicast()
    {
        Reach::Named
    } else if address.is_unique_local() {
        Reach::Private
    } else {
        Reach::Public
    }
}

/// Returns true for the [metadata services of AWS][aws], which are in the private range.
///
/// [aws]: https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
fn is_aws_metadata(address: Ipv6Addr) -> bool {
    address.segments()[..2] == [0xfd00, 0x0ec2]
}

/// Returns true if the host of `url` is a metadata service of a cloud, which is no further away than
/// the host of this machine.
pub(super) fn is_metadata(url: &Url) -> bool {
    match literal(url) {
        Some(IpAddr::V4(address)) => address.is_link_local(),
        Some(IpAddr::V6(address)) => is_aws_metadata(address),
        None => url.host_str() == Some("metadata.google.internal"),
    }
}

/// Returns the host of `url` if it is an IP address.
pub(super) fn literal(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Returns true if the host of `url` names this machine: `localhost`, `127.0.0.0/8`, `[::1]`.
pub(super) fn is_loopback(url: &Url) -> bool {
    match literal(url) {
        Some(address) => Reach::needed(address) == Reach::Loopback,
        None => url.host_str().is_some_and(|host| {
            let host = host.trim_end_matches('.');
            host.eq_ignore_ascii_case("localhost") || host.ends_with(".localhost")
        }),
    }
}

/// Returns the reach that the host of `url` requires, which the user named.
pub(super) async fn needed_for(url: &Url) -> Reach {
    if is_loopback(url) {
        return Reach::Loopback;
    }
    if let Some(address) = literal(url) {
        return Reach::needed(address);
    }
    let host = url.host_str().unwrap_or_default();
    let addresses = tokio::net::lookup_host((host, 0)).await;
    let reaches = addresses.into_iter().flatten().map(|address| Reach::needed(address.ip()));
    reaches.max().unwrap_or(Reach::Public)
}

/// The system's resolver, limited to the addresses within a reach.
pub(super) struct Resolver {
    pub(super) reach: Reach,
    /// Hosts with any address, because the user named them: the proxies.
    pub(super) named: Arc<[String]>,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let is_named = self.named.iter().any(|host| host.eq_ignore_ascii_case(name.as_str()));
        let reach = if is_named { Reach::Named } else { self.reach };
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let reachable: Vec<SocketAddr> =
                found.filter(|address| Reach::needed(address.ip()) <= reach).collect();
            if reachable.is_empty() {
                let refusal = "its address is not one that a registry may redirect to";
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, refusal).into());
            }
            Ok(Box::new(reachable.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn required_reach(address: &str) -> Reach {
        Reach::needed(address.parse().expect("an address"))
    }

    #[test]
    fn metadata_services_must_be_named_by_the_user() {
        for address in [
            "169.254.169.254",
            "169.254.170.2",
            "100.100.100.200",
            "fd00:ec2::254",
            "fe80::1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "0.0.0.0",
            "0.1.2.3",
            "::",
            "255.255.255.255",
            "224.0.0.1",
            "ff02::1",
        ] {
            assert_eq!(required_reach(address), Reach::Named, "{address}");
        }
    }

    #[test]
    fn private_and_public_addresses_are_distinguished() {
        for address in ["10.1.2.3", "172.31.0.1", "192.168.0.1", "100.64.0.1", "fc00::1"] {
            assert_eq!(required_reach(address), Reach::Private, "{address}");
        }
        for address in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(required_reach(address), Reach::Loopback, "{address}");
        }
        for address in ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111"] {
            assert_eq!(required_reach(address), Reach::Public, "{address}");
        }
    }

    #[test]
    fn loopback_hosts_are_recognized() {
        let is_loopback_url = |url: &str| is_loopback(&url.parse().expect("a URL"));
        assert!(
            ["http://localhost:5000/", "http://127.0.0.1/", "http://[::1]:5/"]
                .into_iter()
                .all(is_loopback_url)
        );
        assert!(
            !["http://localhost.example.com/", "http://10.0.0.1/"].into_iter().any(is_loopback_url)
        );
        // The URL standard reads this as 127.0.0.1.
        assert!(is_loopback_url("http://0x7f.1/"));
    }

    #[tokio::test]
    async fn names_resolve_only_within_their_reach() {
        let resolve = |reach, named: &[&str]| {
            let named = named.iter().map(|name| (*name).to_owned()).collect();
            Resolver { reach, named }.resolve("localhost".parse().expect("a name"))
        };
        assert!(resolve(Reach::Private, &[]).await.is_err());
        let has_address =
            |result: Result<Addrs, _>| result.is_ok_and(|mut addresses| addresses.next().is_some());
        assert!(has_address(resolve(Reach::Loopback, &[]).await));
        assert!(has_address(resolve(Reach::Public, &["localhost"]).await));
    }
}
