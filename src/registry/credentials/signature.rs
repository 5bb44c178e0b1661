//! AWS' [signature version 4][sigv4], for requests whose path and query need no encoding.
//!
//! [sigv4]: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html

use hmac::{Hmac, Mac as _};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

/// The only algorithm.
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Who signs.
pub(super) struct Keys {
    pub(super) access_key_id: SecretString,
    pub(super) secret_access_key: SecretString,
    /// What makes temporary keys valid.
    pub(super) session_token: Option<SecretString>,
}

/// What a signature is good for.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    pub(super) time: Timestamp,
}

/// A request to be signed.
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    /// The path, `/` at the least.
    pub(super) path: &'a str,
    /// In lower case and sorted, with `host` and `x-amz-date` among them.
    pub(super) headers: &'a [(&'a str, &'a str)],
    pub(super) body: &'a [u8],
}

/// How `x-amz-date` writes the time: `20150830T123600Z`.
pub(super) fn date_time(time: Timestamp) -> String {
    time.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// The value of the `authorization` header.
pub(super) fn sign(request: &Request<'_>, scope: Scope<'_>, keys: &Keys) -> String {
    let (canonical, signed) = canonical(request);
    let date = scope.time.strftime("%Y%m%d").to_string();
    let area = format!("{date}/{}/{}/aws4_request", scope.region, scope.service);
    let hash = hex::encode(Sha256::digest(canonical));
    let to_sign = format!("{ALGORITHM}\n{}\n{area}\n{hash}", date_time(scope.time));
    let secret = keys.secret_access_key.expose_secret();
    let mut key = hmac(format!("AWS4{secret}").as_bytes(), &date);
    for part in [scope.region, scope.service, "aws4_request"] {
        key = hmac(&key, part);
    }
    let signature = hex::encode(hmac(&key, &to_sign));
    let id = keys.access_key_id.expose_secret();
    format!("{ALGORITHM} Credential={id}/{area}, SignedHeaders={signed}, Signature={signature}")
}

/// The canonical form of a request, and the names of the headers in it.
fn canonical(request: &Request<'_>) -> (String, String) {
    let headers: String =
        request.headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
    let names: Vec<&str> = request.headers.iter().map(|(name, _)| *name).collect();
    let signed = names.join(";");
    let body = hex::encode(Sha256::digest(request.body));
    // The empty line stands for the query, which is none.
    let (method, path) = (request.method, request.path);
    (format!("{method}\n{path}\n\n{headers}\n{signed}\n{body}"), signed)
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys, the scope and the signatures of AWS' own test suite for version 4, as its
    /// `.authz` files have them.
    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    const DATE: (&str, &str) = ("x-amz-date", "20150830T123600Z");
    const HOST: (&str, &str) = ("host", "example.amazonaws.com");

    /// A method, headers, a body, the names of the headers, the signature.
    type Vector<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str, &'a str, &'a str);

    fn authorization(method: &str, headers: &[(&str, &str)], body: &str) -> String {
        let keys = Keys {
            access_key_id: "AKIDEXAMPLE".into(),
            secret_access_key: SECRET.into(),
            session_token: None,
        };
        let time = "2015-08-30T12:36:00Z".parse().expect("a time");
        assert_eq!(date_time(time), DATE.1);
        let scope = Scope { region: "us-east-1", service: "service", time };
        let request = Request { method, path: "/", headers, body: body.as_bytes() };
        sign(&request, scope, &keys)
    }

    #[test]
    fn the_published_vectors_are_met() {
        let prefix = "AWS4-HMAC-SHA256 \
                      Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                      SignedHeaders=";
        let form = ("content-type", "application/x-www-form-urlencoded");
        let cases: [Vector<'_>; 5] = [
            (
                "GET",
                &[HOST, DATE],
                "",
                "host;x-amz-date",
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                "POST",
                &[HOST, DATE],
                "",
                "host;x-amz-date",
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                "POST",
                &[HOST, ("my-header1", "value1"), DATE],
                "",
                "host;my-header1;x-amz-date",
                "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
            ),
            (
                "POST",
                &[HOST, ("my-header1", "VALUE1"), DATE],
                "",
                "host;my-header1;x-amz-date",
                "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
            ),
            (
                "POST",
                &[form, HOST, DATE],
                "Param1=value1",
                "content-type;host;x-amz-date",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
        ];
        for (method, headers, body, signed, signature) in cases {
            let expected = format!("{prefix}{signed}, Signature={signature}");
            assert_eq!(authorization(method, headers, body), expected);
        }
    }
}
