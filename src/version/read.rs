use std::path::{Path, PathBuf};

use regex_lite::Regex;
use serde_json::Value as Json;

use super::{InvalidVersion, Version};
use crate::error::{ExitCode, Explain};
use crate::matrix::{SourceFile, VersionTable};

/// Why a version could not be read.
#[derive(Debug, thiserror::Error)]
pub enum VersionError {
    /// The file cannot be read.
    #[error("the version's file cannot be read")]
    Read(#[source] std::io::Error),
    /// The file is not what its ending says.
    #[error("cannot find the version in `{}`", .path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What its reader says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Neither or both of `key` and `constant` are given for a file of this kind.
    #[error("cannot find the version in `{}`: {rule}", .path.display())]
    Place {
        /// The file.
        path: PathBuf,
        /// What is needed.
        rule: &'static str,
    },
    /// The key or the assignment is not there.
    #[error("`{}` has no {what}{}", .path.display(), .near.iter().map(|near| format!("; {near}")).collect::<String>())]
    Missing {
        /// The file.
        path: PathBuf,
        /// What is not there.
        what: String,
        /// What is there that looks like it.
        near: Option<String>,
    },
    /// The assignment is there more than once.
    #[error("`{}` assigns `{name}` more than once, on lines {}", .path.display(), join(.lines))]
    Ambiguous {
        /// The file.
        path: PathBuf,
        /// The constant.
        name: String,
        /// Where.
        lines: Vec<usize>,
    },
    /// What is there is not a version.
    #[error("the version at `{place}` is refused")]
    Invalid {
        /// The file and the line or key.
        place: String,
        /// Why.
        #[source]
        source: InvalidVersion,
    },
}

fn join(lines: &[usize]) -> String {
    lines.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

impl Explain for VersionError {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Matrix
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Read(_) => {
                "`[version] file` is relative to the matrix file; `--version-tag` does without it"
            }
            Self::Ambiguous { .. } => "leave one of them, so that it is clear which one counts",
            Self::Missing { .. }
            | Self::Syntax { .. }
            | Self::Place { .. }
            | Self::Invalid { .. } => {
                return None;
            }
        };
        Some(hint.to_owned())
    }
}

/// Reads the version that `table` tells of; its file is relative to `folder`.
pub fn read(table: &VersionTable, folder: &Path) -> Result<Version, VersionError> {
    let path = folder.join(table.file.get_ref());
    if path.exists() && !path.is_file() {
        return Err(place(&path, "it is not a file"));
    }
    let text = fs_err::read_to_string(&path).map_err(VersionError::Read)?;
    let (found, place) = find(table, &path, &text)?;
    let prefix = table.prefix.as_ref().map_or("", |prefix| prefix.get_ref().as_str());
    format!("{prefix}{found}").parse().map_err(|source| VersionError::Invalid { place, source })
}

/// The version's text and the place where it stands.
fn find(table: &VersionTable, path: &Path, text: &str) -> Result<(String, String), VersionError> {
    let key = table.key.as_ref().map(|key| key.get_ref().as_str());
    let constant = table.constant.as_ref().map(|constant| constant.get_ref().as_str());
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    match (ending, key, constant) {
        ("toml", Some(key), None) => at_key(path, key, toml::from_str(text)),
        ("json", Some(key), None) => at_key(path, key, serde_json::from_str(text)),
        ("toml" | "json", ..) => Err(place(path, "a TOML or JSON file needs `key`")),
        (_, Some(_), _) => {
            Err(place(path, "only a TOML or JSON file has a `key`; give `constant`"))
        }
        (_, None, Some(name)) => assigned(path, name, text),
        (_, None, None) => alone(path, text),
    }
}

fn place(path: &Path, rule: &'static str) -> VersionError {
    VersionError::Place { path: path.to_owned(), rule }
}

fn at_key<E>(
    path: &Path,
    key: &str,
    parsed: Result<Json, E>,
) -> Result<(String, String), VersionError>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let parsed = parsed
        .map_err(|error| VersionError::Syntax { path: path.to_owned(), source: error.into() })?;
    let found = key.split('.').try_fold(&parsed, |table, part| table.get(part));
    match found {
        Some(Json::String(text)) => Ok((text.clone(), format!("{}: {key}", path.display()))),
        Some(_) => Err(missing(path, format!("text at the key `{key}`"), None)),
        None => Err(missing(path, format!("key `{key}`"), None)),
    }
}

fn missing(path: &Path, what: String, near: Option<String>) -> VersionError {
    VersionError::Missing { path: path.to_owned(), what, near }
}

/// `NAME = "…"` as Python, Rust and most texts write it, with or without a type, `const` or
/// `export` before it and a comment behind it.
fn assigned(path: &Path, name: &str, text: &str) -> Result<(String, String), VersionError> {
    let name_pattern = regex_lite::escape(name);
    let before = r"^[ \t]*(?:pub(?:\([a-z ]+\))?[ \t]+)?(?:(?:const|static|export|let|var)[ \t]+)?";
    let between = r"(?:[ \t]*:[ \t]*[^=]+?)?[ \t]*(?:=|:)[ \t]*";
    let value = r#"(?:"([^"]*)"|'([^']*)'|([^\s"'#;,]+))[ \t]*[;,]?[ \t]*(?:(?:#|//).*)?$"#;
    let assignment = Regex::new(&format!("{before}{name_pattern}{between}{value}"))
        .expect("the name is escaped");
    let source = SourceFile::new(path, text);
    let mut found: Vec<(usize, String)> = Vec::new();
    for (index, line) in source.text.lines().enumerate() {
        if let Some(groups) = assignment.captures(line) {
            let value = groups.iter().skip(1).flatten().next();
            found.push((index + 1, value.map_or("", |value| value.as_str()).to_owned()));
        }
    }
    match found.as_slice() {
        [(line, value)] => Ok((value.clone(), format!("{}:{line}", path.display()))),
        [] => Err(missing(path, format!("assignment to `{name}`"), mentioned(name, text))),
        many => Err(VersionError::Ambiguous {
            path: path.to_owned(),
            name: name.to_owned(),
            lines: many.iter().map(|(line, _)| *line).collect(),
        }),
    }
}

/// Where a name stands that is not assigned: in a comment, perhaps.
fn mentioned(name: &str, text: &str) -> Option<String> {
    let (index, line) = text.lines().enumerate().find(|(_, line)| line.contains(name))?;
    let is_comment = line.trim_start().starts_with(['#', '/']);
    let what = if is_comment { "is a comment" } else { "is not an assignment of one text" };
    Some(format!("line {} {what}", index + 1))
}

/// The only line of a file that holds nothing else.
fn alone(path: &Path, text: &str) -> Result<(String, String), VersionError> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    match (lines.next(), lines.next()) {
        (Some(line), None) => Ok((line.to_owned(), path.display().to_string())),
        (None, _) => Err(missing(path, "version: it is empty".to_owned(), None)),
        (Some(_), Some(_)) => {
            Err(place(path, "it holds more than one line; give the `constant` that is assigned"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Report;

    /// What is read from `text` in a file called `name` by the keys of `[version]` in `table`.
    fn read_from(name: &str, text: &str, table: &str) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        fs_err::write(folder.path().join(name), text).expect("a file");
        let table: VersionTable =
            toml::from_str(&format!("file = '{name}'\n{table}")).expect("keys");
        match read(&table, folder.path()) {
            Ok(version) => version.to_string(),
            Err(error) => Report::from(error)
                .to_string()
                .replace(&format!("{}/", folder.path().display()), ""),
        }
    }

    #[test]
    fn a_key_of_toml_or_json() {
        let project = "[project]\nname = 'truss'\nversion = \"0.13.0\"\n";
        assert_eq!(
            read_from("pyproject.toml", project, "key = 'project.version'\nprefix = 'v'"),
            "v0.13.0"
        );
        let package = r#"{"name": "truss", "version": "0.13.0"}"#;
        assert_eq!(read_from("package.json", package, "key = 'version'"), "0.13.0");
    }

    #[test]
    fn an_assignment_in_source_code() {
        let constant = "constant = 'TRUSS_BASE_IMAGE_VERSION_TAG'";
        for line in [
            "TRUSS_BASE_IMAGE_VERSION_TAG = \"v0.13.0\"",
            "TRUSS_BASE_IMAGE_VERSION_TAG: str = 'v0.13.0'  # keep in step",
            "pub(crate) const TRUSS_BASE_IMAGE_VERSION_TAG: &str = \"v0.13.0\";",
            "export TRUSS_BASE_IMAGE_VERSION_TAG=v0.13.0",
            "TRUSS_BASE_IMAGE_VERSION_TAG: v0.13.0",
        ] {
            let text = format!(
                "import os\r\n# TRUSS_BASE_IMAGE_VERSION_TAG = \"v0.1\"\r\n{line}\r\nX = 1\n"
            );
            assert_eq!(read_from("util.py", &text, constant), "v0.13.0", "{line}");
        }
    }

    #[test]
    fn a_file_of_its_own() {
        assert_eq!(read_from("VERSION", "\nv1.2.3\n\n", ""), "v1.2.3");
    }

    #[test]
    fn what_is_unclear_is_refused() {
        let constant = "constant = 'TAG'";
        insta::assert_snapshot!(read_from("util.py", "TAG = 'v1'\nTAG = 'v2'\n", constant), @r"
        error: `util.py` assigns `TAG` more than once, on lines 1 and 2

        hint: leave one of them, so that it is clear which one counts
        ");
        insta::assert_snapshot!(read_from("util.py", "# TAG = 'v1'\n", constant), @"error: `util.py` has no assignment to `TAG`; line 1 is a comment");
        insta::assert_snapshot!(read_from("util.py", "TAG = PREFIX + 'v1'\n", constant), @"error: `util.py` has no assignment to `TAG`; line 1 is not an assignment of one text");
        insta::assert_snapshot!(read_from("util.py", "TAG = 'latest'\n", constant), @r"
        error: the version at `util.py:1` is refused
          caused by: `latest` is not a version: expected one such as `v0.13.0` or `1.4.0rc1`
        ");
        insta::assert_snapshot!(read_from("a.toml", "version = 1\n", "key = 'version'"), @"error: `a.toml` has no text at the key `version`");
        insta::assert_snapshot!(read_from("a.toml", "version = '1'\n", ""), @"error: cannot find the version in `a.toml`: a TOML or JSON file needs `key`");
        insta::assert_snapshot!(read_from("VERSION", "1\n2\n", ""), @"error: cannot find the version in `VERSION`: it holds more than one line; give the `constant` that is assigned");
    }
}
