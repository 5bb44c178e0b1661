//! Google's [service account keys][keys], with which Artifact Registry and Container Registry
//! let in a user called `_json_key`.
//!
//! [keys]: https://cloud.google.com/artifact-registry/docs/docker/authentication#json-key

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::{Credential, pair};

/// The user whose password is a key.
const JSON_KEY: &str = "_json_key";

/// The user whose password is an access token.
pub(super) const ACCESS_TOKEN: &str = "oauth2accesstoken";

/// How every access token of Google's begins.
const TOKEN_PREFIX: &str = "ya29.";

/// The parts of a key that tell that it is one.
#[derive(Deserialize)]
struct ServiceAccountKey {
    #[serde(rename = "type")]
    kind: Option<String>,
    client_email: Option<String>,
    private_key: Option<SecretString>,
}

/// Reads a key as Google gives it out, or base64 of one.
///
/// serde's own messages are left out: they quote what they did not expect.
pub(super) fn service_account(secret: &SecretString) -> Result<Credential, &'static str> {
    let text = secret.expose_secret().trim();
    let decoded;
    let json = if text.starts_with('{') {
        text
    } else {
        decoded = pair::decode(secret).map_err(|_| "is not JSON")?;
        decoded.trim()
    };
    let key: ServiceAccountKey =
        serde_json::from_str(json).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => "is JSON, but not a service account's key",
            serde_json::error::Category::Eof => "is JSON that breaks off before its end",
            _ => "is not JSON",
        })?;
    match key.kind.as_deref() {
        Some("service_account") => {}
        Some("authorized_user") => {
            return Err("is the JSON of a person's login, not a service account's key");
        }
        Some("external_account") => {
            return Err("is the JSON of a workload identity, not a service account's key");
        }
        _ => return Err("is JSON, but its `type` is not `service_account`"),
    }
    if key.client_email.is_none_or(|email| email.is_empty()) {
        return Err("is a service account's key without a `client_email`");
    }
    if key.private_key.is_none_or(|private| private.expose_secret().is_empty()) {
        return Err("is a service account's key without a `private_key`");
    }
    Ok(Credential::Password { username: JSON_KEY.to_owned(), password: json.into() })
}

/// The credential of a lone access token, if `text` is one and `host` one of Google's.
pub(super) fn lone_token(host: &str, text: &str) -> Option<Credential> {
    let token = text.trim();
    let is_google = host == "gcr.io" || host.ends_with(".gcr.io") || host.ends_with(".pkg.dev");
    (is_google && token.starts_with(TOKEN_PREFIX) && !token.contains(':'))
        .then(|| Credential::Password { username: ACCESS_TOKEN.to_owned(), password: token.into() })
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    const KEY: &str = r#"{
  "type": "service_account",
  "project_id": "p",
  "private_key": "-----BEGIN PRIVATE KEY-----\ncanary-77\n-----END PRIVATE KEY-----\n",
  "client_email": "robot@p.iam.gserviceaccount.com"
}"#;

    fn password(secret: &str) -> String {
        match service_account(&secret.into()).expect("a key") {
            Credential::Password { username, password } => {
                assert_eq!(username, "_json_key");
                password.expose_secret().to_owned()
            }
            Credential::IdentityToken(_) => panic!("a key is no identity token"),
        }
    }

    #[test]
    fn a_key_is_sent_as_it_is() {
        assert_eq!(password(KEY), KEY);
        assert_eq!(password(&format!("{KEY}\n")), KEY);
        assert_eq!(password(&STANDARD.encode(KEY)), KEY);
    }

    #[test]
    fn what_is_no_key_is_told_without_what_it_holds() {
        let cases = [
            ("canary-77".to_owned(), "is not JSON"),
            (KEY[..60].to_owned(), "breaks off"),
            ("{\"type\": {\"canary-77\": 1}}".to_owned(), "not a service account's key"),
            ("{\"type\": \"canary-77\"}".to_owned(), "its `type` is not"),
            ("{\"type\": \"authorized_user\"}".to_owned(), "a person's login"),
            (KEY.replace("client_email", "mail"), "without a `client_email`"),
            (KEY.replace("private_key", "key"), "without a `private_key`"),
        ];
        for (secret, expected) in cases {
            let problem = service_account(&secret.as_str().into()).expect_err(expected);
            assert!(problem.contains(expected), "{problem}");
            assert!(!problem.contains("canary"), "{problem}");
        }
    }

    #[test]
    fn a_lone_token_is_for_google_alone() {
        assert!(lone_token("us-docker.pkg.dev", "ya29.token\n").is_some());
        assert!(lone_token("eu.gcr.io", "ya29.token").is_some());
        assert!(lone_token("ghcr.io", "ya29.token").is_none());
        assert!(lone_token("notgcr.io", "ya29.token").is_none());
        assert!(lone_token("gcr.io", "other").is_none());
    }
}
