//! The services of AWS, Google and GitHub that issue credentials, as one local server.
//!
//! Each service validates requests like the real one. Its name is part of the secrets that it issues, so a test can tell which service
//! issued a credential.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::request::Parts;
use jiff::{Timestamp, ToSpan as _};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A secret that the services repeat in their errors.
pub(crate) const CANARY: &str = "canary-c10d";

#[derive(Clone)]
pub(crate) struct Cloud {
    pub(crate) url: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// The method and path of each request.
    requests: Mutex<Vec<String>>,
    /// The service that rejects all requests: the prefix of its path or action.
    rejecting: Mutex<Option<&'static str>>,
}

impl Cloud {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let cloud = Self { url, state: Arc::default() };
        let server = cloud.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(server.clone().serve(stream));
            }
        });
        cloud
    }

    /// Returns `METHOD /path` of all requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.state.requests.lock().expect("requests").clone()
    }

    /// Makes the service reject all requests.
    pub(crate) fn reject(&self, service: &'static str) {
        *self.state.rejecting.lock().expect("a service") = Some(service);
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut bytes = Vec::new();
        let (head, body) = loop {
            if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                return;
            }
            if let Some(request) = parse(&bytes) {
                break request;
            }
        };
        let service = service(&head, &body);
        let path = head.uri.path();
        self.state.requests.lock().expect("requests").push(format!("{} {path}", head.method));
        let rejecting = *self.state.rejecting.lock().expect("a service");
        let is_rejected = rejecting.is_some_and(|name| service.starts_with(name));
        let response = if is_rejected { None } else { respond(&service, &head, &body, &self.url) };
        let (status, text) = match response {
            Some(text) => (200, text),
            None => (400, error_body(&service)),
        };
        let response = format!(
            "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
            text.len()
        );
        stream.write_all(response.as_bytes()).await.expect("a response");
    }
}

/// Parses a request. Returns `None` while it is incomplete.
fn parse(bytes: &[u8]) -> Option<(Parts, String)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let mut line = lines.next()?.split(' ');
    let mut request = http::Request::builder().method(line.next()?).uri(line.next()?);
    for line in lines {
        let (name, value) = line.split_once(": ")?;
        request = request.header(name, value);
    }
    let (parts, ()) = request.body(()).ok()?.into_parts();
    let length = header(&parts, "content-length").parse().unwrap_or(0);
    (body.len() >= length).then(|| (parts, body.to_owned()))
}

/// Returns the path of the requested service or, if services share a path, the action.
fn service(head: &Parts, body: &str) -> String {
    let query = head.uri.query().unwrap_or_default();
    match (head.uri.path(), header(head, "x-amz-target")) {
        ("/", "") => field(body, "Action").or_else(|| field(query, "Action")).unwrap_or_default(),
        ("/", target) => target.split('.').next_back().unwrap_or_default().to_owned(),
        (path, _) => path.to_owned(),
    }
}

/// Returns the response body of a service. Returns `None` if the request is invalid.
fn respond(service: &str, head: &Parts, body: &str, url: &str) -> Option<String> {
    aws_response(service, head, body).or_else(|| google_response(service, head, body, url))
}

fn require(head: &Parts, name: &str, value: &str) -> Option<()> {
    (header(head, name) == value).then_some(())
}

/// Returns the response of AWS, or GitHub's identity token.
fn aws_response(service: &str, head: &Parts, body: &str) -> Option<String> {
    let query = head.uri.query().unwrap_or_default();
    let hour = Timestamp::now() + 1.hour();
    match service {
        "GetAuthorizationToken" => {
            let id = between(header(head, "authorization"), "Credential=", "/");
            let token = STANDARD.encode(format!("AWS:password of {id}"));
            let end = hour.as_second();
            Some(format!(
                r#"{{"authorizationData": [{{"authorizationToken": "{token}", "expiresAt": {end}}}]}}"#
            ))
        }
        "AssumeRoleWithWebIdentity" => {
            let (role, token) = (field(body, "RoleArn")?, field(body, "WebIdentityToken")?);
            (role == ROLE && token.starts_with("identity of"))
                .then(|| sts(service, "ASIAWEB", hour))
        }
        "AssumeRole" => {
            let form = if query.is_empty() { body } else { query };
            let is_signed = header(head, "authorization").contains("/sts/aws4_request");
            (is_signed && field(form, "RoleArn")? == ROLE)
                .then(|| sts(service, "ASIAROLEASIAROLE", hour))
        }
        "/federation/credentials" => {
            require(head, "x-amz-sso_bearer_token", "sso token")?;
            let is_role = field(query, "role_name")? == "publisher"
                && field(query, "account_id")? == "123456789012";
            let end = hour.as_millisecond();
            is_role.then(|| {
                format!(
                    r#"{{"roleCredentials": {{"accessKeyId": "ASIASSO", "secretAccessKey": "s",
                    "sessionToken": "t", "expiration": {end}}}}}"#
                )
            })
        }
        "/ecs" => {
            require(head, "authorization", "container token")?;
            Some(keys("ASIAECS", hour))
        }
        "/latest/api/token" => {
            let is_put = head.method == "PUT";
            let lifetime = header(head, "x-aws-ec2-metadata-token-ttl-seconds");
            (is_put && !lifetime.is_empty()).then(|| "metadata token".to_owned())
        }
        "/latest/meta-data/iam/security-credentials/" => {
            require(head, "x-aws-ec2-metadata-token", "metadata token")?;
            Some("publisher".to_owned())
        }
        "/latest/meta-data/iam/security-credentials/publisher" => {
            require(head, "x-aws-ec2-metadata-token", "metadata token")?;
            Some(keys("ASIAIMDS", hour))
        }
        "/actions/token" => {
            require(head, "authorization", "Bearer actions token")?;
            let audience = field(query, "audience")?;
            Some(format!(r#"{{"value": "identity of {audience}"}}"#))
        }
        _ => None,
    }
}

fn google_response(service: &str, head: &Parts, body: &str, url: &str) -> Option<String> {
    match service {
        "/computeMetadata/v1/instance/service-accounts/default/token" => {
            require(head, "metadata-flavor", "Google")?;
            Some(access_token("ya29.metadata"))
        }
        "/token" => match field(body, "grant_type")?.as_str() {
            "refresh_token" => {
                let is_known = field(body, "refresh_token")? == "refresh"
                    && field(body, "client_secret")? == "client secret";
                is_known.then(|| access_token("ya29.user"))
            }
            "urn:ietf:params:oauth:grant-type:jwt-bearer" => {
                let claims = verified_claims(&field(body, "assertion")?)?;
                let is_valid = claims["iss"] == "robot@acme.iam.gserviceaccount.com"
                    && claims["aud"] == format!("{url}/token");
                is_valid.then(|| access_token("ya29.service-account"))
            }
            _ => None,
        },
        "/v1/token" => {
            let is_exchange = field(body, "grant_type")?
                == "urn:ietf:params:oauth:grant-type:token-exchange"
                && field(body, "audience")? == format!("//iam.googleapis.com/{PROVIDER}")
                && field(body, "subject_token")?.starts_with("identity of");
            is_exchange.then(|| access_token("ya29.federated"))
        }
        path if path.ends_with(":generateAccessToken") => {
            require(head, "authorization", "Bearer ya29.federated")?;
            let is_account =
                path == format!("/v1/projects/-/serviceAccounts/{ACCOUNT}:generateAccessToken");
            let expires = Timestamp::now() + 1.hour();
            is_account.then(|| {
                format!(r#"{{"accessToken": "ya29.impersonated", "expireTime": "{expires}"}}"#)
            })
        }
        _ => None,
    }
}

/// Returns the error of a service in its own format.
fn error_body(service: &str) -> String {
    match service {
        "GetAuthorizationToken" => r#"{"__type": "AccessDeniedException"}"#.to_owned(),
        name if name.starts_with("Assume") => {
            let error = "<Code>AccessDenied</Code><Message>Not authorized to perform it</Message>";
            format!("<ErrorResponse><Error>{error}</Error></ErrorResponse>")
        }
        path if path.contains("token") || path.contains("Token") => {
            r#"{"error": "invalid_grant", "error_description": "Token has been revoked."}"#
                .to_owned()
        }
        _ => format!("refused: {CANARY}"),
    }
}

pub(crate) const ROLE: &str = "arn:aws:iam::123456789012:role/publisher";
pub(crate) const ACCOUNT: &str = "publisher@acme.iam.gserviceaccount.com";
pub(crate) const PROVIDER: &str =
    "projects/1/locations/global/workloadIdentityPools/pool/providers/github";

fn keys(id: &str, end: Timestamp) -> String {
    format!(
        r#"{{"Code": "Success", "Message": "", "AccessKeyId": "{id}", "SecretAccessKey": "s",
        "Token": "t", "Expiration": "{end}"}}"#
    )
}

fn sts(action: &str, id: &str, end: Timestamp) -> String {
    let keys = format!(
        "<AccessKeyId>{id}</AccessKeyId><SecretAccessKey>s</SecretAccessKey>\
         <SessionToken>t</SessionToken><Expiration>{end}</Expiration>"
    );
    format!(
        "<{action}Response><{action}Result><Credentials>{keys}</Credentials></{action}Result>\
         </{action}Response>"
    )
}

fn access_token(token: &str) -> String {
    format!(r#"{{"access_token": "{token}", "expires_in": 3599, "token_type": "Bearer"}}"#)
}

/// Returns the claims of a JWT. Returns `None` unless it is signed with the key of the tests.
fn verified_claims(token: &str) -> Option<serde_json::Value> {
    let (signed, signature) = token.rsplit_once('.')?;
    let (_, claims) = signed.split_once('.')?;
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
    let public = include_str!("../github/app-key.pub.pem").lines();
    let public: String = public.filter(|line| !line.starts_with('-')).collect();
    let public = STANDARD.decode(public).expect("a key");
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &public);
    key.verify(signed.as_bytes(), &decode(signature)?).ok()?;
    serde_json::from_slice(&decode(claims)?).ok()
}

fn header<'h>(head: &'h Parts, name: &str) -> &'h str {
    head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn field(form: &str, name: &str) -> Option<String> {
    let url = reqwest::Url::parse(&format!("http://x/?{form}")).expect("a form");
    let value = url.query_pairs().find(|(key, _)| key == name)?.1.into_owned();
    Some(value)
}

/// Returns the text between `start` and `end`, or an empty text.
fn between<'t>(text: &'t str, start: &str, end: &str) -> &'t str {
    let rest = text.split_once(start).map_or("", |(_, rest)| rest);
    rest.split(end).next().unwrap_or_default()
}
