//! Recognizes transient faults of the engine and its network, and limits retries.

use std::time::Duration;

use crate::registry::{Retry, RetryPolicy};

/// Messages of Go and containerd about a failed or broken connection, in lower case.
const BROKEN: &[&str] = &[
    "broken pipe",
    "client connection lost",
    "connection refused",
    "connection reset by peer",
    "connection timed out",
    "context deadline exceeded (client.timeout",
    "eof",
    "http2: server sent goaway",
    "i/o timeout",
    "network is unreachable",
    "no route to host",
    "server misbehaving",
    "server closed idle connection",
    "stream error: stream id",
    "temporary failure in name resolution",
    "timeout awaiting response headers",
    "tls handshake timeout",
    "use of closed network connection",
];

/// Their messages about a temporary fault of a registry, in lower case.
const UNWELL: &[&str] = &[
    "429 too many requests",
    "500 internal server error",
    "502 bad gateway",
    "503 service unavailable",
    "504 gateway timeout",
];

/// Words that make a message's fault permanent, whatever else the message contains.
const FINAL: &[&str] = &["denied", "unauthorized", "authorization failed", "name unknown", "x509:"];

/// Returns true if `message`, in which an engine reports a failed request to a registry, names a
/// fault that may be gone at the next attempt.
pub(super) fn is_network_fault(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    let is_end = |before: Option<char>, after: Option<char>| {
        let is_word = |at: Option<char>| at.is_some_and(|letter| letter.is_ascii_alphanumeric());
        !is_word(before) && !is_word(after)
    };
    let says = |words: &&str| {
        message.match_indices(words).any(|(at, found)| {
            let after = message[at + found.len()..].chars().next();
            is_end(message[..at].chars().next_back(), after)
        })
    };
    !FINAL.iter().any(says) && BROKEN.iter().chain(UNWELL).any(says)
}

/// The number of failed attempts at an operation.
pub(super) struct Attempts {
    policy: RetryPolicy,
    failures: u32,
}

impl Attempts {
    pub(super) fn new(policy: RetryPolicy) -> Self {
        Self { policy, failures: 0 }
    }

    /// Returns the wait before the next attempt after a transient fault, or `None` if the attempts are exhausted.
    pub(super) fn next_wait(&mut self) -> Option<Duration> {
        self.failures += 1;
        self.policy.next_wait(self.failures, Retry::Backoff)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The messages of `BuildKit` 0.13 and Docker 26.
    #[test]
    fn network_faults_and_busy_registries_are_transient() {
        for message in [
            "failed to push 127.0.0.1:5000/a: failed to do request: Put \"http://127.0.0.1:5000/v2/a/blobs/uploads/1?digest=sha256%3A1\": EOF",
            "failed to push r.example/a: failed to copy: failed to do request: Post \"https://r.example/v2/a/blobs/uploads/\": read tcp 10.0.0.2:34->10.0.0.1:443: read: connection reset by peer",
            "failed to push r.example/a: failed to do request: Head \"https://r.example/v2/\": dial tcp: lookup r.example on 10.0.0.1:53: server misbehaving",
            "failed to push r.example/a: failed to do request: Head \"https://r.example/v2/\": net/http: TLS handshake timeout",
            "failed to push r.example/a: failed to do request: Head \"https://r.example/v2/\": dial tcp 10.0.0.1:443: i/o timeout",
            "failed to push r.example/a: unexpected status from PUT request to https://r.example/v2/a/manifests/sha256:1: 503 Service Unavailable",
            "failed to push r.example/a: failed to copy: unexpected EOF",
            "failed to export `a`: received unexpected HTTP status: 502 Bad Gateway",
        ] {
            assert!(is_network_fault(message), "{message}");
        }
    }

    #[test]
    fn refusals_are_permanent() {
        for message in [
            "failed to push r.example/a: push access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed",
            "failed to push r.example/a: failed to authorize: failed to fetch oauth token: unexpected status from GET request to https://r.example/token: 401 Unauthorized",
            "failed to push r.example/a: unexpected status from POST request to https://r.example/v2/a/blobs/uploads/: 404 Not Found: name unknown",
            "failed to push r.example/a: failed to do request: Head \"https://r.example/v2/\": tls: failed to verify certificate: x509: certificate signed by unknown authority",
            "failed to push r.example/a: failed to do request: Head \"https://r.example/v2/\": dial tcp: lookup r.example: no such host",
            "failed to push r.example/geofence: unexpected status from PUT request to https://r.example/v2/geofence/manifests/sha256:1: 400 Bad Request",
            "failed to push r.example/a: http: server gave HTTP response to HTTPS client",
        ] {
            assert!(!is_network_fault(message), "{message}");
        }
    }

    #[test]
    fn attempts_are_limited() {
        let policy = RetryPolicy { attempts: 3, ..RetryPolicy::default() };
        let mut attempts = Attempts::new(policy);
        assert!(attempts.next_wait().is_some() && attempts.next_wait().is_some());
        assert_eq!(attempts.next_wait(), None);
    }
}
