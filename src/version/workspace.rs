//! Finds the packages of Cargo workspaces.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::keyed::{row_text, without_mark};
use crate::files::{Access, Checkout, MAX_PROJECT_FILE};
use crate::matrix::{VersionPlace, key_parts};

const MANIFEST: &str = "Cargo.toml";

/// The kinds of dependencies of a manifest, of a target and of a workspace.
const KINDS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

/// The manifest of a package, or the root of a workspace.
pub(super) struct Manifest {
    /// The folder, with no symbolic link in its path.
    folder: PathBuf,
    text: String,
}

/// Returns the manifests of the workspace at `folder`: of the root, of its `members`, and of the path dependencies below
/// it that it does not `exclude`, which [are implicit
/// members](https://doc.rust-lang.org/cargo/reference/workspaces.html#the-members-and-exclude-fields). Omits manifests
/// that cannot be read or that have a workspace of their own.
pub(super) fn manifests(checkout: &Checkout, folder: &Path) -> Vec<Manifest> {
    let Some(root) = canonical(checkout, folder) else { return Vec::new() };
    let mut manifests = Vec::new();
    let mut seen = BTreeSet::new();
    let mut excluded = Vec::new();
    let mut waiting = vec![root.clone()];
    while let Some(folder) = waiting.pop() {
        let Some(folder) = canonical(checkout, &folder) else { continue };
        if !seen.insert(folder.clone()) {
            continue;
        }
        let text = checkout.read_text(&folder.join(MANIFEST), MAX_PROJECT_FILE);
        let Ok(text) = text else { continue };
        let Ok(manifest) = DeTable::parse(without_mark(&text).1) else { continue };
        let manifest = manifest.get_ref();
        if folder == root {
            waiting.extend(members(manifest, &root));
            excluded = texts(manifest, "exclude").map(|path| root.join(path)).collect();
        } else if manifest.contains_key("workspace") {
            continue;
        }
        let near = dependencies(manifest).into_iter().filter_map(|one| {
            let path = canonical(checkout, &folder.join(row_text(one, "path")?))?;
            let is_member = path.starts_with(&root);
            let is_excluded = excluded.iter().any(|excluded| path.starts_with(excluded));
            (is_member && !is_excluded).then_some(path)
        });
        waiting.extend(near);
        manifests.push(Manifest { folder, text });
    }
    manifests
}

/// Returns the names of the packages that inherit their version from the workspace of these `manifests`.
pub(super) fn inheriting_packages(manifests: &[Manifest]) -> Vec<String> {
    manifests.iter().filter_map(Manifest::inheriting_package).collect()
}

/// Returns the manifests of the workspace whose version is at `place`, relative to the folder of `checkout`.
#[must_use]
pub fn cargo_manifests(place: &VersionPlace, checkout: &Checkout) -> Vec<PathBuf> {
    let file = Path::new(place.file.get_ref());
    let key = place.key.as_ref().map(|key| key_parts(key.get_ref()).join("."));
    if !file.ends_with(MANIFEST) || key.as_deref() != Some("workspace.package.version") {
        return Vec::new();
    }
    let manifests = manifests(checkout, file.parent().unwrap_or(Path::new("")));
    manifests.iter().filter_map(|manifest| manifest.path(checkout)).collect()
}

impl Manifest {
    /// Returns the path of the file, relative to the folder of `checkout`.
    fn path(&self, checkout: &Checkout) -> Option<PathBuf> {
        let from = fs_err::canonicalize(checkout.folder()).ok()?;
        let shared = from.components().zip(self.folder.components());
        let shared = shared.take_while(|(one, other)| one == other).count();
        let up = from.components().skip(shared).map(|_| Component::ParentDir);
        Some(up.chain(self.folder.components().skip(shared)).collect::<PathBuf>().join(MANIFEST))
    }

    /// Returns the name of the package if it has `version.workspace = true`.
    fn inheriting_package(&self) -> Option<String> {
        let manifest = DeTable::parse(without_mark(&self.text).1).ok()?;
        let package = table(manifest.get_ref(), "package")?;
        let inherits = package.get("version")?.get_ref().get("workspace")?.get_ref().as_bool()?;
        inherits.then(|| row_text(package, "name").map(str::to_owned)).flatten()
    }
}

/// Resolves a folder. Returns `None` if it is outside of the checkout.
fn canonical(checkout: &Checkout, folder: &Path) -> Option<PathBuf> {
    checkout.resolve(folder, Access::Read).ok().filter(|folder| folder.is_dir())
}

/// Returns the folders of `workspace.members`.
fn members(manifest: &DeTable<'_>, folder: &Path) -> Vec<PathBuf> {
    // The folder itself is not a pattern.
    let folder = PathBuf::from(glob::Pattern::escape(&folder.to_string_lossy()));
    let found = texts(manifest, "members")
        .filter_map(|member| glob::glob(&folder.join(member).to_string_lossy()).ok());
    found.flatten().flatten().collect()
}

/// Returns the texts of a list in `[workspace]`.
fn texts<'a>(manifest: &'a DeTable<'_>, key: &str) -> impl Iterator<Item = &'a str> {
    let list = table(manifest, "workspace").and_then(|workspace| workspace.get(key));
    let list = list.and_then(|list| list.get_ref().as_array());
    list.into_iter().flat_map(|list| list.iter()).filter_map(|text| text.get_ref().as_str())
}

/// Returns the dependencies that are tables, of all kinds and targets.
fn dependencies<'a>(manifest: &'a DeTable<'_>) -> Vec<&'a DeTable<'a>> {
    let targets = table(manifest, "target").into_iter().flat_map(|targets| targets.values());
    let targets = targets.filter_map(|target| target.get_ref().as_table());
    let places =
        [Some(manifest), table(manifest, "workspace")].into_iter().flatten().chain(targets);
    let tables = places.flat_map(|place| KINDS.iter().filter_map(|kind| table(place, kind)));
    let dependencies = tables.flat_map(|table| table.iter());
    dependencies.filter_map(|(_, one)| one.get_ref().as_table()).collect()
}

fn table<'a, 'i>(of: &'a DeTable<'i>, key: &str) -> Option<&'a DeTable<'i>> {
    of.get(key).map(toml::Spanned::get_ref).and_then(DeValue::as_table)
}
