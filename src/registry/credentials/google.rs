//! Google's credentials: [service account keys][keys] as a password, and access tokens.
//!
//! [`GoogleKeychain`] follows [application default credentials][adc]: the file in
//! `GOOGLE_APPLICATION_CREDENTIALS`, the file that `gcloud auth application-default login` writes, the
//! metadata server. An access token is the password of the user `oauth2accesstoken`.
//!
//! [keys]: https://cloud.google.com/artifact-registry/docs/docker/authentication#json-key
//! [adc]: https://cloud.google.com/docs/authentication/application-default-credentials

use std::collections::BTreeMap;
use std::time::Duration;

use form_urlencoded::Serializer;
use futures_util::FutureExt as _;
use http::Request;
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;

use super::cloud::Cloud;
use super::error::{CloudProblem, CredentialsError};
use super::keychain::{CredentialSource, Host, Keychain, Lifetime, ResolvedCredential, Resolving};
use super::{Credential, pair, sign_jwt};

/// The user whose password is a service account key.
const JSON_KEY: &str = "_json_key";

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const TOKEN_URL: &str = "https://oauth2.googleapis.com/token";
const STS: &str = "https://sts.googleapis.com/";
const IAM_CREDENTIALS: &str = "https://iamcredentials.googleapis.com/";

/// The type of the identity tokens that platforms issue.
const IDENTITY_TOKEN: &str = "urn:ietf:params:oauth:token-type:jwt";

type Issued = Result<(Credential, Lifetime), CloudProblem>;

/// Application default credentials, for Google's registries.
pub(super) struct GoogleKeychain {
    pub(super) cloud: Cloud,
}

impl Keychain for GoogleKeychain {
    fn resolve<'a>(&'a self, host: Host<'a>) -> Resolving<'a> {
        async move {
            if !host.is_google() || host.is_plain {
                return Ok(None);
            }
            let issued = self.token().await;
            let issued =
                issued.map_err(|problem| CredentialsError::cloud("Google", host.name, problem))?;
            Ok(issued.map(|((credential, lifetime), source)| {
                let source = CredentialSource::Cloud(source);
                ResolvedCredential { credential, source, lifetime }
            }))
        }
        .boxed()
    }
}

impl GoogleKeychain {
    /// Returns the first token and its source.
    async fn token(&self) -> Result<Option<((Credential, Lifetime), String)>, CloudProblem> {
        let named = |path: &str| format!("Google application default credentials, `{path}`");
        if let Some(path) = self.cloud.variable("GOOGLE_APPLICATION_CREDENTIALS") {
            return Ok(Some((self.token_of_file(path).await?, named(path))));
        }
        let folder = self.cloud.variable("CLOUDSDK_CONFIG").map(str::to_owned);
        let home = || self.cloud.variable("HOME").map(|home| format!("{home}/.config/gcloud"));
        if let Some(folder) = folder.or_else(home) {
            let path = format!("{folder}/application_default_credentials.json");
            // Nobody asked for this file: one that is outdated must not hide public images.
            if let Ok(issued) = self.token_of_file(&path).await {
                return Ok(Some((issued, named(&path))));
            }
        }
        let issued = self.token_of_metadata().await.ok();
        Ok(issued.map(|issued| (issued, "Google metadata server".to_owned())))
    }

    async fn token_of_file(&self, path: &str) -> Issued {
        let failed = |problem: &str| CloudProblem::Source {
            origin: format!("`{path}`"),
            problem: problem.to_owned(),
            is_temporary: false,
        };
        let text = tokio::fs::read(path).await.map_err(|error| failed(&error.to_string()))?;
        let file = serde_json::from_slice(&text)
            .map_err(|_| failed("it contains no credentials that basegen supports"))?;
        match file {
            CredentialFile::ServiceAccount { client_email, private_key, token_uri } => {
                let now = Timestamp::now().as_second();
                let claims = json!({
                    "iss": client_email, "scope": SCOPE, "aud": token_uri,
                    "iat": now, "exp": now + 3600,
                });
                let token = sign_jwt(&claims, private_key.expose_secret())
                    .map_err(|problem| failed(&format!("its private key {problem}")))?;
                let grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
                let form = [("grant_type", grant), ("assertion", token.expose_secret())];
                Ok(exchange(&self.cloud, &token_uri, &form).await?.credential())
            }
            CredentialFile::AuthorizedUser {
                client_id,
                client_secret,
                refresh_token,
                token_uri,
            } => {
                let form = [
                    ("grant_type", "refresh_token"),
                    ("client_id", client_id.as_str()),
                    ("client_secret", client_secret.expose_secret()),
                    ("refresh_token", refresh_token.expose_secret()),
                ];
                Ok(exchange(&self.cloud, &token_uri, &form).await?.credential())
            }
            CredentialFile::ExternalAccount { federation, credential_source } => {
                let token = credential_source.token(&self.cloud).await;
                let token = token?.ok_or_else(|| failed("its identity token is not text"))?;
                federation.token(&self.cloud, &token).await
            }
        }
    }

    async fn token_of_metadata(&self) -> Issued {
        let host = self.cloud.variable("GCE_METADATA_HOST").unwrap_or("metadata.google.internal");
        let path = "computeMetadata/v1/instance/service-accounts/default/token";
        let request = Request::get(format!("http://{host}/{path}"));
        let request = request.header("metadata-flavor", "Google");
        let token: AccessToken = self.cloud.fetch(request, "").await?;
        Ok(token.credential())
    }
}

/// Exchanges the identity token of this job for an access token of `service_account`.
pub(super) async fn workload_token(cloud: &Cloud, service_account: &str, provider: &str) -> Issued {
    let audience = format!("//iam.googleapis.com/{provider}");
    let token = cloud.identity_token(&format!("https:{audience}")).await?;
    let token = token.ok_or(CloudProblem::NoIdentityToken)?;
    let endpoint = |name: &str, usual: &str| {
        let url = cloud.endpoint(&[name])?;
        Ok::<_, CloudProblem>(url.map_or_else(|| usual.to_owned(), String::from))
    };
    let sts = endpoint("CLOUDSDK_API_ENDPOINT_OVERRIDES_STS", STS)?;
    let iam = endpoint("CLOUDSDK_API_ENDPOINT_OVERRIDES_IAMCREDENTIALS", IAM_CREDENTIALS)?;
    let account = format!("v1/projects/-/serviceAccounts/{service_account}:generateAccessToken");
    let federation = Federation {
        audience,
        subject_token_type: IDENTITY_TOKEN.to_owned(),
        token_url: format!("{sts}v1/token"),
        service_account_impersonation_url: Some(format!("{iam}{account}")),
    };
    federation.token(cloud, &token).await
}

/// A file of application default credentials.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum CredentialFile {
    ServiceAccount {
        client_email: String,
        private_key: SecretString,
        #[serde(default = "token_url")]
        token_uri: String,
    },
    AuthorizedUser {
        client_id: String,
        client_secret: SecretString,
        refresh_token: SecretString,
        #[serde(default = "token_url")]
        token_uri: String,
    },
    ExternalAccount {
        #[serde(flatten)]
        federation: Federation,
        credential_source: IdentitySource,
    },
}

fn token_url() -> String {
    TOKEN_URL.to_owned()
}

/// How Google exchanges the identity token of another platform.
#[derive(Deserialize)]
struct Federation {
    audience: String,
    subject_token_type: String,
    token_url: String,
    service_account_impersonation_url: Option<String>,
}

impl Federation {
    async fn token(&self, cloud: &Cloud, identity: &SecretString) -> Issued {
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("audience", self.audience.as_str()),
            ("scope", SCOPE),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("subject_token_type", self.subject_token_type.as_str()),
            ("subject_token", identity.expose_secret()),
        ];
        let token = exchange(cloud, &self.token_url, &form).await?;
        let Some(url) = &self.service_account_impersonation_url else {
            return Ok(token.credential());
        };
        let bearer = format!("Bearer {}", token.access_token.expose_secret());
        let request = Request::post(url).header("authorization", bearer);
        let request = request.header("content-type", "application/json");
        let body = json!({ "scope": [SCOPE], "lifetime": "3600s" }).to_string();
        let token: ImpersonatedToken = cloud.fetch(request, body).await?;
        let expiry = token.expire_time.parse().unwrap_or(Timestamp::now());
        let lifetime = Timestamp::now().duration_until(expiry);
        let lifetime = Duration::try_from(lifetime).unwrap_or_default();
        Ok((Credential::access_token(&token.access_token), Lifetime::For(lifetime)))
    }
}

/// Where the identity token of another platform is.
#[derive(Deserialize)]
#[serde(untagged)]
enum IdentitySource {
    File {
        file: String,
        #[serde(default)]
        format: IdentityFormat,
    },
    Url {
        url: String,
        #[serde(default)]
        headers: BTreeMap<String, String>,
        #[serde(default)]
        format: IdentityFormat,
    },
}

#[derive(Default, Deserialize)]
struct IdentityFormat {
    /// The member of a JSON object; without it, the token is the whole text.
    subject_token_field_name: Option<String>,
}

impl IdentitySource {
    async fn token(&self, cloud: &Cloud) -> Result<Option<SecretString>, CloudProblem> {
        let (text, format) = match self {
            Self::File { file, format } => {
                let text = tokio::fs::read(file).await;
                (text.map_err(|error| CloudProblem::setup(&format!("`{file}`: {error}")))?, format)
            }
            Self::Url { url, headers, format } => {
                let request = headers.iter().fold(Request::get(url), |request, (name, value)| {
                    request.header(name.as_str(), value.as_str())
                });
                let (_, text) = cloud.fetch_bytes(request, "").await?;
                (text.into(), format)
            }
        };
        Ok(match &format.subject_token_field_name {
            None => String::from_utf8(text).ok().map(|text| text.trim().into()),
            Some(name) => {
                let json: Option<serde_json::Value> = serde_json::from_slice(&text).ok();
                json.and_then(|json| Some(json.get(name)?.as_str()?.into()))
            }
        })
    }
}

#[derive(Deserialize)]
struct AccessToken {
    access_token: SecretString,
    /// The remaining lifetime, in seconds.
    expires_in: u64,
}

impl AccessToken {
    fn credential(&self) -> (Credential, Lifetime) {
        let lifetime = Lifetime::For(Duration::from_secs(self.expires_in));
        (Credential::access_token(&self.access_token), lifetime)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ImpersonatedToken {
    access_token: SecretString,
    /// In the form of RFC 3339.
    expire_time: String,
}

/// Sends a form to a token server.
async fn exchange(
    cloud: &Cloud,
    url: &str,
    form: &[(&str, &str)],
) -> Result<AccessToken, CloudProblem> {
    let body = Serializer::new(String::new()).extend_pairs(form).finish();
    let request = Request::post(url).header("content-type", "application/x-www-form-urlencoded");
    cloud.fetch(request, body).await
}

/// The parts by which a service account key is recognized.
#[derive(Deserialize)]
struct ServiceAccountKey {
    #[serde(rename = "type")]
    kind: String,
    client_email: String,
    private_key: SecretString,
}

const NO_KEY: &str = "is JSON, but not the key of a service account";

/// Reads a service account key as Google issues it, or base64 of one. Errors omit serde's messages, which
/// quote values.
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
            serde_json::error::Category::Data => NO_KEY,
            _ => "is not JSON",
        })?;
    if key.kind != "service_account"
        || key.client_email.is_empty()
        || key.private_key.expose_secret().is_empty()
    {
        return Err(NO_KEY);
    }
    Ok(Credential::Password { username: JSON_KEY.to_owned(), password: json.into() })
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
            Credential::IdentityToken(_) => panic!("expected a password"),
        }
    }

    #[test]
    fn a_key_is_sent_unchanged() {
        assert_eq!(password(KEY), KEY);
        assert_eq!(password(&format!("{KEY}\n")), KEY);
        assert_eq!(password(&STANDARD.encode(KEY)), KEY);
    }

    #[test]
    fn invalid_keys_are_reported_without_their_content() {
        let cases = [
            ("canary-77".to_owned(), "is not JSON"),
            (KEY[..60].to_owned(), "is not JSON"),
            ("{\"type\": {\"canary-77\": 1}}".to_owned(), NO_KEY),
            ("{\"type\": \"canary-77\"}".to_owned(), NO_KEY),
            (KEY.replace("service_account", "authorized_user"), NO_KEY),
            (KEY.replace("client_email", "mail"), NO_KEY),
            (KEY.replace("private_key", "key"), NO_KEY),
        ];
        for (secret, expected) in cases {
            let problem = service_account(&secret.as_str().into()).expect_err(expected);
            assert!(problem.contains(expected), "{problem}");
            assert!(!problem.contains("canary"), "{problem}");
        }
    }
}
