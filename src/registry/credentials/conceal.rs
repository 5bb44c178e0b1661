use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};

use super::Credential;

/// Shorter secrets are not looked for: they are in every other word, and protect nothing.
const SHORTEST: usize = 6;

/// What stands in place of a secret.
const STARS: &str = "***";

/// `text` with stars in place of each of `secrets`, as a whole or line by line; `None` where it
/// holds none of them.
#[must_use]
pub fn conceal(secrets: &[SecretString], text: &str) -> Option<String> {
    let mut concealed: Option<String> = None;
    for secret in secrets {
        let secret = secret.expose_secret().trim();
        let lines = secret.lines().map(str::trim).filter(|line| *line != secret);
        for part in std::iter::once(secret).chain(lines) {
            let shown = concealed.as_deref().unwrap_or(text);
            if part.len() >= SHORTEST && shown.contains(part) {
                concealed = Some(shown.replace(part, STARS));
            }
        }
    }
    concealed
}

impl Credential {
    /// All of it that nobody else may know, also as it travels.
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
    fn secrets_are_found_as_a_whole_and_by_their_lines() {
        let secrets: Vec<SecretString> =
            ["hunter2", "-- key --\nMIIEvQ\n", "abc"].map(SecretString::from).into();
        let told = |text| conceal(&secrets, text);
        assert_eq!(told("a hunter2 b hunter2").as_deref(), Some("a *** b ***"));
        assert_eq!(told("line MIIEvQ").as_deref(), Some("line ***"));
        assert_eq!(told("abc is too short to be one"), None);
    }

    #[test]
    fn a_password_is_known_in_the_form_in_which_it_travels() {
        let credential =
            Credential::Password { username: "me".to_owned(), password: "hunter2".into() };
        let sent = format!("Authorization: Basic {}", STANDARD.encode("me:hunter2"));
        let told = conceal(&credential.secrets(), &sent);
        assert_eq!(told.as_deref(), Some("Authorization: Basic ***"));
    }
}
