//! Detects secrets that were written in place of a name, and hides them in errors.

use super::spanned::Span;

/// Prefixes of well-known kinds of secrets.
const PREFIXES: [&str; 19] = [
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "dckr_pat_",
    "dckr_oat_",
    "ya29.",
    "nvapi-",
    "eyJ",
    "-----BEGIN",
    "AIza",
    "hf_",
    "pypi-",
    "sk-",
    "npm_",
    "xox",
];

/// Prefixes of AWS access key ids. At least 16 letters and digits follow.
const AWS_KEYS: [&str; 2] = ["AKIA", "ASIA"];

/// The minimum length of a random word: lower-case letters, upper-case letters and digits.
const RANDOM: usize = 20;

/// The minimum length of a random word of hexadecimal digits.
const DIGEST: usize = 32;

/// The key of the tables that contain credentials.
const TABLE: &str = "registries";

/// Keys of these tables that never contain a secret.
const HARMLESS: [&str; 4] = ["auth_method", "plain_http", "concurrency", "requests_per_second"];

/// The maximum length of a key; a longer text may be a secret.
const MAX_KEY: usize = 48;

/// Returns true if `text` is more likely a secret than the name of one.
#[must_use]
pub fn looks_like_secret(text: &str) -> bool {
    let text = text.trim();
    if PREFIXES.iter().any(|prefix| text.starts_with(prefix)) {
        return true;
    }
    // A JSON key, or base64 of anything.
    if text.starts_with('{') || text.ends_with('=') {
        return true;
    }
    if is_aws_key(text) {
        return true;
    }
    // A word of the base64 alphabet. Names contain separators.
    let is_gap = |c: char| !(c.is_ascii_alphanumeric() || c == '+' || c == '/');
    !text.contains("://") && text.split(is_gap).any(is_random)
}

fn is_aws_key(text: &str) -> bool {
    let is_key_byte = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    let mut keys = AWS_KEYS.iter().filter_map(|prefix| text.strip_prefix(prefix));
    keys.any(|rest| rest.len() >= 16 && rest.bytes().all(is_key_byte))
}

/// Returns true if a word in `text` is a well-known kind of secret. A name with the same prefix, such as
/// `hf_hub_download`, a digest or a commit is not.
pub(crate) fn holds_secret(text: &str) -> bool {
    let is_gap = |c: char| !(c.is_ascii_alphanumeric() || "_-./+".contains(c));
    let is_marked = |word: &str| {
        let has_digit = word.bytes().any(|byte| byte.is_ascii_digit());
        let is_long = word.len() >= RANDOM && has_digit;
        is_aws_key(word) || (is_long && PREFIXES.iter().any(|prefix| word.starts_with(prefix)))
    };
    text.contains("PRIVATE KEY-----") || text.split(is_gap).any(is_marked)
}

fn is_random(word: &str) -> bool {
    let has = |kind: fn(&u8) -> bool| word.as_bytes().iter().any(kind);
    let is_mixed = has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase);
    let is_hex = word.len() >= DIGEST && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    has(u8::is_ascii_digit) && (is_hex || (is_mixed && word.len() >= RANDOM))
}

/// Replaces the bytes at `spans` by asterisks. Offsets stay the same.
pub(super) fn conceal(text: &str, spans: &[Span]) -> String {
    let hide = |(offset, byte): (usize, u8)| {
        let is_hidden = spans.iter().any(|span| span.contains(&offset));
        if is_hidden && !byte.is_ascii_whitespace() { b'*' } else { byte }
    };
    let bytes = text.bytes().enumerate().map(hide).collect();
    // A span that ends within a character leaves invalid UTF-8.
    String::from_utf8(bytes).unwrap_or_default()
}

/// Replaces the values in tables of registries by asterisks, because one may be a password. Used for errors in a
/// file that cannot be parsed.
pub(super) fn conceal_registries(text: &str) -> String {
    let mut spans = Vec::new();
    let (mut offset, mut inside) = (0, false);
    for line in text.split_inclusive('\n') {
        let (start, end) = (offset, offset + line.len());
        offset = end;
        let trimmed = line.trim_start();
        let header = trimmed.strip_prefix('[').map(|rest| rest.trim_start_matches(['[', ' ']));
        if let Some(header) = header.filter(|header| header.starts_with(is_name)) {
            inside = header.starts_with(TABLE);
            continue;
        }
        if !inside && !trimmed.starts_with(TABLE) {
            continue;
        }
        match line.split_once('=') {
            Some((key, _)) if HARMLESS.contains(&key.trim()) => {}
            Some((key, _)) if key.len() <= MAX_KEY && !looks_like_secret(key) => {
                spans.push(start + key.len() + 1..end);
            }
            _ => spans.push(start..end),
        }
    }
    conceal(text, &spans)
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '"' | '\'')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variable_names_are_not_secrets() {
        for name in [
            "aws_access_key_id",
            "AWS_SECRET_ACCESS_KEY",
            "custom_aws_secret_key_secret",
            "gcp-service-account",
            "DOCKER_REGISTRY_ghcr.io",
            "DOCKER_REGISTRY_https://index.docker.io/v1/",
            "DOCKER_REGISTRY_123456789012.dkr.ecr.us-east-1.amazonaws.com",
            "$oauthtoken",
            "oauth2accesstoken",
            "robot$acme+publisher",
            "00000000-0000-0000-0000-000000000000",
            "AKIA_NAME",
        ] {
            assert!(!looks_like_secret(name), "{name}");
        }
    }

    #[test]
    fn secrets_are_detected() {
        for secret in [
            "AKIAIOSFODNN7EXAMPLE",
            "ASIAIOSFODNN7EXAMPLE",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
            "0123456789abcdef0123456789abcdef01234567",
            "dckr_pat_x",
            "ya29.a0Af",
            "eyJhbGciOiJIUzI1NiJ9.e30.x",
            "-----BEGIN PRIVATE KEY-----",
            "{\"type\": \"service_account\"}",
            "dXNlcjpwYXNzd29yZA==",
            "bm90OmEgcGFzc3dvcmQgMTIzNDU2Nzg5",
        ] {
            assert!(looks_like_secret(secret), "{secret}");
        }
    }

    #[test]
    fn only_tables_of_registries_are_concealed() {
        let text = "[image]\na = \"b\"\n[registries.\"x.io\"]\nauth_method = \"BASIC\"\n\
                    password = \"hunter2\" # hunter2\nkey = \"\"\"\nhunter2\n{\"a\": \"hunter2\"}\n\
                    [build]\nc = \"d\"\n";
        let concealed = conceal_registries(text);
        assert_eq!(concealed.len(), text.len());
        assert!(!concealed.contains("hunter2"), "{concealed}");
        for kept in ["a = \"b\"", "auth_method = \"BASIC\"", "password =", "c = \"d\""] {
            assert!(concealed.contains(kept), "{concealed}");
        }
        let inline = "registries = { \"x.io\" = { password = \"hunter2\" } }\n";
        assert!(!conceal_registries(inline).contains("hunter2"));
    }
}
