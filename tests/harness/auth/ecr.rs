//! The part of ECR's API that issues passwords. It recomputes the signature of every request with its own implementation of
//! AWS Signature Version 4.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use http::StatusCode;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

pub(crate) struct EcrApi {
    pub(crate) access_key_id: &'static str,
    pub(crate) secret_access_key: String,
    pub(crate) session_token: Option<String>,
    /// In seconds.
    pub(crate) password_lifetime: i64,
    /// How far this server's clock is ahead, in seconds.
    pub(crate) clock_offset: i64,
    pub(crate) issued_passwords: usize,
}

pub(crate) struct EcrError {
    pub(crate) status: StatusCode,
    pub(crate) text: String,
}

impl EcrApi {
    pub(crate) fn new(access_key_id: &'static str, secret_access_key: &str) -> Self {
        Self {
            access_key_id,
            secret_access_key: secret_access_key.to_owned(),
            session_token: None,
            password_lifetime: 12 * 60 * 60,
            clock_offset: 0,
            issued_passwords: 0,
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        let now = Timestamp::now().as_second() + self.clock_offset;
        Timestamp::from_second(now).expect("a time")
    }

    /// Returns a new password and the response body.
    pub(crate) fn call(
        &mut self,
        host: &str,
        head: &http::request::Parts,
        body: &[u8],
    ) -> Result<(String, String), EcrError> {
        self.check(host, head, body)?;
        self.issued_passwords += 1;
        let password = format!("ecr-password-{}", self.issued_passwords);
        let token = STANDARD.encode(format!("AWS:{password}"));
        let end = self.now().as_second() + self.password_lifetime;
        let data = format!(
            r#"{{"authorizationToken": "{token}", "expiresAt": {end}.123, "proxyEndpoint": "x"}}"#
        );
        Ok((password, format!(r#"{{"authorizationData": [{data}]}}"#)))
    }

    fn check(&self, host: &str, head: &http::request::Parts, body: &[u8]) -> Result<(), EcrError> {
        let header = |name: &str| {
            let value = head.headers.get(name).and_then(|value| value.to_str().ok());
            if name == "host" { host } else { value.unwrap_or_default() }
        };
        let target = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken";
        assert_eq!((header("x-amz-target"), body), (target, &b"{}"[..]));
        let authorization = header("authorization");
        let part = |name: &str| {
            let rest = authorization.split_once(&format!("{name}=")).map(|(_, rest)| rest);
            rest.unwrap_or_default().split(',').next().unwrap_or_default()
        };
        let credential: Vec<&str> = part("Credential").split('/').collect();
        let [id, date, region, "ecr", "aws4_request"] = credential[..] else {
            return Err(error(400, "IncompleteSignatureException", "missing credential scope"));
        };
        let endpoint = format!("api.ecr.{region}.amazonaws.com");
        assert_eq!(host, endpoint, "the region matches the endpoint");
        let token = head.headers.get("x-amz-security-token");
        let token = token.map(|token| token.to_str().expect("a text"));
        if id != self.access_key_id || token != self.session_token.as_deref() {
            let text = "The security token included in the request is invalid.";
            return Err(error(400, "UnrecognizedClientException", text));
        }
        // The signature covers every header that changes the meaning of the request.
        let signed: Vec<&str> = part("SignedHeaders").split(';').collect();
        for name in ["content-type", "host", "x-amz-date", "x-amz-target"] {
            assert!(signed.contains(&name), "{name} is signed");
        }
        assert_eq!(token.is_some(), signed.contains(&"x-amz-security-token"));
        let lines: String =
            signed.iter().map(|name| format!("{name}:{}\n", header(name))).collect();
        let canonical = format!(
            "{}\n{}\n\n{lines}\n{}\n{:x}",
            head.method,
            head.uri.path(),
            signed.join(";"),
            Sha256::digest(body)
        );
        let time = header("x-amz-date");
        assert!(time.starts_with(date), "the scope has the date of the request");
        let scope = format!("{date}/{region}/ecr/aws4_request");
        let to_sign =
            format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{:x}", Sha256::digest(&canonical));
        let first = format!("AWS4{}", self.secret_access_key).into_bytes();
        let signature = [date, region, "ecr", "aws4_request", &to_sign]
            .into_iter()
            .fold(first, |key, text| hmac_sha256(&key, text));
        if part("Signature") != hex::encode(signature) {
            // Like AWS, the message repeats the request with its token.
            let text = format!(
                "The request signature we calculated does not match. The Canonical String for \
                 this request should have been '{}'",
                canonical.escape_default()
            );
            return Err(error(400, "InvalidSignatureException", &text));
        }
        let signed_at = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", time).expect("a time");
        let signed_at = signed_at.to_zoned(jiff::tz::TimeZone::UTC).expect("a time").timestamp();
        if (self.now().as_second() - signed_at.as_second()).abs() > 300 {
            let text = format!("Signature expired: {time} is now earlier than …");
            return Err(error(400, "InvalidSignatureException", &text));
        }
        Ok(())
    }
}

fn hmac_sha256(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn error(status: u16, code: &str, message: &str) -> EcrError {
    let body = serde_json::json!({
        "__type": format!("com.amazon.coral.service#{code}"),
        "message": message,
    });
    let status = StatusCode::from_u16(status).expect("a status");
    EcrError { status, text: body.to_string() }
}
