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
pub(crate) async fn pass(duration: Duration) {
    tokio::time::pause();
    tokio::time::advance(duration).await;
    tokio::time::resume();
}

/// The `auth_method` of a registry of ECR with the usual names of variables.
pub(crate) fn aws_iam(region: Option<&str>) -> AuthMethod {
    AuthMethod::AwsIam {
        access_key_id: "aws_access_key_id".to_owned(),
        secret_access_key: "aws_secret_access_key".to_owned(),
        session_token: "aws_session_token".to_owned(),
        region: region.map(str::to_owned),
    }
}

/// Gives out the passwords `ecr-1`, `ecr-2` and so on to everyone.
pub(crate) struct EcrApi {
    pub(crate) url: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// The lifetime of a password, in seconds.
    lasts: AtomicU64,
    calls: AtomicUsize,
    /// The status and body of every answer, instead of a password.
    failure: Mutex<Option<(u16, String)>>,
    /// How many seconds this server's clock is ahead.
    ahead: AtomicU64,
}

impl EcrApi {
    pub(crate) async fn start(lasts: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let state = Arc::new(State { lasts: lasts.into(), ..State::default() });
        let answering = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n{}") {
                    if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                        break;
                    }
                }
                let answer = answering.answer();
                stream.write_all(answer.as_bytes()).await.expect("an answer");
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

    pub(crate) fn is_ahead(&self, seconds: u64) {
        self.state.ahead.store(seconds, Ordering::SeqCst);
    }

    /// Credentials for the registry at `host` from this API.
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
    fn answer(&self) -> String {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let ahead = i64::try_from(self.ahead.load(Ordering::SeqCst)).expect("seconds");
        let now = Timestamp::from_second(Timestamp::now().as_second() + ahead).expect("a time");
        let lasts = i64::try_from(self.lasts.load(Ordering::SeqCst)).expect("seconds");
        let failure = self.failure.lock().expect("a failure").clone();
        let (status, body) = failure.unwrap_or_else(|| {
            let token = STANDARD.encode(format!("AWS:ecr-{call}"));
            let end = now.as_second() + lasts;
            let data = format!(r#"{{"authorizationToken": "{token}", "expiresAt": {end}.5}}"#);
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
