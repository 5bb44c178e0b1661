//! GitHub's API: github.com, GHE.com and Enterprise Server.

use std::fmt::Write as _;

mod access;
mod branch;
mod client;
mod commit;
mod error;
mod merge;
mod pull;
mod tree;

pub use access::Access;
pub use branch::{Base, Branch};
pub use client::{GitHub, GitHubOptions};
pub use error::{GitHubError, GitHubErrorKind};
pub use pull::{Opened, Proposal, PullRequest};
pub use tree::TreeEntry;

/// Characters of a path that keep their meaning in a URL; all others are written as `%…`.
fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let mut quoted = String::with_capacity(text.len());
    for byte in text.bytes() {
        if plain(byte) {
            quoted.push(char::from(byte));
        } else {
            let _ = write!(quoted, "%{byte:02X}");
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_place_in_a_url() {
        assert_eq!(quoted("basegen/release-v1.2.3"), "basegen/release-v1.2.3");
        assert_eq!(quoted("a b?c#d%é"), "a%20b%3Fc%23d%25%C3%A9");
    }
}
