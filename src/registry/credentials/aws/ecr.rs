//! Passwords of Amazon's Elastic Container Registry: a signed call of [`GetAuthorizationToken`][api]
//! returns one that lasts for twelve hours.
//!
//! [api]: https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use jiff::Timestamp;
use reqsign_aws_v4::{Credential as Keys, RequestSigner};
use reqsign_core::SignRequest as _;
use reqwest::Url;
use secrecy::SecretString;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::registry::credentials::cloud::Cloud;
use crate::registry::credentials::error::{CloudProblem, SIGNATURE_CODES, is_code, one_line};
use crate::registry::credentials::keychain::Lifetime;
use crate::registry::credentials::{Credential, conceal, pair};
use crate::registry::error::duration_text;
use crate::registry::{RetryPolicy, server_date};

/// The variables for another endpoint than AWS' own:
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html>
const ENDPOINTS: [&str; 2] = ["AWS_ENDPOINT_URL_ECR", "AWS_ENDPOINT_URL"];

const BODY: &str = "{}";

/// The number of attempts, if AWS cannot be reached or asks for patience.
const ATTEMPTS: u32 = 3;

/// How far a clock may be off, in seconds, before a refused signature is blamed on it: AWS accepts
/// signatures that are up to five minutes old.
const MAX_SKEW: i64 = 4 * 60;

/// How the ids of keys begin that do not expire.
const LASTING_KEY: &str = "AKIA";

/// The parts of a registry's host.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EcrHost<'a> {
    /// The id of the AWS account, 12 digits.
    pub(crate) account: &'a str,
    pub(crate) region: &'a str,
    pub(super) endpoint: String,
}

impl<'a> EcrHost<'a> {
    /// Parses `<account>.dkr.ecr[-fips].<region>.amazonaws.com[.cn]`, and the hosts that have an IPv6
    /// address too, `<account>.dkr-ecr[-fips].<region>.on.aws`.
    pub(crate) fn parse(host: &'a str) -> Option<Self> {
        let (account, rest) = host.split_once('.')?;
        if account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let (dual, rest) = match rest.strip_prefix("dkr.ecr") {
            Some(rest) => (false, rest),
            None => (true, rest.strip_prefix("dkr-ecr")?),
        };
        let (fips, rest) = match rest.strip_prefix("-fips.") {
            Some(rest) => (true, rest),
            None => (false, rest.strip_prefix('.')?),
        };
        let (region, domain) = rest.split_once('.')?;
        let is_region = !region.is_empty()
            && region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let name = if fips { "ecr-fips" } else { "ecr" };
        let endpoint = match (dual, domain) {
            (false, "amazonaws.com" | "amazonaws.com.cn" | "amazonaws.eu") => {
                let name = if fips { name } else { "api.ecr" };
                format!("https://{name}.{region}.{domain}/")
            }
            (true, "on.aws") => format!("https://{name}.{region}.api.aws/"),
            (true, "on.amazonwebservices.com.cn") => {
                format!("https://{name}.{region}.api.amazonwebservices.com.cn/")
            }
            _ => return None,
        };
        is_region.then_some(Self { account, region, endpoint })
    }
}

/// Requests the password of the registry at `host`, in its own region where none is given.
pub(in super::super) async fn password(
    cloud: &Cloud,
    host: &str,
    region: Option<&str>,
    mut keys: Keys,
) -> Result<(Credential, Lifetime), CloudProblem> {
    let ecr = EcrHost::parse(host);
    let region = region.or(ecr.as_ref().map(|ecr| ecr.region)).ok_or(CloudProblem::NoRegion)?;
    let url = match (cloud.endpoint(&ENDPOINTS)?, &ecr) {
        (Some(url), _) => Ok(url),
        (None, Some(ecr)) => Url::parse(&ecr.endpoint),
        (None, None) => Url::parse(&format!("https://api.ecr.{region}.amazonaws.com/")),
    };
    let url = url.map_err(|_| CloudProblem::NoRegion)?;
    // A session token in the environment does not belong to keys that need none.
    keys.session_token =
        keys.session_token.filter(|_| !keys.access_key_id.starts_with(LASTING_KEY));
    let policy = RetryPolicy { attempts: ATTEMPTS, ..RetryPolicy::default() };
    policy.run(|| request_password(cloud, &url, region, &keys)).await
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    authorization_data: Vec<AuthorizationData>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuthorizationData {
    authorization_token: SecretString,
    /// The expiry, in seconds since 1970.
    expires_at: f64,
}

async fn request_password(
    cloud: &Cloud,
    url: &Url,
    region: &str,
    keys: &Keys,
) -> Result<(Credential, Lifetime), CloudProblem> {
    let request = signed_request(cloud, url, region, keys).await?;
    let answer = cloud.send(request).await?;
    let now = Timestamp::now();
    let server_time = server_time(answer.headers());
    let protocol = || CloudProblem::protocol(url, answer.status());
    if answer.status() != StatusCode::OK {
        return Err(refusal(&answer, now, keys).unwrap_or_else(protocol));
    }
    let parsed: Answer = serde_json::from_slice(answer.body()).map_err(|_| protocol())?;
    let data = parsed.authorization_data.into_iter().next().ok_or_else(protocol)?;
    // Counted by the clock that set the expiry: this machine's may be off.
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are exact in a double")]
    let left = data.expires_at - server_time.unwrap_or(now).as_second() as f64;
    let left = Duration::try_from_secs_f64(left.max(0.0)).map_err(|_| protocol())?;
    let credential = pair::read(&data.authorization_token).map_err(|_| protocol())?;
    Ok((credential, Lifetime::For(left)))
}

async fn signed_request(
    cloud: &Cloud,
    url: &Url,
    region: &str,
    keys: &Keys,
) -> Result<Request<Bytes>, CloudProblem> {
    let request = Request::post(url.as_str())
        .header("content-type", "application/x-amz-json-1.1")
        .header("x-amz-target", "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken")
        .header("x-amz-content-sha256", hex::encode(Sha256::digest(BODY)));
    let request = request.body(Bytes::from_static(BODY.as_bytes()));
    let request = request.map_err(|_| CloudProblem::setup("the address of the cloud is no URL"))?;
    let (mut head, body) = request.into_parts();
    let signer = RequestSigner::new("ecr", region);
    let context = cloud.context();
    let signed = signer.sign_request(&context, &mut head, Some(keys), None).await;
    signed.map_err(|error| CloudProblem::from_reqsign("the keys", &error))?;
    // The HTTP client writes it.
    head.headers.remove("host");
    Ok(Request::from_parts(head, body))
}

/// Reads an error of AWS' JSON protocols.
fn refusal(answer: &Response<Bytes>, now: Timestamp, keys: &Keys) -> Option<CloudProblem> {
    #[derive(Deserialize)]
    struct Refusal {
        #[serde(rename = "__type")]
        kind: String,
        #[serde(alias = "Message")]
        message: Option<String>,
    }
    let refusal: Refusal = serde_json::from_slice(answer.body()).ok()?;
    // `com.amazon.coral.service#UnrecognizedClientException`
    let code = refusal.kind.rsplit('#').next().filter(|code| is_code(code))?.to_owned();
    let is_signature = SIGNATURE_CODES.contains(&code.as_str());
    if is_signature && let Some(there) = server_time(answer.headers()) {
        let offset = now.as_second() - there.as_second();
        if offset.abs() > MAX_SKEW {
            return Some(CloudProblem::Clock { offset: describe(offset), code });
        }
    }
    // A message about a signature repeats the request with its token.
    let message = refusal.message.filter(|_| !is_signature);
    let message = message.and_then(|message| harmless(&message, keys));
    Some(CloudProblem::Refused { status: answer.status().as_u16(), code, message })
}

/// Returns the first line of `message`, unless it is empty or contains a key.
pub(super) fn harmless(message: &str, keys: &Keys) -> Option<String> {
    let secrets =
        [Some(&keys.access_key_id), Some(&keys.secret_access_key), keys.session_token.as_ref()];
    let secrets: Vec<SecretString> =
        secrets.into_iter().flatten().map(|secret| secret.as_str().into()).collect();
    if message.is_empty() || conceal(&secrets, message).is_some() {
        return None;
    }
    Some(one_line(message))
}

fn server_time(headers: &HeaderMap) -> Option<Timestamp> {
    Timestamp::try_from(server_date(headers)?).ok()
}

/// Describes the offset of this machine's clock, in seconds: `1h 2m ahead of AWS'`.
pub(super) fn describe(offset: i64) -> String {
    let direction = if offset > 0 { "ahead of" } else { "behind" };
    format!("{} {direction} AWS'", duration_text(Duration::from_secs(offset.unsigned_abs())))
}
