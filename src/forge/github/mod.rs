//! A client of GitHub's API, at github.com, GHE.com or Enterprise Server.
//!
//! [`GitHub`] sends requests (`client`). `branch` creates and updates the branch of a release, with the
//! help of `files`, `commit` and `merge`; `pull` opens and updates the pull request.
//!
//! All requests are sent by path, and their answers are parsed into types with the fields that are used.
//! octocrab 0.54 has typed requests for the same. Tried in code against the fake GitHub of the tests:
//! those for labels and refs work, but `pulls().update` sends a `pull_number` that GitHub's API
//! description does not allow. Read in its source, not tried: its models of pull requests require URLs
//! that parse, and fields that the description leaves optional or null (a team's `privacy`, a user's
//! `gravatar_id`), so that one unusual pull request would make the whole list unreadable.

use std::fmt::Write as _;

mod access;
mod branch;
mod client;
mod commit;
mod error;
mod files;
mod merge;
mod pull;
mod tree;

pub use access::Access;
pub use client::{GitHub, GitHubOptions};
pub use error::{GitHubError, GitHubErrorKind};
pub use pull::{Opened, Proposal, PullRequest};
pub use tree::TreeEntry;

/// The branch into which the pull request is to be merged, at one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    pub branch: String,
    /// The id of its latest commit.
    pub head: String,
    /// Whether it is the repository's default branch.
    pub is_default: bool,
}

/// A branch with the changes of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    pub name: String,
    /// Whether this run created or changed it.
    pub is_changed: bool,
}

/// Percent-encodes a text for the path of a URL. Slashes are kept.
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
    fn names_are_percent_encoded() {
        assert_eq!(quoted("basegen/release-v1.2.3"), "basegen/release-v1.2.3");
        assert_eq!(quoted("a b?c#d%é"), "a%20b%3Fc%23d%25%C3%A9");
    }
}
