//! The `WWW-Authenticate` header ([RFC 9110][rfc], 11.6.1), as registries send it.
//!
//! [rfc]: https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

/// The authentication that a registry requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String>, scopes: Vec<String> },
}

impl Challenge {
    /// Returns the challenge to answer; a token is preferred to a password.
    pub(super) fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let mut found = None;
        for value in headers.get_all(WWW_AUTHENTICATE) {
            for (scheme, parameters) in parse(value.to_str().unwrap_or_default()) {
                let parameter = |name: &str| {
                    let mut all = parameters.iter();
                    all.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
                };
                match (scheme.to_ascii_lowercase().as_str(), parameter("realm")) {
                    ("bearer", Some(realm)) => {
                        let scopes = parameter("scope").map(String::as_str).unwrap_or_default();
                        return Some(Self::Bearer {
                            realm: realm.clone(),
                            service: parameter("service").cloned(),
                            scopes: scopes.split_whitespace().map(str::to_owned).collect(),
                        });
                    }
                    ("basic", _) => found = Some(Self::Basic),
                    _ => {}
                }
            }
        }
        found
    }
}

type Parameters = Vec<(String, String)>;

/// Parses the challenges of one header, each with its scheme and parameters.
fn parse(text: &str) -> Vec<(String, Parameters)> {
    let mut challenges: Vec<(String, Parameters)> = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (word, after) = token(rest);
        if word.is_empty() {
            // Skip a character that is not part of a known challenge.
            let mut characters = rest.chars();
            if characters.next().is_none() {
                return challenges;
            }
            rest = characters.as_str();
            continue;
        }
        let value = after.trim_start().strip_prefix('=').map(str::trim_start);
        rest = match (value, challenges.last_mut()) {
            (Some(value), Some((_, parameters))) => {
                let (value, after) = quoted(value).unwrap_or_else(|| {
                    let (value, after) = token(value);
                    (value.to_owned(), after)
                });
                parameters.push((word.to_owned(), value));
                after
            }
            (Some(value), None) => value,
            (None, _) => {
                challenges.push((word.to_owned(), Vec::new()));
                after
            }
        };
    }
}

/// Splits the token off the start of `text`. Tokens may contain `:` and `/`, against the standard,
/// because some registries do not quote their URLs.
fn token(text: &str) -> (&str, &str) {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~:/".contains(c);
    text.split_at(text.find(|c| !is_token(c)).unwrap_or(text.len()))
}

/// Splits the quoted string off the start of `text`.
fn quoted(text: &str) -> Option<(String, &str)> {
    let inner = text.strip_prefix('"')?;
    let mut value = String::new();
    let mut characters = inner.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &inner[at + 1..])),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    Some((value, ""))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn challenge(lines: &[&'static str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(line));
        }
        Challenge::from_headers(&headers)
    }

    fn bearer(realm: &str, service: Option<&str>, scopes: &[&str]) -> Challenge {
        Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        }
    }

    #[test]
    fn quoted_values_may_contain_commas() {
        let line = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push repository:c/d:pull",error="insufficient_scope""#;
        assert_eq!(
            challenge(&[line]),
            Some(bearer(
                "https://auth.docker.io/token",
                Some("registry.docker.io"),
                &["repository:a/b:pull,push", "repository:c/d:pull"]
            ))
        );
    }

    #[test]
    fn case_spaces_escapes_and_missing_quotes_are_tolerated() {
        let line = r#"bearer  Realm = "https://a/\"t\\" , service=x"#;
        assert_eq!(challenge(&[line]), Some(bearer("https://a/\"t\\", Some("x"), &[])));
        let unquoted = "Bearer realm=https://a.b:5001/token,service=c";
        assert_eq!(challenge(&[unquoted]), Some(bearer("https://a.b:5001/token", Some("c"), &[])));
    }

    #[test]
    fn tokens_are_preferred_to_passwords() {
        let both = r#"Basic realm="x", Bearer realm="https://a/t""#;
        assert_eq!(challenge(&[both]), Some(bearer("https://a/t", None, &[])));
        assert_eq!(
            challenge(&[r#"Basic realm="a, b""#, r#"Bearer realm="https://a/t""#]),
            Some(bearer("https://a/t", None, &[]))
        );
        assert_eq!(
            challenge(&[r#"Basic realm="https://x.amazonaws.com/""#]),
            Some(Challenge::Basic)
        );
    }

    #[test]
    fn unsupported_challenges_are_ignored() {
        for line in
            ["", "Negotiate", "Bearer service=\"x\"", "=\"", "\"Bearer", ",,,", "Bearer realm"]
        {
            assert_eq!(challenge(&[line]), None, "{line}");
        }
    }
}
