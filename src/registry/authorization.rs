//! Who we are to a registry: [tokens][tokens] and passwords.
//!
//! [tokens]: https://distribution.github.io/distribution/spec/auth/token/

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, StatusCode};
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

use super::challenge::Challenge;
use super::error::is_transient;
use super::host::Host;
use super::payload::Payload;
use super::request::{Call, Proof, Reply};
use super::retry::{Attempts, Failure};
use super::scopes::Scopes;
use super::tokens::Token;
use super::transport::authority;
use super::{Credential, CredentialsError, RegistryErrorKind};

/// The name by which token servers know us.
const CLIENT_ID: &str = "basegen";

/// What a request proves itself with.
struct Authorization {
    proof: Proof,
    /// The token, whether it was fetched just now, and what it is for.
    token: Option<(Token, bool, Scopes)>,
    /// What the registry itself is shown.
    password: Option<Credential>,
}

impl Host {
    /// Sends a request until it is answered with something that repeating cannot change.
    pub(super) async fn send(&self, call: &Call) -> Result<Reply, RegistryErrorKind> {
        let mut attempts = Attempts::new(&self.retry, &self.limiter);
        loop {
            match self.attempt(call).await {
                Ok(reply) => return Ok(reply),
                Err(failure) => attempts.wait_after(failure).await?,
            }
        }
    }

    /// Sends a request once, apart from proving who we are when asked.
    pub(super) async fn attempt(&self, call: &Call) -> Result<Reply, Failure> {
        // What is elsewhere gets no proof, and its URL is proof enough.
        if !self.is_home(&call.url) {
            let reply = self.carry(call, &Proof::none(), &self.limiter).await?;
            return Ok(self.settle(call, reply)?);
        }
        let mut scopes = call.scopes.clone();
        let mut refused: Option<(Reply, Option<HeaderValue>)> = None;
        let mut proofs = 0;
        loop {
            let was_challenged = self.challenge().is_some();
            let authorization = self.authorization(&scopes).await.map_err(Failure::nested)?;
            if let Some((mut reply, header)) = refused.take() {
                // The same password, or still none, is refused again.
                if authorization.proof.header == header {
                    // By now it is known why there is none.
                    reply.proof = authorization.proof;
                    return Err(self.refusal(&scopes, &reply).into());
                }
                if proofs == 2 {
                    return Err(self.refusal(&scopes, &reply).into());
                }
            }
            let reply = self.carry(call, &authorization.proof, &self.limiter).await?;
            let challenge = match reply.status {
                _ if !self.is_home(&reply.url) => return Ok(self.settle(call, reply)?),
                StatusCode::UNAUTHORIZED => {
                    match Challenge::of(&reply.headers).or_else(|| self.challenge()) {
                        Some(challenge) => challenge,
                        None => return Err(self.refusal(&scopes, &reply).into()),
                    }
                }
                status if hides(status) && !was_challenged && self.challenges().await? => continue,
                StatusCode::FORBIDDEN if says_expired(&reply) => match self.challenge() {
                    Some(challenge) => challenge,
                    None => return Ok(self.settle(call, reply)?),
                },
                _ => return Ok(self.settle(call, reply)?),
            };
            self.learn(&challenge);
            if let Some((token, fresh, asked)) = &authorization.token {
                self.tokens.refused(asked, token).await;
                let wanted = match &challenge {
                    Challenge::Bearer { scopes: more, .. } => scopes.and(more),
                    Challenge::Basic => scopes.clone(),
                };
                // A new token for the same is refused like the one that is new already.
                if *fresh && wanted == scopes {
                    return Err(self.refusal(&scopes, &reply).into());
                }
                scopes = wanted;
            }
            if let Some(credential) = &authorization.password {
                self.replace(credential).await?;
            }
            proofs += u32::from(authorization.proof.header.is_some());
            refused = Some((reply, authorization.proof.header));
        }
    }

    /// Whether the registry wants to be told who asks; its own page says so, which is looked
    /// at once.
    ///
    /// Some registries never ask: to those who do not say who they are, a private repository
    /// is not there, or simply forbidden.
    async fn challenges(&self) -> Result<bool, RegistryErrorKind> {
        let ask = || async {
            let ping = Call::new(Method::GET, self.url(""), Scopes::default());
            let reply = self.carry(&ping, &Proof::none(), &self.limiter).await?;
            let is_ours = reply.status == StatusCode::UNAUTHORIZED && self.is_home(&reply.url);
            if let Some(challenge) = Challenge::of(&reply.headers).filter(|_| is_ours) {
                self.learn(&challenge);
            }
            Ok::<_, RegistryErrorKind>(())
        };
        self.asked.get_or_try_init(ask).await?;
        Ok(self.challenge().is_some())
    }

    fn settle(&self, call: &Call, reply: Reply) -> Result<Reply, RegistryErrorKind> {
        match reply.status.as_u16() {
            401 => Err(self.refusal(&call.scopes, &reply)),
            status if is_transient(status) => Err(self.refusal(&call.scopes, &reply)),
            _ => Ok(reply),
        }
    }

    /// What the registry asked for, as far as it is known by now. Where that fails, it was
    /// repeated as often as the policy allows.
    async fn authorization(&self, scopes: &Scopes) -> Result<Authorization, RegistryErrorKind> {
        match self.challenge() {
            None => Ok(Authorization { proof: Proof::none(), token: None, password: None }),
            Some(Challenge::Basic) => {
                let password = self.credential().await?;
                let proof = match &password {
                    Some(Credential::Password { username, password }) => basic(username, password),
                    Some(Credential::IdentityToken(_)) => Proof::unused_token(),
                    None => Proof::none(),
                };
                Ok(Authorization { proof, token: None, password })
            }
            Some(Challenge::Bearer { realm, service, .. }) => {
                let credential = self.credential().await?;
                let anonymous = credential.is_none();
                let mut secrets = credential.as_ref().map(secrets).unwrap_or_default();
                let fetch = self.fetch_with(credential, &realm, service.as_deref(), scopes);
                let (token, fresh) = self.tokens.get(scopes, fetch).await?;
                let header = header("Bearer ", token.secret());
                secrets.push(token.secret().clone());
                let proof = Proof { anonymous, ..Proof::of(header, secrets) };
                let token = Some((token, fresh, scopes.clone()));
                Ok(Authorization { proof, token, password: None })
            }
        }
    }

    async fn credential(&self) -> Result<Option<Credential>, RegistryErrorKind> {
        // A mirror is an engine's choice: without TLS nobody signs in there.
        if self.is_mirror && !self.shared.credentials.plain_http().admits(&self.url("")) {
            return Ok(None);
        }
        self.shared.credentials.of(&self.name).await.map_err(|source| self.without(source))
    }

    /// Another credential than one that was refused, as where a cloud's password has ended.
    async fn replace(&self, refused: &Credential) -> Result<Option<Credential>, RegistryErrorKind> {
        let replaced = self.shared.credentials.replace(&self.name, refused).await;
        replaced.map_err(|source| self.without(source))
    }

    fn without(&self, source: Arc<CredentialsError>) -> RegistryErrorKind {
        RegistryErrorKind::Credentials { host: self.name.clone(), source }
    }

    /// Asks the token server for a token, a second time where there is another credential than
    /// the one that it refuses.
    async fn fetch_with(
        &self,
        credential: Option<Credential>,
        realm: &str,
        service: Option<&str>,
        scopes: &Scopes,
    ) -> Result<Token, RegistryErrorKind> {
        let refusal = match self.fetch(realm, service, scopes, credential.clone()).await {
            Err(refusal @ RegistryErrorKind::Denied { status: 401, .. }) => refusal,
            other => return other,
        };
        let Some(refused) = credential else { return Err(refusal) };
        match self.replace(&refused).await? {
            Some(other) => self.fetch(realm, service, scopes, Some(other)).await,
            None => Err(refusal),
        }
    }

    /// Asks the token server for a token.
    async fn fetch(
        &self,
        realm: &str,
        service: Option<&str>,
        scopes: &Scopes,
        credential: Option<Credential>,
    ) -> Result<Token, RegistryErrorKind> {
        let realm = self.url("").join(realm);
        let realm = realm.map_err(|_| self.unexpected("challenge", "its realm is no URL"))?;
        let (call, proof) = token_call(realm, service, scopes, credential);
        let limiter = self.shared.limiter(&self.shown(&call.url));
        let mut attempts = Attempts::new(&self.retry, &limiter);
        loop {
            let outcome = match self.carry(&call, &proof, &limiter).await {
                Ok(reply) if is_transient(reply.status.as_u16()) => {
                    Err(self.refusal(scopes, &reply))
                }
                other => other,
            };
            match outcome {
                Ok(reply) => return self.token(scopes, &reply),
                Err(failure) => attempts.wait_after(failure).await?,
            }
        }
    }

    fn token(&self, scopes: &Scopes, reply: &Reply) -> Result<Token, RegistryErrorKind> {
        match reply.status.as_u16() {
            200..=299 => {}
            // Token servers say it so too when credentials are wrong.
            400 | 401 | 403 => return Err(self.denied(scopes, reply)),
            _ => return Err(self.refusal(scopes, reply)),
        }
        let token = Token::read(&reply.body).map_err(|problem| RegistryErrorKind::Unexpected {
            host: authority(&reply.url),
            expected: "token",
            problem: problem.to_owned(),
        })?;
        if let Some(issued) = token.issued {
            self.clock.compare(issued, std::time::SystemTime::now());
        }
        Ok(token)
    }
}

/// Whether a refusal says that a token has ended, as Amazon's does.
fn says_expired(reply: &Reply) -> bool {
    reply.problem().mentions(&["token has expired", "token expired"])
}

/// Statuses behind which something may be that only others see.
fn hides(status: StatusCode) -> bool {
    matches!(status, StatusCode::FORBIDDEN | StatusCode::NOT_FOUND)
}

/// The request for a token: `GET` with a password, or `POST` with an identity token ([OAuth2][oauth]).
///
/// [oauth]: https://distribution.github.io/distribution/spec/auth/oauth/
fn token_call(
    mut realm: Url,
    service: Option<&str>,
    scopes: &Scopes,
    credential: Option<Credential>,
) -> (Call, Proof) {
    let Some(Credential::IdentityToken(token)) = credential else {
        {
            let mut query = realm.query_pairs_mut();
            query.extend_pairs(service.map(|service| ("service", service)));
            query.extend_pairs(scopes.texts().iter().map(|scope| ("scope", scope)));
            query.append_pair("client_id", CLIENT_ID);
        }
        let proof = match &credential {
            Some(Credential::Password { username, password }) => basic(username, password),
            _ => Proof::none(),
        };
        return (Call::new(Method::GET, realm, scopes.clone()), proof);
    };
    // A form is written like a query.
    let mut form = realm.clone();
    form.set_query(None);
    form.query_pairs_mut()
        .append_pair("grant_type", "refresh_token")
        .append_pair("client_id", CLIENT_ID)
        .extend_pairs(service.map(|service| ("service", service)))
        .append_pair("scope", &scopes.texts().join(" "))
        .append_pair("refresh_token", token.expose_secret());
    let text = form.query().unwrap_or_default().to_owned();
    let call = Call::new(Method::POST, realm, scopes.clone())
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .payload(Payload::Bytes(text.into()));
    (call, Proof::of(None, vec![token]))
}

/// What of a credential must not come back in a message.
fn secrets(credential: &Credential) -> Vec<SecretString> {
    match credential {
        Credential::Password { username, password } => basic(username, password).secrets,
        Credential::IdentityToken(token) => vec![token.clone()],
    }
}

/// A user and a password, both literal.
fn basic(username: &str, password: &SecretString) -> Proof {
    let pair = format!("{username}:{}", password.expose_secret());
    let pair = SecretString::from(STANDARD.encode(pair));
    Proof::of(header("Basic ", &pair), vec![password.clone(), pair])
}

/// A header that no log shows.
fn header(scheme: &str, secret: &SecretString) -> Option<HeaderValue> {
    let text = format!("{scheme}{}", secret.expose_secret());
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
