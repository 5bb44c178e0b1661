//! Finds URLs and Git repositories in `ADD` that have neither a checksum nor a commit.
//!
//! Reference: <https://docs.docker.com/reference/dockerfile/#add>, and for Git
//! <https://docs.docker.com/build/concepts/context/#url-queries>

use regex_lite::Regex;

use super::arguments::Scope;
use super::copied::{added, source};
use super::dockerfile::Instruction;
use super::flags::flags;
use super::options::DockerfileOptions;
use super::upstream::is_remote;

/// A source of an `ADD` whose content can change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unverified {
    /// The URL without user and password.
    pub url: String,
    /// Whether it is a Git repository.
    pub is_git: bool,
    /// The first line of the instruction, from 1.
    pub line: usize,
}

/// Returns the sources without a checksum or a full commit.
pub(super) fn unverified(
    instructions: &[Instruction],
    options: &DockerfileOptions,
) -> Vec<Unverified> {
    let mut found = Vec::new();
    let mut scope = Scope::new(instructions, &options.arguments);
    for instruction in instructions {
        let checksum =
            |flag: &&str| flag.strip_prefix("--checksum=").is_some_and(|sum| !sum.is_empty());
        // The engine verifies the checksum.
        if instruction.keyword == "ADD" && !flags(&instruction.arguments).0.iter().any(checksum) {
            let words = added(instruction).unwrap_or_default().into_iter();
            let sources = words.map(|word| source(&word, instruction, &scope));
            for source in sources.filter(|source| is_remote(source) && !names_commit(source)) {
                let (url, is_git) = (without_user(&source), is_git(&source));
                found.push(Unverified { url, is_git, line: instruction.line });
            }
        }
        scope.pass(instruction);
    }
    found
}

/// Returns true if the engine clones `source` rather than downloads it.
fn is_git(source: &str) -> bool {
    let path = source.split(['?', '#']).next().unwrap_or_default();
    let is_web = source.starts_with("http://") || source.starts_with("https://");
    !is_web || path.rsplit_once('.').is_some_and(|(_, ending)| ending == "git")
}

/// Returns true if the URL of a Git repository contains a commit.
fn names_commit(source: &str) -> bool {
    let commit = "(?:[[:xdigit:]]{40}|[[:xdigit:]]{64})";
    // Abbreviated commits count too where the engine verifies them.
    let option = format!("(?:ref={commit}|(?:checksum|commit)=[[:xdigit:]]{{7,}})");
    let form = format!(r"^[^#]*(?:#{commit}(?::|$)|[?&]{option}(?:[&#]|$))");
    is_git(source) && Regex::new(&form).expect("a regular expression").is_match(source)
}

/// Removes user and password from a URL.
fn without_user(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let user = host.rfind('@').map_or(0, |at| at + 1);
    format!("{scheme}://{}", &rest[user..])
}

#[cfg(test)]
mod tests {
    use super::super::dockerfile::parse;
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn urls(line: &str) -> Vec<String> {
        let text = format!("FROM a\n{}\n", line.replace("COMMIT", COMMIT));
        let instructions = parse(&text).expect(line);
        let options = DockerfileOptions::default();
        unverified(&instructions, &options).into_iter().map(|found| found.url).collect()
    }

    #[test]
    fn sources_without_checksum_and_commit_are_unverified() {
        for (line, url) in [
            ("ADD https://example.org/a.tgz /", "https://example.org/a.tgz"),
            ("ADD --link --checksum= http://example.org/a b /", "http://example.org/a"),
            ("ADD [\"https://u:p@example.org/a b\", \"/\"]", "https://example.org/a b"),
            ("ADD git@example.org:a/b.git /", "git@example.org:a/b.git"),
            ("ADD https://example.org/a.git#main:sub /", "https://example.org/a.git#main:sub"),
            ("ADD https://example.org/a.git#0123456 /", "https://example.org/a.git#0123456"),
            (
                "ADD https://example.org/a.git?branch=main /",
                "https://example.org/a.git?branch=main",
            ),
            ("ADD ssh://git@example.org/a#v1 /", "ssh://example.org/a#v1"),
            (
                "ADD https://example.org/a?commit=COMMIT /",
                &format!("https://example.org/a?commit={COMMIT}"),
            ),
        ] {
            assert_eq!(urls(line), [url], "{line}");
        }
    }

    #[test]
    fn sources_with_checksum_or_in_the_context_are_verified() {
        for line in [
            "ADD --checksum=sha256:24454f830cdb571e2c4ad15481119c43b3cafd48dd869a9b2945d1036d1dc68d https://example.org/a /",
            "ADD --checksum=COMMIT https://example.org/a.git /",
            "ADD https://example.org/a.git#COMMIT:sub /",
            "ADD https://example.org/a.git?tag=v1&checksum=0123456789 /",
            "ADD https://example.org/a.git?commit=COMMIT /",
            "ADD git@example.org:a/b.git#COMMIT /",
            "ADD a.tgz /",
            "COPY a https://example.org/",
            "ADD <<https://example.org/a /\nhttps://example.org/a",
        ] {
            assert_eq!(urls(line), [""; 0], "{line}");
        }
    }
}
