//! What a folder says of the repository that it is.

use std::path::Path;

use serde_json::Value as Json;

use crate::version::Version;

/// What was found by looking.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Project {
    /// The first part of the images' repository: an account of a registry.
    pub owner: String,
    /// The second part.
    pub name: String,
    /// Whether the folder's origin is on GitHub, whose registry then holds the images.
    pub is_on_github: bool,
    /// Whether GitHub reads workflows in it: it is no folder within a repository.
    pub takes_workflows: bool,
    /// Where the version is; none where no file has one.
    pub version: Option<VersionPlace>,
}

/// Where a version is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionPlace {
    /// The file.
    pub file: String,
    /// The key in it; none in a file that holds the version alone.
    pub key: Option<String>,
    /// Whether it is written with a `v` before it.
    pub has_prefix: bool,
}

/// Where a version is looked for, the first place first.
const PLACES: [(&str, &[&str]); 4] = [
    ("pyproject.toml", &["project.version", "tool.poetry.version"]),
    ("Cargo.toml", &["package.version", "workspace.package.version"]),
    ("package.json", &["version"]),
    ("VERSION", &[]),
];

impl Project {
    /// Describes the folder called `name`. `read` gives the text of a file in it.
    pub fn look(name: &str, read: impl Fn(&str) -> Option<String>) -> Self {
        let remote = read(".git/config").as_deref().and_then(github);
        let is_on_github = remote.is_some();
        let slug = super::read::slug(name);
        let (owner, name) = remote.unwrap_or_else(|| (slug.clone(), "base".to_owned()));
        let version = PLACES.iter().find_map(|(file, keys)| place(file, keys, &read(file)?));
        Self { owner, name, is_on_github, takes_workflows: true, version }
    }
}

/// The first of `keys` that has a version in the file; without keys, the file has it alone.
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

/// The text at `key` of a JSON or TOML file.
fn value(file: &str, text: &str, key: &str) -> Option<String> {
    let root: Json = match Path::new(file).extension().is_some_and(|ending| ending == "json") {
        true => serde_json::from_str(text).ok()?,
        false => toml::from_str(text).ok()?,
    };
    let found = key.split('.').try_fold(&root, |table, part| table.get(part))?;
    found.as_str().map(str::to_owned)
}

/// The owner and the name of the repository on GitHub that a git configuration's `origin` is.
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
    let lower = |text: &str| super::read::slug(text);
    (is_name(owner) && is_name(name)).then(|| (lower(owner), lower(name)))
}

/// The host and the path of a remote: `https://user@host:port/path`, or `user@host:path` as ssh
/// has it.
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
    fn the_version_is_where_the_project_has_it() {
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
    fn a_repository_on_github_has_its_name_there() {
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
