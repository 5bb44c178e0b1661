//! Tokens of token servers, cached until shortly before they expire.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::time::Instant;

use super::RegistryErrorKind;
use super::scopes::Scopes;

/// The default lifetime of a token, in seconds ([specification][token]).
///
/// [token]: https://distribution.github.io/distribution/spec/auth/token/
const DEFAULT_LIFE: u64 = 60;

/// A token is not used any more for this time before it expires: the request must still arrive.
const MARGIN: Duration = Duration::from_secs(30);

/// The answer of a token server.
#[derive(Deserialize)]
struct Answer {
    token: Option<SecretString>,
    access_token: Option<SecretString>,
    #[serde(default)]
    expires_in: Option<f64>,
}

/// A token for one set of scopes.
#[derive(Clone)]
pub(super) struct Token {
    secret: SecretString,
    expires: Instant,
    /// Distinguishes the tokens of a slot.
    serial: u64,
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Token").field("serial", &self.serial).finish_non_exhaustive()
    }
}

impl Token {
    /// Reads the answer of a token server.
    ///
    /// Its lifetime is counted with the monotonic clock, so that a wrong time of day on either side
    /// does not matter here.
    pub(super) fn read(body: &[u8]) -> Result<Self, &'static str> {
        // The message of serde is left out, because it quotes the answer.
        let answer: Answer = serde_json::from_slice(body).map_err(|_| "it is not valid JSON")?;
        let filled = |token: &SecretString| !token.expose_secret().is_empty();
        let secret = answer.token.filter(filled).or(answer.access_token.filter(filled));
        let secret = secret.ok_or("it contains no token")?;
        let seconds = answer.expires_in.filter(|seconds| seconds.is_finite() && *seconds > 0.0);
        let life = seconds.map_or(Duration::from_secs(DEFAULT_LIFE), |seconds| {
            Duration::try_from_secs_f64(seconds.min(86_400.0)).unwrap_or_default()
        });
        Ok(Self { expires: Instant::now() + life - MARGIN.min(life / 4), secret, serial: 0 })
    }

    pub(super) fn secret(&self) -> &SecretString {
        &self.secret
    }
}

/// The cached tokens of one registry.
#[derive(Default)]
pub(super) struct Tokens {
    slots: Mutex<HashMap<Scopes, Arc<Slot>>>,
}

/// The latest token for one set of scopes, or why there is none. Requests that need it while it is
/// being fetched wait and share the result.
#[derive(Default)]
struct Slot {
    latest: tokio::sync::Mutex<Option<Result<Token, RegistryErrorKind>>>,
    fetches: AtomicU64,
}

impl Tokens {
    /// Returns the token for `scopes`, and whether it was fetched just now.
    pub(super) async fn get(
        &self,
        scopes: &Scopes,
        fetch: impl Future<Output = Result<Token, RegistryErrorKind>>,
    ) -> Result<(Token, bool), RegistryErrorKind> {
        let slot = self.slot(scopes);
        let before = slot.fetches.load(Ordering::Acquire);
        let mut latest = slot.latest.lock().await;
        let fetched_meanwhile = slot.fetches.load(Ordering::Acquire) != before;
        match &*latest {
            Some(Ok(token)) if token.expires > Instant::now() => {
                return Ok((token.clone(), fetched_meanwhile));
            }
            Some(Err(failure)) if fetched_meanwhile => return Err(failure.clone()),
            _ => {}
        }
        let serial = slot.fetches.load(Ordering::Acquire) + 1;
        let outcome = fetch.await.map(|token| Token { serial, ..token });
        slot.fetches.store(serial, Ordering::Release);
        *latest = Some(outcome.clone());
        outcome.map(|token| (token, true))
    }

    /// Removes a token that was refused, unless there is already a newer one.
    pub(super) async fn remove(&self, scopes: &Scopes, token: &Token) {
        let slot = self.slot(scopes);
        let mut latest = slot.latest.lock().await;
        if matches!(&*latest, Some(Ok(known)) if known.serial == token.serial) {
            *latest = None;
        }
    }

    fn slot(&self, scopes: &Scopes) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry(scopes.clone()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    fn read(text: &str) -> Token {
        Token::read(text.as_bytes()).expect("a token")
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_renewed_before_it_expires() {
        let lifetime = |text| read(text).expires.duration_since(Instant::now()).as_secs();
        assert_eq!(lifetime(r#"{"token":"t","expires_in":300}"#), 270);
        assert_eq!(lifetime(r#"{"access_token":"t","expires_in":40}"#), 30);
        assert_eq!(lifetime(r#"{"token":"","access_token":"t"}"#), 45);
        assert_eq!(lifetime(r#"{"token":"t","expires_in":-5}"#), 45);
        assert_eq!(lifetime(r#"{"token":"t","expires_in":1e300}"#), 86_370);
    }

    #[test]
    fn errors_do_not_quote_the_response() {
        for body in [r#"{"token":5}"#, "canary", r#"{"token":["canary"]}"#, "{}"] {
            let problem = Token::read(body.as_bytes()).expect_err("an invalid token");
            assert!(!problem.contains("canary"));
        }
    }

    #[tokio::test]
    async fn concurrent_requests_share_one_fetch() {
        let (tokens, fetches) = (Tokens::default(), AtomicUsize::new(0));
        let scopes = Scopes::pull("acme/base");
        let count = &fetches;
        let get = |succeeds: bool| {
            tokens.get(&scopes, async move {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                if succeeds {
                    Ok(read(r#"{"token":"t","expires_in":300}"#))
                } else {
                    Err(RegistryErrorKind::Setup { problem: "broken".to_owned() })
                }
            })
        };
        let failures = futures_util::future::join_all((0..5).map(|_| get(false))).await;
        assert!(failures.iter().all(Result::is_err));
        assert_eq!(fetches.swap(0, Ordering::SeqCst), 1);

        let results = futures_util::future::join_all((0..5).map(|_| get(true))).await;
        assert!(results.iter().all(Result::is_ok));
        let (token, is_fresh) = get(true).await.expect("a token");
        assert!(!is_fresh);
        assert_eq!(fetches.swap(0, Ordering::SeqCst), 1);

        tokens.remove(&scopes, &token).await;
        let (newer, _) = get(true).await.expect("a token");
        // A request that was refused with the old token does not remove the new one.
        tokens.remove(&scopes, &token).await;
        assert_eq!(get(true).await.expect("a token").0.serial, newer.serial);
        assert_eq!(fetches.load(Ordering::SeqCst), 1);
    }
}
