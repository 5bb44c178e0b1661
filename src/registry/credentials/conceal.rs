//! Redacts secrets in text, in every encoding in which a server or a build step may repeat them.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use secrecy::{ExposeSecret as _, SecretString};

use super::Credential;

/// Shorter secrets, in bytes, are not redacted: every other word contains them.
const SHORTEST: usize = 6;

/// The replacement of a secret.
const STARS: &str = "***";

/// Redacts secrets as a whole and line by line, as they are and encoded for URLs, for JSON and in base64, even
/// within a longer text in base64.
#[derive(Default)]
pub struct Concealer {
    forms: Vec<SecretString>,
}

impl Concealer {
    /// Adds the forms of `secrets`.
    pub fn add(&mut self, secrets: impl IntoIterator<Item = SecretString>) {
        for secret in secrets {
            let whole = secret.expose_secret().trim();
            let lines = whole.lines().map(|line| line.trim().to_owned());
            for form in encodings(whole).into_iter().chain(lines) {
                let is_known = || self.forms.iter().any(|known| known.expose_secret() == form);
                if form.len() >= SHORTEST && !is_known() {
                    self.forms.push(form.into());
                }
            }
        }
    }

    /// Redacts secrets. Returns `None` if `text` contains none. Secrets that overlap are replaced together, so
    /// that no part of one remains.
    #[must_use]
    pub fn conceal(&self, text: &str) -> Option<String> {
        let mut found: Vec<Range<usize>> = Vec::new();
        for form in &self.forms {
            let form = form.expose_secret();
            let mut from = 0;
            while let Some(at) = text[from..].find(form) {
                let start = from + at;
                found.push(start..start + form.len());
                from = start + form.chars().next().map_or(1, char::len_utf8);
            }
        }
        if found.is_empty() {
            return None;
        }
        found.sort_by_key(|range| range.start);
        let (mut shown, mut end) = (String::with_capacity(text.len()), 0);
        for range in found {
            if range.start > end || shown.is_empty() {
                shown.push_str(&text[end..range.start]);
                shown.push_str(STARS);
            }
            end = end.max(range.end);
        }
        shown.push_str(&text[end..]);
        Some(shown)
    }
}

/// Redacts `secrets`. Returns `None` if `text` contains none of them.
#[must_use]
pub fn conceal(secrets: &[SecretString], text: &str) -> Option<String> {
    let mut concealer = Concealer::default();
    concealer.add(secrets.iter().cloned());
    concealer.conceal(text)
}

/// Returns `secret` as it is and encoded.
fn encodings(secret: &str) -> Vec<String> {
    let percent = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    let url: String = secret.bytes().map(percent).collect();
    let json = serde_json::to_string(secret).unwrap_or_default();
    let mut encodings = vec![
        secret.to_owned(),
        url.replace("%20", "+"),
        secret.bytes().map(percent).map(|text| text_with_lower_hex(&text)).collect(),
        url,
        json.trim_matches('"').to_owned(),
        STANDARD.encode(secret),
    ];
    // Where a longer text is encoded, three positions are possible. The characters at both ends depend on
    // the text beside the secret.
    for (shift, skipped) in [(0, 0), (1, 2), (2, 3)] {
        let bytes = [&[0; 2][..shift], secret.as_bytes()].concat();
        let kept = bytes.len() * 8 / 6;
        let encoded = STANDARD_NO_PAD.encode(&bytes);
        encodings.extend(encoded.get(skipped..kept).map(str::to_owned));
    }
    let url_safe: Vec<String> =
        encodings[5..].iter().map(|text| text.replace('+', "-").replace('/', "_")).collect();
    encodings.extend(url_safe);
    encodings
}

/// Writes the digits of a percent-encoded byte in lower case: `%2f`.
fn text_with_lower_hex(text: &str) -> String {
    if text.starts_with('%') { text.to_ascii_lowercase() } else { text.to_owned() }
}

impl Credential {
    /// Returns the secret as it is and as it is sent.
    pub(super) fn secrets(&self) -> Vec<SecretString> {
        match self {
            Self::Password { username, password } => {
                let pair = STANDARD.encode(format!("{username}:{}", password.expose_secret()));
                vec![password.clone(), pair.into()]
            }
            Self::IdentityToken(token) => vec![token.clone()],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_their_single_lines_are_concealed() {
        let secrets: Vec<SecretString> =
            ["hunter2", "-- key --\nMIIEvQ\n", "abc"].map(SecretString::from).into();
        let concealed = |text| conceal(&secrets, text);
        assert_eq!(concealed("a hunter2 b hunter2").as_deref(), Some("a *** b ***"));
        assert_eq!(concealed("line MIIEvQ").as_deref(), Some("line ***"));
        assert_eq!(concealed("abc is too short for a secret"), None);
    }

    #[test]
    fn secrets_are_concealed_in_every_encoding() {
        let secret = "pa ss/w+ord\"\u{e9}\u{1f}";
        let inner: [String; 3] =
            ["", "a", "ab"].map(|before| STANDARD.encode(format!("{before}{secret} and more")));
        let encoded = [
            "pa%20ss%2Fw%2Bord%22%C3%A9%1F".to_owned(),
            "pa+ss%2Fw%2Bord%22%C3%A9%1F".to_owned(),
            "pa%20ss%2fw%2bord%22%c3%a9%1f".to_owned(),
            serde_json::to_string(secret).expect("JSON"),
            STANDARD.encode(secret),
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(secret),
        ];
        for text in encoded.iter().chain(&inner) {
            let concealed = conceal(&[secret.into()], &format!("a {text} b")).unwrap_or_default();
            assert!(concealed.contains(STARS), "{text}: {concealed}");
        }
        for text in &encoded[..5] {
            let concealed = conceal(&[secret.into()], text).unwrap_or_default();
            assert!(concealed.trim_matches('"') == STARS, "{text}: {concealed}");
        }
    }

    /// No part of a secret remains if another secret is its prefix or overlaps with it.
    #[test]
    fn overlapping_secrets_are_concealed_completely() {
        let secrets: Vec<SecretString> =
            ["hunter2", "hunter2-and-more", "2-and-more-yet"].map(SecretString::from).into();
        assert_eq!(conceal(&secrets, "a hunter2-and-more b").as_deref(), Some("a *** b"));
        assert_eq!(conceal(&secrets, "a hunter2-and-more-yet b").as_deref(), Some("a *** b"));
        assert_eq!(conceal(&secrets, "hunter2hunter2").as_deref(), Some("***"));
    }

    #[test]
    fn a_password_is_concealed_in_an_authorization_header() {
        let credential =
            Credential::Password { username: "me".to_owned(), password: "hunter2".into() };
        let header = format!("Authorization: Basic {}", STANDARD.encode("me:hunter2"));
        let concealed = conceal(&credential.secrets(), &header);
        assert_eq!(concealed.as_deref(), Some("Authorization: Basic ***"));
    }
}
