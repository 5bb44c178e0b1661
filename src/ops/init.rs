//! `basegen init`: creates the files of a new repository.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::ArgumentError;
use crate::error::Report;
use crate::files::{MAX_PROJECT_FILE, read_text};
use crate::forge::{Remote, RepositoryName};
use crate::git;
use crate::init::{self, Finding, Import, InitError, Outcome, Project};
use crate::render::{self, RenderedFile};

/// The registry of images without one.
const DOCKER_HUB: &str = "docker.io";

#[derive(Debug, Clone, Default)]
pub struct InitRequest {
    pub folder: PathBuf,
    /// The configurations, apps and Dockerfiles to import.
    pub from: Vec<PathBuf>,
    /// The build context of the imported files, instead of their folders.
    pub context: Option<PathBuf>,
    /// The registry of the images, instead of the one that the folder suggests.
    pub registry: Option<String>,
    /// The repository of the images, instead of the one that the folder suggests.
    pub repository: Option<String>,
    /// Whether to replace other files.
    pub force: bool,
    /// Whether to write nothing if a key or instruction is left out.
    pub strict: bool,
    pub dry_run: bool,
}

#[derive(Debug)]
pub struct InitOutcome {
    pub files: Vec<NewFile>,
    pub(crate) imports: Vec<Import>,
    /// The number of keys and instructions that were left out.
    pub left_out: usize,
    /// Whether one of the files is a workflow that does not name basegen's action yet.
    pub needs_action: bool,
    /// Files in the folder that `--from` can import and that were not imported.
    pub importable: Vec<PathBuf>,
}

/// A file of the new repository.
#[derive(Debug)]
pub struct NewFile {
    pub path: PathBuf,
    /// Whether the file existed with the same content.
    pub is_unchanged: bool,
}

/// Writes the files of a new repository, unless others would be replaced.
pub fn run(request: &InitRequest) -> Result<InitOutcome, Report> {
    let InitRequest { folder, from, registry, repository, force, .. } = request;
    let context = request.context.as_deref();
    if let Some(folder) = context.filter(|folder| !folder.is_dir()) {
        let folder = folder.display().to_string();
        return Err(ArgumentError::new("--context", &folder, &"there is no such folder").into());
    }
    let mut imports = Vec::new();
    for path in from {
        imports.extend(Import::load(path, context)?);
    }
    let findings = imports.iter().flat_map(|import| &import.image.findings);
    let left_out =
        findings.filter(|finding| matches!(finding.outcome, Outcome::LeftOut(_))).count();
    let mut project = project(folder);
    if let Some(registry) = registry {
        project.registry = Some(registry.clone()).filter(|host| host != DOCKER_HUB);
    }
    if let Some(repository) = repository {
        project.repository.clone_from(repository);
        project.owner.clone_from(repository);
    }
    let files = init::assemble(&project, &imports, folder)?;
    let mut new = compare(folder, &files, *force)?;
    if project.version.is_some_and(|place| place.file == "VERSION") {
        new.push(NewFile { path: folder.join("VERSION"), is_unchanged: true });
        new.sort_by(|one, other| one.path.cmp(&other.path));
    }
    let importable = if from.is_empty() { importable(folder) } else { Vec::new() };
    if request.strict && left_out > 0 {
        new.clear();
    } else if !request.dry_run {
        render::write(folder, &files)?;
    }
    let has_workflow = files.keys().any(|path| path.starts_with(".github"));
    let needs_action = has_workflow && init::needs_action();
    Ok(InitOutcome { files: new, imports, left_out, needs_action, importable })
}

/// Returns the configurations and the Dockerfile in `folder` that can be imported.
fn importable(folder: &Path) -> Vec<PathBuf> {
    let is_importable = |path: &PathBuf| {
        let Ok(imports) = Import::load(path, None) else { return false };
        let mut findings = imports.iter().flat_map(|import| &import.image.findings);
        let is_imported = |finding: &Finding| matches!(finding.outcome, Outcome::Imported(_));
        // Other tools have a config.yaml, too.
        path.ends_with("Dockerfile") || findings.any(is_imported)
    };
    let names = ["config.yaml", "cerebrium.toml", "app.py", "Dockerfile"];
    names.map(|name| folder.join(name)).into_iter().filter(is_importable).collect()
}

/// Compares `files` with those in `folder`. Refuses to replace others unless `force` is set.
fn compare(
    folder: &Path,
    files: &BTreeMap<PathBuf, RenderedFile>,
    force: bool,
) -> Result<Vec<NewFile>, InitError> {
    let new: Vec<NewFile> = files
        .iter()
        .map(|(path, file)| NewFile {
            path: folder.join(path),
            is_unchanged: matches!(file.compare(folder, path), Ok(None)),
        })
        .collect();
    let other =
        new.iter().filter(|file| !file.is_unchanged && file.path.symlink_metadata().is_ok());
    let other: Vec<PathBuf> = other.map(|file| file.path.clone()).collect();
    if force || other.is_empty() { Ok(new) } else { Err(InitError::Exists(other)) }
}

/// Describes the project in `folder`, which may not exist yet.
fn project(folder: &Path) -> Project {
    // An empty path has no absolute one.
    let absolute = std::path::absolute(Path::new(".").join(folder));
    let absolute = absolute.unwrap_or_else(|_| folder.to_owned());
    // Removes the dots that `absolute` keeps at the end.
    let absolute: PathBuf = absolute.components().collect();
    let name = absolute.file_name().map(|name| name.to_string_lossy().into_owned());
    let read = |path: &str| read_text(&folder.join(path), MAX_PROJECT_FILE).ok();
    let is_root = folder.join(".git").exists();
    let remote = is_root.then(|| git::remote(folder, "origin")).flatten();
    let github = remote.and_then(|url| on_github(&url));
    let github = github.as_ref().map(|name| (name.owner.as_str(), name.name.as_str()));
    let mut project = Project::new(&name.unwrap_or_default(), github, read);
    let mut above = absolute.ancestors().skip(1);
    project.takes_workflows = is_root || !above.any(|path| path.join(".git").exists());
    project
}

/// Returns the repository of a remote on github.com, whose images go to ghcr.io.
fn on_github(url: &str) -> Option<RepositoryName> {
    let remote = Remote::parse(url)?;
    matches!(remote.host.as_str(), "github.com" | "github.com:443").then_some(remote.repository)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_remotes_on_github_are_used() {
        for url in [
            "git@github.com:Acme/Base_Images.git",
            "github.com:/Acme/Base_Images",
            "https://github.com/Acme/Base_Images",
            "https://me:token@GitHub.com:443/Acme/Base_Images.git/",
            "ssh://git@ssh.github.com:443/Acme/Base_Images.git",
        ] {
            let name = on_github(url).map(|name| name.to_string());
            assert_eq!(name.as_deref(), Some("Acme/Base_Images"), "{url}");
        }
        for url in [
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
        ] {
            assert_eq!(on_github(url), None, "{url}");
        }
    }
}
