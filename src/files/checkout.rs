use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use super::bounded::{self, ReadError};
use super::outside::{Access, Outside};

/// The maximum number of symbolic links in a path, as in Linux.
const MAX_LINKS: usize = 40;

/// One `--allow`: `fs.read=PATH`, `fs.write=PATH`, or `fs=PATH` for both. `*` is every path.
///
/// The syntax is that of [bake](https://docs.docker.com/reference/cli/docker/buildx/bake/#allow).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entitlement {
    read: bool,
    write: bool,
    /// The allowed folder or file. `None` allows every path.
    path: Option<PathBuf>,
}

impl Entitlement {
    /// Allows to read every path.
    #[must_use]
    pub fn read_all() -> Self {
        Self { read: true, write: false, path: None }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected `fs.read=PATH`, `fs.write=PATH` or `fs=PATH`")]
pub struct EntitlementError;

impl FromStr for Entitlement {
    type Err = EntitlementError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, path) = text.split_once('=').ok_or(EntitlementError)?;
        let (read, write) = match name {
            "fs" => (true, true),
            "fs.read" => (true, false),
            "fs.write" => (false, true),
            _ => return Err(EntitlementError),
        };
        let path = match path {
            "" => return Err(EntitlementError),
            "*" => None,
            path => Some(PathBuf::from(path)),
        };
        Ok(Self { read, write, path })
    }
}

/// The paths outside of the repository that the command line allows.
#[derive(Debug, Clone, Default)]
pub struct Allowed(Vec<Entitlement>);

impl Allowed {
    /// Resolves the paths of `entitlements`, which are relative to the working directory.
    #[must_use]
    pub fn new(entitlements: &[Entitlement]) -> Self {
        let resolved = entitlements.iter().map(|one| {
            let path = one.path.as_deref().map(|path| real(path).unwrap_or_else(|_| path.into()));
            Entitlement { path, ..one.clone() }
        });
        Self(resolved.collect())
    }

    fn admits(&self, path: &Path, access: Access) -> bool {
        self.0.iter().any(|one| {
            let is_granted = match access {
                Access::Read => one.read,
                Access::Write => one.write,
            };
            is_granted && one.path.as_ref().is_none_or(|allowed| path.starts_with(allowed))
        })
    }
}

/// The working tree that contains a matrix.
#[derive(Debug, Clone)]
pub struct Checkout {
    /// The folder that paths are relative to, as written by the user.
    folder: PathBuf,
    /// The resolved root of the working tree.
    root: PathBuf,
    allowed: Allowed,
}

impl Checkout {
    /// Finds the git repository of `folder`: the nearest folder at or above it with a `.git`, or `folder` itself.
    #[must_use]
    pub fn find(folder: &Path, allowed: Allowed) -> Self {
        let real = real(folder).unwrap_or_else(|_| folder.to_owned());
        let has_git = |folder: &&Path| folder.join(".git").symlink_metadata().is_ok();
        let root = real.ancestors().find(has_git).unwrap_or(&real).to_owned();
        Self { folder: folder.to_owned(), root, allowed }
    }

    /// Creates a checkout with a known `root`.
    #[must_use]
    pub fn within(root: &Path, folder: &Path) -> Self {
        let root = real(root).unwrap_or_else(|_| root.to_owned());
        Self { folder: folder.to_owned(), root, allowed: Allowed::default() }
    }

    /// Returns the folder that paths are relative to.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Resolves `path`, which need not exist. Returns an error if it leaves the root.
    pub fn resolve(&self, path: &Path, access: Access) -> Result<PathBuf, ReadError> {
        let named = self.folder.join(path);
        let real = real(&named).map_err(|source| ReadError::Io { path: named.clone(), source })?;
        let below = real.strip_prefix(&self.root).ok();
        let is_git = below.is_some_and(|below| {
            below.components().any(|part| part.as_os_str().eq_ignore_ascii_case(".git"))
        });
        if (below.is_some() && !is_git) || self.allowed.admits(&real, access) {
            return Ok(real);
        }
        Err(Outside { path: named, real, access, is_git }.into())
    }

    /// Reads a file of the checkout, like [`bounded::read`].
    pub fn read(&self, path: &Path, limit: u64) -> Result<Vec<u8>, ReadError> {
        self.resolve(path, Access::Read)?;
        bounded::read(&self.folder.join(path), limit)
    }

    /// Reads a text of the checkout, like [`bounded::read_text`].
    pub fn read_text(&self, path: &Path, limit: u64) -> Result<String, ReadError> {
        self.resolve(path, Access::Read)?;
        bounded::read_text(&self.folder.join(path), limit)
    }
}

/// Resolves `path` to an absolute path and follows all symbolic links. Parts that do not exist are kept.
fn real(path: &Path) -> io::Result<PathBuf> {
    let absolute =
        std::path::absolute(if path.as_os_str().is_empty() { Path::new(".") } else { path })?;
    let mut real = PathBuf::from("/");
    let mut parts: VecDeque<OsString> = parts(&absolute).collect();
    let mut links = 0;
    while let Some(part) = parts.pop_front() {
        if part == ".." {
            real.pop();
            continue;
        }
        real.push(&part);
        let Ok(target) = std::fs::read_link(&real) else { continue };
        links += 1;
        if links > MAX_LINKS {
            return Err(io::Error::other("too many levels of symbolic links"));
        }
        real.pop();
        if target.is_absolute() {
            real = PathBuf::from("/");
        }
        for part in self::parts(&target).collect::<Vec<_>>().into_iter().rev() {
            parts.push_front(part);
        }
    }
    Ok(real)
}

fn parts(path: &Path) -> impl Iterator<Item = OsString> {
    let parts = path
        .components()
        .filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    parts.map(|part| part.as_os_str().to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Creates a folder with `repository/.git`, `repository/images`, `repository/shared` and `outside/file`.
    fn project() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = fs_err::canonicalize(folder.path()).expect("a path");
        for name in ["repository/.git", "repository/images", "repository/shared", "outside"] {
            fs_err::create_dir_all(path.join(name)).expect("a folder");
        }
        fs_err::write(path.join("outside/file"), "x").expect("a file");
        (folder, path)
    }

    fn checkout(path: &Path, allowed: &[&str]) -> Checkout {
        let entitlements: Vec<Entitlement> =
            allowed.iter().map(|text| text.parse().expect("an entitlement")).collect();
        Checkout::find(&path.join("repository/images"), Allowed::new(&entitlements))
    }

    #[test]
    fn rejects_paths_that_leave_the_repository() {
        let (_folder, path) = project();
        let link = |target: &str, name: &str| {
            symlink(target, path.join("repository/images").join(name)).expect("a link");
        };
        link("../../outside", "folder");
        link("../../outside/file", "file");
        link("../../outside/new", "dangling");
        link("file", "chain");
        link("loop", "loop");
        link("../shared", "inside");
        let checkout = checkout(&path, &[]);
        for requested in [
            "folder",
            "folder/new",
            "file",
            "dangling",
            "dangling/x",
            "chain",
            "../../outside",
            "/etc/passwd",
            "gone/../../../outside",
            "inside/../../../outside",
            "../.git/config",
            "../.GIT/hooks",
        ] {
            let result = checkout.resolve(Path::new(requested), Access::Read);
            assert!(matches!(result, Err(ReadError::Outside(_))), "{requested}: {result:?}");
        }
        assert!(matches!(
            checkout.resolve(Path::new("loop"), Access::Read),
            Err(ReadError::Io { .. })
        ));
        for (requested, real) in [
            ("inside/new", "repository/shared/new"),
            ("../shared", "repository/shared"),
            ("", "repository/images"),
            ("gone/deep", "repository/images/gone/deep"),
            ("inside/../x", "repository/x"),
        ] {
            assert_eq!(
                checkout.resolve(Path::new(requested), Access::Write).expect(requested),
                path.join(real)
            );
        }
    }

    #[test]
    fn the_root_without_a_repository_is_the_folder_of_the_matrix() {
        let (_folder, path) = project();
        let checkout = Checkout::find(&path.join("outside"), Allowed::default());
        assert!(checkout.resolve(Path::new("file"), Access::Read).is_ok());
        assert!(checkout.resolve(Path::new("../x"), Access::Read).is_err());
    }

    #[test]
    fn entitlements_have_the_syntax_of_bake() {
        let (_folder, path) = project();
        let outside = path.join("outside").display().to_string();
        let admits = |allowed: &str, access| {
            checkout(&path, &[allowed]).resolve(Path::new("../../outside/file"), access).is_ok()
        };
        for (allowed, read, write) in [
            (format!("fs.read={outside}"), true, false),
            (format!("fs.write={outside}"), false, true),
            (format!("fs={outside}/file"), true, true),
            (format!("fs.read={outside}/fil"), false, false),
            ("fs.read=*".to_owned(), true, false),
            ("fs=*".to_owned(), true, true),
        ] {
            assert_eq!(
                (admits(&allowed, Access::Read), admits(&allowed, Access::Write)),
                (read, write),
                "{allowed}"
            );
        }
        for text in ["fs.read", "fs.read=", "network.host", "read=x"] {
            assert_eq!(text.parse::<Entitlement>(), Err(EntitlementError), "{text}");
        }
    }
}
