//! Authentication of requests: [tokens][tokens] and passwords.
//!
//! [tokens]: https://distribution.github.io/distribution/spec/auth/token/

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, StatusCode};
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

use super::attempts::{Attempts, Failure};
use super::challenge::Challenge;
use super::error::is_transient;
use super::host::Host;
use super::request::{AuthHeader, Call, Reply};
use super::scopes::Scopes;
use super::tokens::Token;
use super::transport::authority;
use super::{Authentication, Credential, CredentialsError, RegistryErrorKind};

/// The client id for token servers.
const CLIENT_ID: &str = "basegen";

/// How a request is authenticated.
struct Authorization {
    header: AuthHeader,
    /// The token, whether it was fetched just now, and its scopes.
    token: Option<(Token, bool, Scopes)>,
    /// The credential that is sent to the registry itself.
    password: Option<Credential>,
}

impl Host {
    /// Sends a request, and retries it as the policy permits.
    pub(super) async fn send(&self, call: &Call) -> Result<Reply, RegistryErrorKind> {
        let mut attempts = Attempts::new(&self.retry, &self.limiter);
        loop {
            match self.attempt(call).await {
                Ok(reply) => return Ok(reply),
                Err(failure) => attempts.wait_after(failure).await?,
            }
        }
    }

    /// Sends a request as [`Self::send`] does. Returns `None` if the answer is 404, and other error
    /// statuses as errors.
    pub(super) async fn find(&self, call: &Call) -> Result<Option<Reply>, RegistryErrorKind> {
        let reply = self.send(call).await?;
        match reply.status.as_u16() {
            404 => Ok(None),
            200..=299 => Ok(Some(reply)),
            _ => Err(self.refusal(&call.scopes, &reply)),
        }
    }

    /// Sends a request once, or again with the authentication that the registry requests.
    pub(super) async fn attempt(&self, call: &Call) -> Result<Reply, Failure> {
        // Storage on other hosts gets no credentials: its URLs are signed.
        if !self.is_own_origin(&call.url) {
            let reply = self.exchange(call, &anonymous(), &self.limiter).await?;
            return Ok(self.check_status(call, reply)?);
        }
        let mut scopes = call.scopes.clone();
        let mut refused: Option<(Reply, Option<HeaderValue>)> = None;
        let mut authenticated = 0;
        loop {
            let was_challenged = self.challenge().is_some();
            let authorization = self.authorization(&scopes).await.map_err(Failure::nested)?;
            if let Some((mut reply, value)) = refused.take() {
                // The same password, or none again, would be refused again.
                if authorization.header.value == value {
                    // The header says by now why there is no password.
                    reply.auth = authorization.header;
                    return Err(self.refusal(&scopes, &reply).into());
                }
                if authenticated == 2 {
                    return Err(self.refusal(&scopes, &reply).into());
                }
            }
            let reply = self.exchange(call, &authorization.header, &self.limiter).await?;
            let challenge = match reply.status {
                _ if !self.is_own_origin(&reply.url) => return Ok(self.check_status(call, reply)?),
                StatusCode::UNAUTHORIZED => {
                    match Challenge::from_headers(&reply.headers).or_else(|| self.challenge()) {
                        Some(challenge) => challenge,
                        None => return Err(self.refusal(&scopes, &reply).into()),
                    }
                }
                StatusCode::FORBIDDEN | StatusCode::NOT_FOUND
                    if !was_challenged && self.requires_authentication().await? =>
                {
                    continue;
                }
                StatusCode::FORBIDDEN if has_expired_token(&reply) => match self.challenge() {
                    Some(challenge) => challenge,
                    None => return Ok(self.check_status(call, reply)?),
                },
                _ => return Ok(self.check_status(call, reply)?),
            };
            self.set_challenge(&challenge);
            if let Some((token, is_fresh, token_scopes)) = &authorization.token {
                self.tokens.remove(token_scopes, token).await;
                let requested = match &challenge {
                    Challenge::Bearer { scopes: more, .. } => scopes.and(more),
                    Challenge::Basic => scopes.clone(),
                };
                // Another new token for the same scopes would be refused too.
                if *is_fresh && requested == scopes {
                    return Err(self.refusal(&scopes, &reply).into());
                }
                scopes = requested;
            }
            if let Some(credential) = &authorization.password {
                self.replace(credential).await?;
            }
            authenticated += u32::from(authorization.header.value.is_some());
            refused = Some((reply, authorization.header.value));
        }
    }

    /// Returns true if the registry requires authentication, which the root of its API shows. The
    /// root is requested once.
    ///
    /// Some registries never answer with 401: without credentials, a private repository is not
    /// found, or forbidden.
    async fn requires_authentication(&self) -> Result<bool, RegistryErrorKind> {
        let ping = || async {
            let call = Call::new(Method::GET, self.url(""), Scopes::default());
            let reply = self.exchange(&call, &anonymous(), &self.limiter).await?;
            if reply.status == StatusCode::UNAUTHORIZED
                && self.is_own_origin(&reply.url)
                && let Some(challenge) = Challenge::from_headers(&reply.headers)
            {
                self.set_challenge(&challenge);
            }
            Ok::<_, RegistryErrorKind>(())
        };
        self.pinged.get_or_try_init(ping).await?;
        Ok(self.challenge().is_some())
    }

    /// Converts answers with status 401, and those that another attempt may change, to errors.
    fn check_status(&self, call: &Call, reply: Reply) -> Result<Reply, RegistryErrorKind> {
        let status = reply.status.as_u16();
        if status == 401 || is_transient(status) {
            return Err(self.refusal(&call.scopes, &reply));
        }
        Ok(reply)
    }

    /// Returns the header of a request with these scopes.
    pub(super) async fn header(&self, scopes: &Scopes) -> Result<AuthHeader, RegistryErrorKind> {
        Ok(self.authorization(scopes).await?.header)
    }

    /// Returns the authentication that the registry is known to require. Fetches a token if needed;
    /// its errors have been retried already.
    async fn authorization(&self, scopes: &Scopes) -> Result<Authorization, RegistryErrorKind> {
        match self.challenge() {
            None => Ok(Authorization { header: anonymous(), token: None, password: None }),
            Some(Challenge::Basic) => {
                let password = self.credential().await?;
                let header = match &password {
                    Some(Credential::Password { username, password }) => basic(username, password),
                    Some(Credential::IdentityToken(_)) => {
                        AuthHeader::none(Authentication::UnusedToken)
                    }
                    None => anonymous(),
                };
                Ok(Authorization { header, token: None, password })
            }
            Some(Challenge::Bearer { realm, service, .. }) => {
                let credential = self.credential().await?;
                let authentication = match &credential {
                    Some(_) => Authentication::Credential,
                    None => Authentication::Anonymous,
                };
                let mut secrets = credential.as_ref().map(secrets).unwrap_or_default();
                let fetch = self.fetch_with(credential, &realm, service.as_deref(), scopes);
                let (token, is_fresh) = self.tokens.get(scopes, fetch).await?;
                let value = header_value("Bearer ", token.secret());
                secrets.push(token.secret().clone());
                let header = AuthHeader { value, secrets, authentication };
                let token = Some((token, is_fresh, scopes.clone()));
                Ok(Authorization { header, token, password: None })
            }
        }
    }

    async fn credential(&self) -> Result<Option<Credential>, RegistryErrorKind> {
        // Mirrors come from an engine's configuration: without TLS they get no credentials.
        if self.is_mirror && !self.shared.credentials.plain_http().admits(&self.url("")) {
            return Ok(None);
        }
        self.shared
            .credentials
            .get(&self.name)
            .await
            .map_err(|source| self.credentials_error(source))
    }

    /// Returns another credential than a refused one, such as a new password of a cloud.
    async fn replace(&self, refused: &Credential) -> Result<Option<Credential>, RegistryErrorKind> {
        let replaced = self.shared.credentials.replace(&self.name, refused).await;
        replaced.map_err(|source| self.credentials_error(source))
    }

    fn credentials_error(&self, source: Arc<CredentialsError>) -> RegistryErrorKind {
        RegistryErrorKind::Credentials { host: self.name.clone(), source }
    }

    /// Requests a token, and again if the credential is refused and there is another one.
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

    /// Requests a token from the token server.
    async fn fetch(
        &self,
        realm: &str,
        service: Option<&str>,
        scopes: &Scopes,
        credential: Option<Credential>,
    ) -> Result<Token, RegistryErrorKind> {
        let realm = self.url("").join(realm);
        let realm = realm.map_err(|_| self.unexpected("challenge", "its realm is not a URL"))?;
        let (call, header) = token_call(realm, service, scopes, credential);
        let limiter = self.shared.limiter(&self.display_host(&call.url));
        let mut attempts = Attempts::new(&self.retry, &limiter);
        loop {
            let outcome = match self.exchange(&call, &header, &limiter).await {
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
            // Some token servers answer wrong credentials with 400 or 403.
            400 | 401 | 403 => return Err(self.denied(scopes, reply)),
            _ => return Err(self.refusal(scopes, reply)),
        }
        Token::read(&reply.body).map_err(|problem| RegistryErrorKind::Unexpected {
            host: authority(&reply.url),
            expected: "token",
            problem: problem.to_owned(),
        })
    }
}

/// Returns true if a refusal says that the token has expired, as Amazon's does.
fn has_expired_token(reply: &Reply) -> bool {
    reply.problem().mentions(&["token has expired", "token expired"])
}

/// Builds the request for a token: `GET` with a password, or `POST` with an identity token
/// ([OAuth2][oauth]).
///
/// [oauth]: https://distribution.github.io/distribution/spec/auth/oauth/
fn token_call(
    mut realm: Url,
    service: Option<&str>,
    scopes: &Scopes,
    credential: Option<Credential>,
) -> (Call, AuthHeader) {
    let Some(Credential::IdentityToken(token)) = credential else {
        realm
            .query_pairs_mut()
            .extend_pairs(service.map(|service| ("service", service)))
            .extend_pairs(scopes.texts().iter().map(|scope| ("scope", scope)))
            .append_pair("client_id", CLIENT_ID);
        let header = match &credential {
            Some(Credential::Password { username, password }) => basic(username, password),
            _ => anonymous(),
        };
        return (Call::new(Method::GET, realm, scopes.clone()), header);
    };
    // A form has the syntax of a query.
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
        .body(text.into());
    (call, AuthHeader::new(None, vec![token]))
}

/// No header, because there is no credential.
pub(super) fn anonymous() -> AuthHeader {
    AuthHeader::none(Authentication::Anonymous)
}

/// Returns the parts of a credential that must not appear in messages.
fn secrets(credential: &Credential) -> Vec<SecretString> {
    match credential {
        Credential::Password { username, password } => basic(username, password).secrets,
        Credential::IdentityToken(token) => vec![token.clone()],
    }
}

/// The header for a username and a password.
fn basic(username: &str, password: &SecretString) -> AuthHeader {
    let pair = format!("{username}:{}", password.expose_secret());
    let pair = SecretString::from(STANDARD.encode(pair));
    AuthHeader::new(header_value("Basic ", &pair), vec![password.clone(), pair])
}

/// A header value that logs do not show.
fn header_value(scheme: &str, secret: &SecretString) -> Option<HeaderValue> {
    let text = format!("{scheme}{}", secret.expose_secret());
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
