//! Looks at an existing folder: its git remote, and the file that has the project's version.

use std::path::Path;

use serde_json::Value as Json;

use super::reader::slug;
use crate::version::Version;

/// The registry of the images of a repository on GitHub.
pub(super) const GITHUB_REGISTRY: &str = "ghcr.io";

/// The properties of a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Project {
    /// The registry of the images; `None` for Docker Hub.
    pub registry: Option<String>,
    /// The repository of the starter images.
    pub repository: String,
    /// The first part of the repositories of imported images. The name of the image follows.
    pub owner: String,
    /// Whether the folder is the root of its repository, where GitHub reads workflows.
    pub takes_workflows: bool,
    /// The place of the version, if a file has one.
    pub version: Option<VersionPlace>,
}

/// The file, and the key in it, that has the version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionPlace {
    pub file: String,
    /// `None` if the file contains only the version.
    pub key: Option<String>,
    /// Whether the version begins with `v`.
    pub has_prefix: bool,
}

/// The files and keys that may have a version, in the order of the search.
const PLACES: [(&str, &[&str]); 4] = [
    ("pyproject.toml", &["project.version", "tool.poetry.version"]),
    ("Cargo.toml", &["package.version", "workspace.package.version"]),
    ("package.json", &["version"]),
    ("VERSION", &[]),
];

impl Project {
    /// Describes the folder called `name`. `github` is the owner and the name of its repository on GitHub, and `read`
    /// returns the text of a file in the folder.
    pub fn new(
        name: &str,
        github: Option<(&str, &str)>,
        read: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let registry = github.is_some().then(|| GITHUB_REGISTRY.to_owned());
        let (owner, name) = github.unwrap_or((name, "base"));
        let owner = slug(owner);
        let repository = format!("{owner}/{}", slug(name));
        let version = PLACES.iter().find_map(|(file, keys)| place(file, keys, &read(file)?));
        Self { registry, repository, owner, takes_workflows: true, version }
    }
}

/// Returns the first of `keys` that has a version in the file. Without keys, the file must contain nothing else.
fn place(file: &str, keys: &[&str], text: &str) -> Option<VersionPlace> {
    let place = |key: Option<&str>, version: &str| {
        version.parse::<Version>().ok()?;
        let (file, key) = (file.to_owned(), key.map(str::to_owned));
        Some(VersionPlace { file, key, has_prefix: version.starts_with('v') })
    };
    match keys {
        [] => place(None, text.trim()),
        keys => keys.iter().find_map(|key| place(Some(key), &value(file, text, key)?)),
    }
}

/// Returns the text at `key` of a JSON or TOML file.
fn value(file: &str, text: &str, key: &str) -> Option<String> {
    let is_json = Path::new(file).extension().is_some_and(|extension| extension == "json");
    let root: Json =
        if is_json { serde_json::from_str(text).ok()? } else { toml::from_str(text).ok()? };
    let found = key.split('.').try_fold(&root, |table, part| table.get(part))?;
    found.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(files: &[(&str, &str)]) -> Project {
        Project::new("My Folder", None, |path| {
            files.iter().find(|(name, _)| *name == path).map(|(_, text)| (*text).to_owned())
        })
    }

    #[test]
    fn the_place_of_the_version_is_found() {
        let python = ("pyproject.toml", "[project]\nversion = \"1.2\"\n");
        let dynamic = ("pyproject.toml", "[project]\ndynamic = [\"version\"]\n");
        let cargo = ("Cargo.toml", "[package]\nversion = \"1.2.3\"\n");
        let place = |files: &[(&str, &str)]| {
            let place = look(files).version?;
            let prefix = if place.has_prefix { "v" } else { "" };
            Some(format!("{} {}{prefix}", place.file, place.key.unwrap_or_default()))
        };
        assert_eq!(place(&[cargo, python]).as_deref(), Some("pyproject.toml project.version"));
        assert_eq!(place(&[cargo, dynamic]).as_deref(), Some("Cargo.toml package.version"));
        let json = ("package.json", "{\"version\": \"1.0.0\"}");
        assert_eq!(place(&[json]).as_deref(), Some("package.json version"));
        assert_eq!(place(&[("VERSION", "v2.0.0\n")]).as_deref(), Some("VERSION v"));
        assert_eq!(place(&[("VERSION", "none")]), None);
    }
}
