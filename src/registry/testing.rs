//! A fake API of Amazon ECR for unit tests, and a clock that advances on request. The fake that verifies
//! signatures is in `tests/harness/auth`.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::CredentialSources;
use crate::matrix::AuthMethod;

/// Advances the clock of tokio.
pub(crate) async fn advance_clock(duration: Duration) {
    tokio::time::pause();
    tokio::time::advance(duration).await;
    tokio::time::resume();
}

/// Returns an `auth_method` for ECR with the default names of variables.
pub(crate) fn aws_iam(region: Option<&str>) -> AuthMethod {
    AuthMethod::AwsIam {
        access_key_id: "aws_access_key_id".to_owned(),
        secret_access_key: "aws_secret_access_key".to_owned(),
        session_token: "aws_session_token".to_owned(),
        region: region.map(str::to_owned),
    }
}

/// A server that returns the passwords `ecr-1`, `ecr-2` and so on for any key.
pub(crate) struct EcrApi {
    pub(crate) url: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// In seconds.
    password_lifetime: AtomicU64,
    calls: AtomicUsize,
    /// The status and body of all responses, instead of a password.
    failure: Mutex<Option<(u16, String)>>,
    /// By how many seconds the clock of this server is ahead.
    clock_offset: AtomicU64,
}

impl EcrApi {
    pub(crate) async fn start(password_lifetime: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let state =
            Arc::new(State { password_lifetime: password_lifetime.into(), ..State::default() });
        let server = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n{}") {
                    if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                        break;
                    }
                }
                let response = server.respond();
                stream.write_all(response.as_bytes()).await.expect("an open connection");
            }
        });
        Self { url, state }
    }

    pub(crate) fn calls(&self) -> usize {
        self.state.calls.load(Ordering::SeqCst)
    }

    pub(crate) fn fail(&self, failure: Option<(u16, &str)>) {
        *self.state.failure.lock().expect("a failure") =
            failure.map(|(status, body)| (status, body.to_owned()));
    }

    pub(crate) fn set_clock_offset(&self, seconds: u64) {
        self.state.clock_offset.store(seconds, Ordering::SeqCst);
    }

    /// Returns the sources of credentials for the registry at `host`, which use this API.
    pub(crate) fn sources(&self, host: &str, variables: &[(&str, &str)]) -> CredentialSources {
        let method = aws_iam(Some("eu-west-1"));
        let endpoint = [("AWS_ENDPOINT_URL_ECR", self.url.as_str())];
        let variables = variables.iter().chain(&endpoint);
        CredentialSources {
            methods: [(host.to_owned(), method)].into(),
            variables: variables
                .map(|(name, value)| ((*name).to_owned(), Some((*value).into())))
                .collect(),
            ..CredentialSources::default()
        }
    }
}

impl State {
    fn respond(&self) -> String {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let offset = i64::try_from(self.clock_offset.load(Ordering::SeqCst)).expect("seconds");
        let now = Timestamp::from_second(Timestamp::now().as_second() + offset).expect("a time");
        let lifetime =
            i64::try_from(self.password_lifetime.load(Ordering::SeqCst)).expect("seconds");
        let failure = self.failure.lock().expect("a failure").clone();
        let (status, body) = failure.unwrap_or_else(|| {
            let token = STANDARD.encode(format!("AWS:ecr-{call}"));
            let expiry = now.as_second() + lifetime;
            let data = format!(r#"{{"authorizationToken": "{token}", "expiresAt": {expiry}.5}}"#);
            (200, format!(r#"{{"authorizationData": [{data}]}}"#))
        });
        let date = httpdate::fmt_http_date(now.into());
        format!(
            "HTTP/1.1 {status} X\r\ndate: {date}\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n{body}",
            body.len()
        )
    }
}
