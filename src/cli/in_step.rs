//! What brings a repository in step with a release: the version in all its places, the table in
//! the README, and what was generated anew in the working tree.

use std::path::{Component, Path, PathBuf};

use crate::error::{ExitCode, Explain, Report};
use crate::forge::{Base, FileChange, GitHub};
use crate::matrix::Matrix;
use crate::plan::{Lock, Plan, with_readme, with_readme_in};
use crate::version::{self, FileEdit, Version};

use super::git;
use super::metadata::FileError;

/// Lock files that repeat a version, beside the files that say it.
const COMPANIONS: [(&str, &[&str]); 3] = [
    ("Cargo.toml", &["Cargo.lock"]),
    ("pyproject.toml", &["uv.lock"]),
    ("package.json", &["package-lock.json", "npm-shrinkwrap.json"]),
];

/// The edits of the working tree.
pub(super) fn here(plan: &Plan<'_>, to: &Version) -> Result<Vec<FileEdit>, Report> {
    let matrix = plan.matrix;
    let edits = match &matrix.version {
        Some(table) => version::edits(table, matrix.folder(), to)?,
        None => Vec::new(),
    };
    Ok(with_readme(plan, edits)?)
}

/// The edits of the base branch, and the version that it says.
pub(super) struct OnBase {
    /// The edits; their paths are relative to the matrix' folder.
    pub(super) edits: Vec<FileEdit>,
    /// The version there.
    pub(super) version: Version,
    /// Where the matrix' folder is in the repository: nothing, or a path that ends with `/`.
    pub(super) prefix: String,
}

impl OnBase {
    /// What is to be committed, by the repository's own paths.
    pub(super) fn changes(&self) -> Vec<FileChange> {
        let changes = self.edits.iter().filter_map(|edit| {
            let path = in_repository(&self.prefix, &edit.path)?;
            Some(FileChange { path, content: edit.after.clone() })
        });
        changes.collect()
    }
}

/// A path relative to the matrix' folder, from the repository's top; nothing where it leaves that.
fn in_repository(prefix: &str, path: &Path) -> Option<String> {
    let mut parts: Vec<String> = Vec::new();
    for part in Path::new(prefix).join(path).components() {
        match part {
            Component::Normal(part) => parts.push(part.to_string_lossy().into_owned()),
            Component::CurDir => {}
            Component::ParentDir => drop(parts.pop()?),
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts.join("/"))
}

/// A place of the version is not in the repository, as far as git tells.
#[derive(Debug, thiserror::Error)]
#[error("`{}` is not in the repository of the pull request", path.display())]
struct OutsideError {
    path: PathBuf,
    prefix: String,
}

impl Explain for OutsideError {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Matrix
    }

    fn hint(&self) -> Option<String> {
        let unknown = "the matrix file is in no git repository, so that its folder is taken for the top of one";
        self.prefix.is_empty().then(|| unknown.to_owned())
    }
}

/// The base branch is not as the matrix says.
#[derive(Debug, thiserror::Error)]
#[error("the branch `{branch}` cannot be edited: {told}")]
struct BaseError {
    branch: String,
    told: String,
    hint: Option<String>,
    exit_code: ExitCode,
}

impl BaseError {
    /// What is wrong with files of `folder`, in the words of one about the repository's.
    fn new(error: &Report, branch: &str, folder: &Path) -> Self {
        let text = error.to_string().replace(&format!("{}/", folder.display()), "");
        let text = text.strip_prefix("error: ").unwrap_or(&text);
        let (told, hint) = match text.split_once("\n\nhint: ") {
            Some((told, hint)) => (told, Some(hint.to_owned())),
            None => (text, None),
        };
        let (branch, told) = (branch.to_owned(), told.to_owned());
        Self { branch, told, hint, exit_code: error.exit_code() }
    }
}

impl Explain for BaseError {
    fn exit_code(&self) -> ExitCode {
        self.exit_code
    }

    fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
}

/// Computes the edits on the content that the base branch has on GitHub: the working tree may be
/// older. What it has changed and not committed of generated files, such as the lock, goes along.
pub(super) async fn on_base(
    plan: &Plan<'_>,
    to: &Version,
    github: &GitHub,
    base: &Base,
) -> Result<OnBase, Report> {
    let matrix = plan.matrix;
    let prefix = git::prefix(matrix.folder()).unwrap_or_default();
    let copy = tempfile::Builder::new().prefix("basegen-base-").tempdir();
    let copy = copy.map_err(FileError::base)?;
    let folder = copy.path().join(&prefix);
    fs_err::create_dir_all(&folder).map_err(FileError::base)?;
    for path in wanted(matrix) {
        let Some(place) = in_repository(&prefix, &path) else {
            return Err(OutsideError { path, prefix }.into());
        };
        if let Some(text) = github.file(&place, base).await? {
            write(&copy.path().join(place), &text)?;
        }
    }
    let table = matrix.version.as_ref().ok_or(super::bump::NoVersion)?;
    let on_base = |error: Report| BaseError::new(&error, &base.branch, copy.path());
    let version = version::read(table, &folder).map_err(|error| on_base(error.into()))?;
    let edits = version::edits(table, &folder, to).map_err(|error| on_base(error.into()))?;
    let mut edits = with_readme_in(plan, &folder, edits).map_err(|error| on_base(error.into()))?;
    for path in uncommitted(matrix) {
        if edits.iter().any(|edit| edit.path == path) {
            continue;
        }
        let after = fs_err::read_to_string(matrix.folder().join(&path));
        let after = after.map_err(FileError::base)?;
        let Some(place) = in_repository(&prefix, &path) else { continue };
        let before = github.file(&place, base).await?.unwrap_or_default();
        if before != after {
            edits.push(FileEdit { path, before, after });
        }
    }
    Ok(OnBase { edits, version, prefix })
}

/// The files that edits are computed from, relative to the matrix' folder.
fn wanted(matrix: &Matrix) -> Vec<PathBuf> {
    let mut wanted: Vec<PathBuf> = Vec::new();
    for place in matrix.version.iter().flat_map(crate::matrix::VersionTable::places) {
        let file = PathBuf::from(place.file.get_ref());
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let of_kind = COMPANIONS.iter().find(|(kind, _)| *kind == name);
        for lock in of_kind.map(|(_, locks)| *locks).unwrap_or_default() {
            // Beside the file, or above it, up to the matrix' folder.
            let folders = file.ancestors().skip(1);
            wanted.extend(folders.map(|folder| folder.join(lock)));
        }
        let is_workspace =
            place.key.as_ref().is_some_and(|key| key.get_ref().starts_with("workspace."));
        if name == "Cargo.toml" && is_workspace {
            // Its members say which of them have its version.
            let members = git::files(matrix.folder(), &["Cargo.toml", "*/Cargo.toml"]);
            wanted.extend(members.into_iter().map(PathBuf::from));
        }
        wanted.push(file);
    }
    let readme = matrix.generated.readme.as_ref();
    wanted.extend(readme.map(|readme| PathBuf::from(readme.get_ref())));
    wanted.sort();
    wanted.dedup();
    wanted
}

/// The generated files that differ from what git has of them: those of the lock and of
/// `basegen render`.
fn uncommitted(matrix: &Matrix) -> Vec<PathBuf> {
    let rendered = matrix.generated.rendered.as_ref().map(|folder| folder.get_ref().as_str());
    let paths: Vec<&str> = std::iter::once(Lock::NAME).chain(rendered).collect();
    let changed = git::changed(matrix.folder(), &paths);
    changed.into_iter().map(PathBuf::from).collect()
}

fn write(path: &Path, text: &str) -> Result<(), FileError> {
    let parent = path.parent().unwrap_or(path);
    fs_err::create_dir_all(parent).and_then(|()| fs_err::write(path, text)).map_err(FileError::base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_repository() {
        let path = |prefix: &str, path: &str| in_repository(prefix, Path::new(path));
        assert_eq!(path("", "a/b.py").as_deref(), Some("a/b.py"));
        assert_eq!(path("images/", "./VERSION").as_deref(), Some("images/VERSION"));
        assert_eq!(path("images/gpu/", "../../pyproject.toml").as_deref(), Some("pyproject.toml"));
        assert_eq!(path("images/", "../../pyproject.toml"), None);
        assert_eq!(path("", "/etc/passwd"), None);
    }
}
