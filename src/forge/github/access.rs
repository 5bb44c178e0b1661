//! Who we are to GitHub: a token, or an App that is given one.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

/// Who we are to GitHub.
#[derive(Clone)]
pub enum Access {
    /// Nobody: what is public can be read.
    Anonymous,
    /// A token: of Actions, of a person, or of an App's installation.
    Token(SecretString),
    /// A GitHub App, which is given a token for the repository that it is installed in.
    App {
        /// Its id, or its client id.
        id: String,
        /// Its private key, as PEM; line ends may be written as `\n`, and all of it in base64.
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
    /// All of it that nobody else may know.
    #[must_use]
    pub fn secrets(&self) -> Vec<SecretString> {
        match self {
            Self::Anonymous => Vec::new(),
            Self::Token(token) => vec![token.clone()],
            Self::App { key, .. } => vec![key.clone(), pem(key).into()],
        }
    }
}

/// The token that an App shows: a [JWT] that is good for some minutes.
///
/// It is signed with ring, which TLS needs anyway: the `rsa` crate behind octocrab's own way has
/// an open advisory (RUSTSEC-2023-0071), and its other one would be a second TLS provider.
///
/// [JWT]: https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app
pub(super) fn app_token(
    id: &str,
    key: &SecretString,
    now: SystemTime,
) -> Result<SecretString, String> {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    // A minute early, since clocks differ; GitHub takes ten minutes at the most.
    let claims = json!({ "iat": now.saturating_sub(60), "exp": now + 480, "iss": id });
    let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&json!({ "alg": "RS256", "typ": "JWT" })), part(&claims));
    let pair = key_pair(key)?;
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
        .map_err(|_| "the private key of the App cannot sign".to_owned())?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)).into())
}

fn key_pair(key: &SecretString) -> Result<RsaKeyPair, String> {
    let refused = "the private key of the App is no RSA key in PEM form".to_owned();
    let der = PrivateKeyDer::from_pem_slice(pem(key).as_bytes()).map_err(|_| refused.clone())?;
    let pair = match &der {
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
        _ => return Err(refused),
    };
    // What ring says names a defect of the key, and nothing of the key.
    pair.map_err(|error| format!("the private key of the App is refused: {error}"))
}

/// The key as PEM, however a variable had to hold it.
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
