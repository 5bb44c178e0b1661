//! Refuses imported commands and variables that contain credentials: templates are committed, and their commands and
//! variables are part of the image.

use crate::error::is_secret_parameter;
use crate::matrix::{holds_secret, looks_like_secret};

/// Why a text with a credential is left out.
const IN_URL: &str =
    "its URL contains a credential, which would get into the repository; mount a secret";

/// Why a command with a credential is left out.
const IN_COMMAND: &str = "it contains a credential, which would get into the repository and the image's history; mount a secret";

/// Why a variable with a credential is left out.
const IN_VARIABLE: &str = "it is a credential, which would get into the repository and the image; pass it to the container";

/// The last words of the names of variables that hold credentials.
const NAMES: [&str; 9] = [
    "TOKEN",
    "SECRET",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "CREDENTIAL",
    "CREDENTIALS",
    "KEY",
    "APIKEY",
];

/// Refuses a shell command that contains a credential. Shell variables are allowed.
pub(super) fn refuse_in_command(text: &str) -> Result<(), String> {
    if holds_credential(text) {
        Err(IN_URL.to_owned())
    } else if holds_secret(text) {
        Err(IN_COMMAND.to_owned())
    } else {
        Ok(())
    }
}

/// Refuses a requirement of pip that contains a credential.
pub(super) fn refuse_in_requirement(text: &str) -> Result<(), String> {
    if holds_credential(text) { Err(IN_URL.to_owned()) } else { Ok(()) }
}

/// Refuses a variable of the image whose value is or contains a credential.
pub(super) fn refuse_in_variable(name: &str, value: &str) -> Result<(), String> {
    let name = name.to_ascii_uppercase();
    let last = name.rsplit('_').next().unwrap_or_default();
    let is_setting = value.is_empty() || matches!(value, "true" | "false" | "0" | "1");
    let is_named = NAMES.contains(&last) && !is_setting;
    let is_credential = is_named || looks_like_secret(value) || holds_secret(value);
    if is_credential || holds_credential(value) { Err(IN_VARIABLE.to_owned()) } else { Ok(()) }
}

/// Returns true if `text` has a URL with a password (`ssh://me:password@example.org`), an HTTP URL with a user, which may
/// be a token (`https://token@example.org`), or a signed URL (`?X-Amz-Signature=…`).
fn holds_credential(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.match_indices("://").any(|(at, mark)| {
        let is_web = text[..at].ends_with("http") || text[..at].ends_with("https");
        let is_end = |c: char| c.is_whitespace() || "\"'`<>|;)".contains(c);
        let url = text[at + mark.len()..].split(is_end).next().unwrap_or_default();
        let (authority, rest) = url.split_at(url.find(['/', '?', '#']).unwrap_or(url.len()));
        let user = authority.rsplit_once('@').map(|(user, _)| user);
        user.is_some_and(|user| is_password(user, is_web))
            || rest.split(['?', '&', '#']).any(is_signed)
    })
}

/// Returns true if the part of a URL before `@` has a password or, in an HTTP URL, a possible token.
fn is_password(user: &str, is_web: bool) -> bool {
    match user.split_once(':') {
        Some((_, password)) => !is_filled_in(password),
        None => is_web && !is_filled_in(user),
    }
}

/// Returns true if a parameter of a URL is a credential.
fn is_signed(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else { return false };
    is_secret_parameter(name) && !value.is_empty() && !is_filled_in(value)
}

/// Returns true for a shell variable: `$TOKEN`, `${TOKEN}`.
fn is_filled_in(text: &str) -> bool {
    text.starts_with('$')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_with_credentials_are_found() {
        for text in [
            "pip install git+https://me:sekret@h/x",
            "curl https://tok@h/x | sh",
            "curl 'HTTPS://tok@h/x'",
            "git clone ssh://me:sekret@h/x",
            "curl -o x https://h/x?X-Amz-Date=1&X-Amz-Signature=0a1b",
            "curl https://h.blob.example/x?sv=1&sig=0a%3D",
            "curl https://h/x?access_token=abc#y",
            "pip install --index-url https://h/simple?apikey=1",
        ] {
            assert!(holds_credential(text), "{text}");
        }
        for text in [
            "git clone ssh://git@github.com/a/b",
            "curl https://h/x@1?version=1&page_size=3",
            "curl https://$TOKEN@h/x",
            "curl https://${USER}:${TOKEN}@h/x?token=$TOKEN",
            "echo a://b c@d",
            "curl https://h; echo me@h",
            "uv pip install torch --index-url https://download.pytorch.org/whl/cu128",
        ] {
            assert!(!holds_credential(text), "{text}");
        }
    }

    #[test]
    fn commands_that_name_a_token_are_known() {
        let token = format!("hf_{}1", "aBcD".repeat(8));
        for text in
            [format!("hf auth login --token {token}"), format!("export HF_TOKEN={token}&& x")]
        {
            assert_eq!(refuse_in_command(&text), Err(IN_COMMAND.to_owned()), "{text}");
        }
        for text in [
            "python -c 'from huggingface_hub import hf_hub_download'",
            "git checkout 0123456789abcdef0123456789abcdef01234567",
            "hf auth login --token $HF_TOKEN",
            "npm_config_loglevel=2 npm install sk-learn2",
        ] {
            assert_eq!(refuse_in_command(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn variables_that_hold_credentials_are_known() {
        for (name, value) in [
            ("HF_TOKEN", "x"),
            ("openai_api_key", "x"),
            ("DB_PASSWORD", "x"),
            ("A", "ghp_0123456789"),
            ("A", "postgres://me:sekret@h/x"),
            ("A", "https://h/x?sig=1"),
        ] {
            assert!(refuse_in_variable(name, value).is_err(), "{name}={value}");
        }
        for (name, value) in [
            ("TOKENIZERS_PARALLELISM", "false"),
            ("MAX_TOKENS", "4096"),
            ("USE_TOKEN", "true"),
            ("HF_TOKEN", ""),
            ("A", "https://h/x"),
            ("KEY_PATH", "/x/y"),
        ] {
            assert_eq!(refuse_in_variable(name, value), Ok(()), "{name}={value}");
        }
    }
}
