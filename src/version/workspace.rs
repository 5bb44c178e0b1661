//! Finds the packages of Cargo workspaces, and edits the requirements that they have on each other.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use semver::{Version as SemVer, VersionReq};
use toml::de::{DeTable, DeValue};

use super::VersionError;
use super::edit::Replacement;
use super::keyed::{key_parts, toml_text, without_mark};
use super::locks::{Companion, row_text};
use super::place::{display_path, line};
use crate::files::{Access, Checkout, MAX_PROJECT_FILE};
use crate::matrix::VersionPlace;

const MANIFEST: &str = "Cargo.toml";

/// The kinds of dependencies of a manifest, of a target and of a workspace.
const KINDS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

/// The manifest of a package, or the root of a workspace.
pub(super) struct Manifest {
    /// The folder, with no symbolic link in its path.
    folder: PathBuf,
    text: String,
}

/// Returns the manifests of the workspace at `folder`: of the root,
/// of its `members`, and of the path dependencies below it that it does not `exclude`, which
/// [are implicit members](https://doc.rust-lang.org/cargo/reference/workspaces.html#the-members-and-exclude-fields).
/// A manifest that cannot be read is left out, and so is one with a workspace of its own.
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
        let text = read(checkout, &folder);
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

/// Returns the manifests that may name the version of a `place`, relative to the folder of `checkout`.
#[must_use]
pub fn cargo_manifests(place: &VersionPlace, checkout: &Checkout) -> Vec<PathBuf> {
    let Some((manifests, _)) = workspace_of(place, checkout) else { return Vec::new() };
    manifests.iter().filter_map(|manifest| manifest.path(checkout)).collect()
}

/// Returns the manifests of the workspace of a `place`, and those of them that have its version; `None` if
/// the place is not in a Cargo manifest.
fn workspace_of(
    place: &VersionPlace,
    checkout: &Checkout,
) -> Option<(Vec<Manifest>, BTreeSet<PathBuf>)> {
    let file = Path::new(place.file.get_ref());
    let key = key_parts(place.key.as_ref()?.get_ref());
    let home = canonical(checkout, file.parent()?).filter(|_| file.ends_with(MANIFEST))?;
    match key.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["package", "version"] => {
            let is_root = |folder: &&Path| {
                let text = read(checkout, folder);
                let manifest = DeTable::parse(without_mark(&text).1);
                manifest.is_ok_and(|manifest| manifest.get_ref().contains_key("workspace"))
            };
            let root = home.ancestors().find(is_root).map(|root| manifests(checkout, root));
            let has_home = |all: &Vec<Manifest>| all.iter().any(|one| one.folder == home);
            let manifests = root.filter(has_home).unwrap_or_else(|| manifests(checkout, &home));
            Some((manifests, BTreeSet::from([home])))
        }
        ["workspace", "package", "version"] => {
            let manifests = manifests(checkout, &home);
            let inheriting_packages =
                manifests.iter().filter(|manifest| manifest.inheriting_package().is_some());
            let inheriting_packages =
                inheriting_packages.map(|manifest| manifest.folder.clone()).collect();
            Some((manifests, inheriting_packages))
        }
        _ => None,
    }
}

/// Returns the edits of requirements on the packages that have the version of a `place`, which is raised from
/// `old` to `new`: `{ path = "…", version = "…" }` of members and of `[workspace.dependencies]`.
///
/// # Errors
///
/// A requirement that is not on `old` and does not allow `new`.
pub(super) fn requirements(
    place: &VersionPlace,
    checkout: &Checkout,
    old: &str,
    new: &str,
) -> Result<Vec<Companion>, VersionError> {
    let Some((manifests, raised)) = workspace_of(place, checkout) else { return Ok(Vec::new()) };
    let mut edited = Vec::new();
    for manifest in &manifests {
        let Some(path) = manifest.path(checkout) else { continue };
        let replacements = manifest.requirements(checkout, &raised, old, new).map_err(
            |(offset, requirement)| {
                let path = display_path(checkout.folder(), &path);
                VersionError::Requirement {
                    place: format!("{}:{}", path.display(), line(&manifest.text, offset)),
                    requirement,
                    version: new.to_owned(),
                }
            },
        )?;
        if !replacements.is_empty() {
            edited.push((path, manifest.text.clone(), replacements));
        }
    }
    Ok(edited)
}

impl Manifest {
    /// The path of the file, relative to the folder of `checkout`.
    fn path(&self, checkout: &Checkout) -> Option<PathBuf> {
        let from = fs_err::canonicalize(checkout.folder()).ok()?;
        let shared = from.components().zip(self.folder.components());
        let shared = shared.take_while(|(one, other)| one == other).count();
        let up = from.components().skip(shared).map(|_| Component::ParentDir);
        Some(up.chain(self.folder.components().skip(shared)).collect::<PathBuf>().join(MANIFEST))
    }

    /// The name of the package, if it takes its version from the workspace.
    fn inheriting_package(&self) -> Option<String> {
        inheriting_package(DeTable::parse(without_mark(&self.text).1).ok()?.get_ref())
    }

    /// The edits of the requirements on packages in the folders `raised`; the offset and the text of one that
    /// would not allow `new`.
    fn requirements(
        &self,
        checkout: &Checkout,
        raised: &BTreeSet<PathBuf>,
        old: &str,
        new: &str,
    ) -> Result<Vec<Replacement>, (usize, String)> {
        let (shift, text) = without_mark(&self.text);
        let Ok(manifest) = DeTable::parse(text) else { return Ok(Vec::new()) };
        let mut replacements = Vec::new();
        for one in dependencies(manifest.get_ref()) {
            let path =
                row_text(one, "path").and_then(|path| canonical(checkout, &self.folder.join(path)));
            let (Some(path), Some(version)) = (path, one.get("version")) else { continue };
            let Some(requirement) = version.get_ref().as_str().filter(|_| raised.contains(&path))
            else {
                continue;
            };
            let range = toml_text(text, version.span(), requirement).range;
            let number = requirement.trim_start_matches(['=', '^', '~', ' ']);
            if number == old {
                let start = range.end - number.len();
                replacements.push((start + shift..range.end + shift, new.to_owned()));
            } else if !allows(requirement, new) {
                return Err((range.start + shift, requirement.to_owned()));
            }
        }
        Ok(replacements)
    }
}

fn allows(requirement: &str, version: &str) -> bool {
    let requirement = VersionReq::parse(requirement);
    let version = SemVer::parse(version);
    requirement.is_ok_and(|requirement| version.is_ok_and(|version| requirement.matches(&version)))
}

/// The folder, with no symbolic link in its path; nothing if it is outside of the checkout.
fn canonical(checkout: &Checkout, folder: &Path) -> Option<PathBuf> {
    checkout.resolve(folder, Access::Read).ok().filter(|folder| folder.is_dir())
}

/// The text of the manifest of a folder; empty if it cannot be read.
fn read(checkout: &Checkout, folder: &Path) -> String {
    checkout.read_text(&folder.join(MANIFEST), MAX_PROJECT_FILE).unwrap_or_default()
}

/// Returns the name of a package with `version.workspace = true`.
fn inheriting_package(manifest: &DeTable<'_>) -> Option<String> {
    let package = table(manifest, "package")?;
    let inherits = package.get("version")?.get_ref().get("workspace")?.get_ref().as_bool()?;
    inherits.then(|| row_text(package, "name").map(str::to_owned)).flatten()
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
