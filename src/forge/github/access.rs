//! Authentication at GitHub: a token, or an App that requests one.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use crate::registry::sign_jwt;

/// How requests to GitHub are authenticated.
#[derive(Clone)]
pub enum Access {
    /// Without credentials, only public repositories can be read.
    Anonymous,
    /// A token of Actions, of a person, or of an App's installation.
    Token(SecretString),
    /// A GitHub App, which requests a token for the repository in which it is installed.
    App {
        /// The App's id or client id.
        id: String,
        /// The private key in PEM format, optionally in base64 or with line ends written as `\n`.
        key: SecretString,
    },
}

impl fmt::Debug for Access {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::Token(_) => "Token",
            Self::App { .. } => "App",
        })
    }
}

impl Access {
    /// Returns the secrets that must not appear in messages.
    #[must_use]
    pub fn secrets(&self) -> Vec<SecretString> {
        match self {
            Self::Anonymous => Vec::new(),
            Self::Token(token) => vec![token.clone()],
            Self::App { key, .. } => vec![key.clone(), pem(key).into()],
        }
    }
}

/// Creates the token of an App: a [JWT] that is valid for eight minutes.
///
/// [JWT]: https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app
pub(super) fn app_token(
    id: &str,
    key: &SecretString,
    now: SystemTime,
) -> Result<SecretString, String> {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    // Issued a minute early, because clocks differ. GitHub allows ten minutes.
    let claims = json!({ "iat": now.saturating_sub(60), "exp": now + 480, "iss": id });
    sign_jwt(&claims, &pem(key)).map_err(|problem| format!("the private key of the App {problem}"))
}

/// Returns the key in PEM format.
fn pem(key: &SecretString) -> String {
    let text = key.expose_secret().trim();
    if !text.contains("-----BEGIN") {
        let compact: String = text.split_whitespace().collect();
        let decoded = STANDARD.decode(compact).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        if let Some(decoded) = decoded {
            return decoded;
        }
    }
    text.replace("\\n", "\n")
}
