//! `basegen.lock`: the digests of the upstream images of a matrix. The file is committed beside the matrix file, so
//! that every run uses the same images.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::changes::shown;
use crate::error::{ExitCode, Explain};
use crate::files::{MAX_TEXT, ReadError};
use crate::image::{Digest, Reference};
use crate::matrix::{Diagnostic, Matrix, SourceError, SourceFile, Spanned, from_toml};
use crate::render::{Pins, Upstream, familiar};

/// The version of the format. It increases when the meaning of a key changes.
const SCHEMA: u32 = 1;

/// The comment at the beginning of the file.
const HEADER: &str = "\
# The upstream images of this matrix, each pinned to the digest of its index or manifest.
# `basegen update` writes this file; commit it.
";

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    /// Tagged references and their digests.
    pub pins: Pins,
}

/// A change of a pin. `None` means not pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    pub reference: Reference,
    pub before: Option<Digest>,
    pub now: Option<Digest>,
}

impl fmt::Display for Move {
    /// `sha256:1234… → sha256:5678…`, `added at sha256:5678…` or `removed`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.before, &self.now) {
            (Some(before), Some(now)) => {
                write!(formatter, "{} → {}", shown(&before.hex()), shown(&now.hex()))
            }
            (None, Some(now)) => write!(formatter, "added at {}", shown(&now.hex())),
            (_, None) => formatter.write_str("removed"),
        }
    }
}

/// The TOML structure of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LockDocument {
    schema: Spanned<u32>,
    #[serde(default)]
    images: Pins,
}

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Source(#[from] SourceError),
}

impl Explain for LockError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Read(error) => error.exit_code(),
            Self::Source(_) => ExitCode::Matrix,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Read(error) => error.hint(),
            Self::Source(_) => {
                Some("remove the file, and run `basegen update` to write it again".to_owned())
            }
        }
    }
}

impl Lock {
    pub const NAME: &'static str = "basegen.lock";

    /// Returns the path of the lock file of `matrix`.
    #[must_use]
    pub fn path(matrix: &Matrix) -> PathBuf {
        matrix.folder().join(Self::NAME)
    }

    /// Reads the lock file of `matrix`. A missing file pins nothing.
    pub fn read(matrix: &Matrix) -> Result<Self, LockError> {
        match matrix.checkout.read_text(Path::new(Self::NAME), MAX_TEXT) {
            Ok(text) => Ok(Self::parse(&Self::path(matrix), &text)?),
            Err(error) if error.is_missing() => Ok(Self::default()),
            Err(error) => Err(error.into()),
        }
    }

    /// Parses a lock file from `text`. Errors show `path`.
    pub fn parse(path: &Path, text: &str) -> Result<Self, SourceError> {
        let source = SourceFile::new(path, text);
        let file: LockDocument = from_toml(&source)?;
        if *file.schema != SCHEMA {
            let message = format!("unknown schema {}", *file.schema);
            let label = format!("this version of basegen supports {SCHEMA}");
            let diagnostic = Diagnostic::new(file.schema.span(), message, label)
                .help("use the newer version of basegen that wrote this file");
            return Err(SourceError::new(&source, vec![diagnostic]));
        }
        let mut pins = Pins::new();
        for (name, digest) in file.images {
            let full = Upstream::reference(&name.canonical()).unwrap_or_else(|| name.clone());
            if pins.insert(full.clone(), digest).is_some() {
                let message = format!("`{}` is pinned twice", familiar(&full.canonical()));
                let name = format!("\"{name}\"");
                let start = text.find(&name);
                let span = start.map_or(0..0, |start| start..start + name.len());
                let diagnostic = Diagnostic::new(span, message, "another name of the same image")
                    .help("remove one of the two lines");
                return Err(SourceError::new(&source, vec![diagnostic]));
            }
        }
        Ok(Self { pins })
    }

    /// Returns the pins that differ in `now`, sorted.
    #[must_use]
    pub fn moves_to(&self, now: &Self) -> Vec<Move> {
        let names: BTreeSet<&Reference> = self.pins.keys().chain(now.pins.keys()).collect();
        let moves = names.into_iter().map(|name| Move {
            reference: name.clone(),
            before: self.pins.get(name).cloned(),
            now: now.pins.get(name).cloned(),
        });
        moves.filter(|pin| pin.before != pin.now).collect()
    }

    /// Returns the text of the file, sorted.
    #[must_use]
    pub fn print(&self) -> String {
        let mut text = format!("{HEADER}schema = {SCHEMA}\n\n[images]\n");
        for (reference, digest) in &self.pins {
            writeln!(text, "\"{}\" = \"{digest}\"", reference.canonical())
                .expect("writing to memory does not fail");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock() -> Lock {
        let pin = |name: &str| (name.parse().expect(name), Digest::of(name.as_bytes()));
        let names = ["ghcr.io/acme/tools:1", "docker.io/library/python:3.9-slim", "[::1]:5000/a:b"];
        Lock { pins: names.map(pin).into() }
    }

    fn refused(text: &str) -> String {
        Lock::parse(Path::new("basegen.lock"), text).expect_err("an invalid lock").to_string()
    }

    #[test]
    fn a_printed_lock_is_parsed_again() {
        let printed = lock().print();
        assert_eq!(Lock::parse(Path::new(Lock::NAME), &printed).expect("a lock"), lock());
        insta::assert_snapshot!(printed);
        let empty = Lock::default();
        assert_eq!(Lock::parse(Path::new(Lock::NAME), &empty.print()).expect("a lock"), empty);
    }

    #[test]
    fn a_short_name_pins_the_same_image() {
        let digest = Digest::of(b"python");
        let text = format!("schema = 1\n[images]\n\"python:3.9\" = \"{digest}\"\n");
        let lock = Lock::parse(Path::new(Lock::NAME), &text).expect("a lock");
        let full = "docker.io/library/python:3.9".parse().expect("a reference");
        assert_eq!(lock.pins.get(&full), Some(&digest));
    }

    #[test]
    fn an_image_with_two_pins_is_refused() {
        let (one, other) = (Digest::of(b"1"), Digest::of(b"2"));
        insta::assert_snapshot!(refused(&format!(
            "schema = 1\n[images]\n\"python:3.9\" = \"{one}\"\n\
             \"docker.io/library/python:3.9\" = \"{other}\"\n"
        )));
    }

    #[test]
    fn errors_have_a_location() {
        insta::assert_snapshot!(refused(
            "schema = 1\n[images]\n\"python:3.9\" = \"sha256:abc\"\n\"docker.io/a/b\" = \"\"\n"
        ));
        insta::assert_snapshot!(refused("schema = 2\n"));
        insta::assert_snapshot!(refused("schema = 1\nimage = {}\n"));
        insta::assert_snapshot!(refused("schema = 1\n[images]\n<<<<<<< HEAD\n"));
    }
}
