//! Base64 of `user:password`, as Docker and the platforms write it.

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{alphabet, engine};
use secrecy::{ExposeSecret as _, SecretString, zeroize::Zeroizing};

use super::Credential;

/// Base64 with or without padding.
const BASE64: GeneralPurpose = engine::GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Decodes base64 of a text. White space is skipped, because the program `base64` breaks lines. An
/// error is a predicate of `encoded`, and never quotes it.
pub(super) fn decode(encoded: &SecretString) -> Result<Zeroizing<String>, &'static str> {
    let packed: Zeroizing<Vec<u8>> = Zeroizing::new(
        encoded.expose_secret().bytes().filter(|byte| !byte.is_ascii_whitespace()).collect(),
    );
    let bytes = BASE64.decode(&*packed).map_err(|_| "is not base64")?;
    let bytes = Zeroizing::new(bytes);
    let text = std::str::from_utf8(&bytes).map_err(|_| "is base64, but not of a text")?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Splits `user:password` at its first colon; the password may contain more colons. One line end at the end
/// is dropped, which `echo` adds without `-n`.
pub(super) fn split(text: &str) -> Result<Credential, &'static str> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    let (username, password) =
        text.split_once(':').ok_or("is base64 of a text that has no colon")?;
    // Some clients pad the secret with NULs.
    let password = password.trim_matches('\0');
    if username.is_empty() {
        return Err("is base64 of a text that has no user before its colon");
    }
    if password.is_empty() {
        return Err("is base64 of a text that has no password behind its colon");
    }
    Ok(Credential::Password { username: username.to_owned(), password: password.into() })
}

/// Decodes and splits a pair.
pub(super) fn read(encoded: &SecretString) -> Result<Credential, &'static str> {
    split(&decode(encoded)?)
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

    use super::*;

    fn pair(encoded: &str) -> Result<(String, String), &'static str> {
        match read(&encoded.into())? {
            Credential::Password { username, password } => {
                Ok((username, password.expose_secret().to_owned()))
            }
            Credential::IdentityToken(_) => panic!("expected a password"),
        }
    }

    #[test]
    fn only_one_line_end_after_the_password_is_removed() {
        for (text, password) in [
            ("me:word", "word"),
            ("me:a:b::c:", "a:b::c:"),
            ("me: spaced ", " spaced "),
            ("me:line\n", "line"),
            ("me:line\r\n", "line"),
            ("me:two\n\n", "two\n"),
            ("me:pässwörd", "pässwörd"),
        ] {
            let expected = Ok(("me".to_owned(), password.to_owned()));
            assert_eq!(pair(&STANDARD.encode(text)), expected, "{text:?}");
            assert_eq!(pair(&STANDARD_NO_PAD.encode(text)), expected, "{text:?}");
        }
        let literal = pair(&STANDARD.encode("$oauthtoken:key")).expect("a pair");
        assert_eq!(literal.0, "$oauthtoken");
    }

    #[test]
    fn base64_can_contain_line_breaks() {
        let token = "x".repeat(2000);
        let encoded = STANDARD.encode(format!("AWS:{token}"));
        let lines: Vec<&str> = encoded
            .as_bytes()
            .chunks(76)
            .map(|line| std::str::from_utf8(line).expect("ASCII"))
            .collect();
        let wrapped = format!("{}\n", lines.join("\n"));
        assert_eq!(pair(&wrapped), Ok(("AWS".to_owned(), token)));
    }

    #[test]
    fn each_mistake_is_described() {
        let cases = [
            ("me:word".to_owned(), "is not base64"),
            ("%%%".to_owned(), "is not base64"),
            (STANDARD.encode([0xff, 0xfe]), "not of a text"),
            (STANDARD.encode("word"), "has no colon"),
            (String::new(), "has no colon"),
            (STANDARD.encode(":word"), "no user before"),
            (STANDARD.encode("AWS:"), "no password behind"),
            (STANDARD.encode("AWS:\n"), "no password behind"),
        ];
        for (encoded, problem) in cases {
            let message = pair(&encoded).expect_err(problem);
            assert!(message.contains(problem), "{encoded}: {message}");
        }
    }
}
