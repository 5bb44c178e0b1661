//! Looks at an existing folder: its git remote, and the file that has the project's version.

use std::path::Path;

use serde_json::Value as Json;

use crate::version::Version;

/// The properties of a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Project {
    /// The first part of the images' repository: the account at the registry.
    pub owner: String,
    /// The second part of the images' repository.
    pub name: String,
    /// Whether the git remote `origin` is on GitHub. The images then go to ghcr.io.
    pub is_on_github: bool,
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
    /// Describes the folder called `name`. `read` returns the text of a file in it.
    pub fn look(name: &str, read: impl Fn(&str) -> Option<String>) -> Self {
        let remote = read(".git/config").as_deref().and_then(github);
        let is_on_github = remote.is_some();
        let slug = super::reader::slug(name);
        let (owner, name) = remote.unwrap_or_else(|| (slug.clone(), "base".to_owned()));
        let version = PLACES.iter().find_map(|(file, keys)| place(file, keys, &read(file)?));
        Self { owner, name, is_on_github, takes_workflows: true, version }
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

/// Returns owner and name of the GitHub repository that is the `origin` of a git configuration.
fn github(config: &str) -> Option<(String, String)> {
    let origin = config.split("[remote \"origin\"]").nth(1)?.split("\n[").next()?;
    let url = origin
        .lines()
        .find_map(|line| line.trim().strip_prefix("url")?.trim().strip_prefix('='))?;
    let (host, path) = host_and_path(url.trim())?;
    if !["github.com", "ssh.github.com"].contains(&&*host.to_ascii_lowercase()) {
        return None;
    }
    let path = path.trim_matches('/');
    let (owner, name) = path.strip_suffix(".git").unwrap_or(path).split_once('/')?;
    let is_name = |text: &str| !text.is_empty() && !text.contains('/');
    let lower = |text: &str| super::reader::slug(text);
    (is_name(owner) && is_name(name)).then(|| (lower(owner), lower(name)))
}

/// Returns host and path of a remote: `https://user@host:port/path`, or `user@host:path` for ssh.
///
/// Reference: <https://git-scm.com/docs/git-clone#_git_urls>
fn host_and_path(url: &str) -> Option<(&str, &str)> {
    let (authority, path) = match url.split_once("://") {
        Some((_, rest)) => rest.split_once('/')?,
        None => url.split_once(':').filter(|(before, _)| !before.contains('/'))?,
    };
    let host = authority.rsplit('@').next()?;
    Some((host.split(':').next()?, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(files: &[(&str, &str)]) -> Project {
        Project::look("My Folder", |path| {
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

    #[test]
    fn repositories_on_github_are_named_after_their_remote() {
        for url in [
            "git@github.com:Acme/Base_Images.git",
            "github.com:/Acme/Base_Images",
            "https://github.com/Acme/Base_Images",
            "https://me:token@GitHub.com:443/Acme/Base_Images.git/",
            "ssh://git@ssh.github.com:443/Acme/Base_Images.git",
        ] {
            let config = format!(
                "[core]\n\tbare = false\n[remote \"origin\"]\n\turl = {url}\n[branch \"main\"]\n"
            );
            let found = look(&[(".git/config", &config)]);
            assert_eq!((&*found.owner, &*found.name), ("acme", "base-images"), "{url}");
            assert!(found.is_on_github);
        }
        let elsewhere = [
            "git@github.company.com:Acme/Base.git",
            "git@notgithub.com:Acme/Base.git",
            "https://notgithub.com/Acme/Base",
            "https://github.com.example.org/Acme/Base",
            "https://github.com@example.org/Acme/Base",
            "https://gitlab.com/mirrors/github.com/Acme/Base",
            "/srv/github.com:Acme/Base",
            "../github.com/Acme/Base",
            "https://github.com/Acme",
            "https://github.com/Acme/Base/more",
        ];
        let configs = elsewhere.map(|url| format!("[remote \"origin\"]\n\turl = {url}\n"));
        let elsewhere = configs.iter().map(|config| look(&[(".git/config", config)]));
        for found in elsewhere.chain([look(&[])]) {
            assert_eq!((&*found.owner, &*found.name), ("my-folder", "base"));
            assert!(!found.is_on_github);
        }
    }
}
