//! Cargo's workspaces: which packages take their version from one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::keyed::without_mark;
use super::locks::row_text;
use crate::files::{Access, Checkout, MAX_PROJECT_FILE};

/// The names of the packages that take their version from the workspace at `folder` of `checkout`: of the root,
/// of its `members`, and of the path dependencies below it that it does not `exclude`, which
/// [are members unsaid](https://doc.rust-lang.org/cargo/reference/workspaces.html#the-members-and-exclude-fields).
/// A manifest that cannot be read has none, and one with a workspace of its own is of that.
pub(super) fn heirs(checkout: &Checkout, folder: &Path) -> Vec<String> {
    let Ok(root) = checkout.resolve(folder, Access::Read) else { return Vec::new() };
    let mut names = Vec::new();
    let mut seen = BTreeSet::new();
    let mut excluded = Vec::new();
    let mut waiting = vec![root.clone()];
    while let Some(folder) = waiting.pop() {
        let Ok(folder) = fs_err::canonicalize(folder) else { continue };
        if !seen.insert(folder.clone()) {
            continue;
        }
        let manifest = checkout.read_text(&folder.join("Cargo.toml"), MAX_PROJECT_FILE);
        let text = manifest.unwrap_or_default();
        let Ok(manifest) = DeTable::parse(without_mark(&text).1) else { continue };
        let manifest = manifest.get_ref();
        if folder == root {
            waiting.extend(members(manifest, &root));
            excluded = texts(manifest, "exclude").map(|path| root.join(path)).collect();
        } else if manifest.contains_key("workspace") {
            continue;
        }
        names.extend(heir(manifest));
        let near = paths(manifest).into_iter().filter_map(|path| {
            let path = fs_err::canonicalize(folder.join(path)).ok()?;
            let is_member = path.starts_with(&root);
            let is_excluded = excluded.iter().any(|excluded| path.starts_with(excluded));
            (is_member && !is_excluded).then_some(path)
        });
        waiting.extend(near);
    }
    names
}

/// The name of a package whose manifest says `version.workspace = true`.
fn heir(manifest: &DeTable<'_>) -> Option<String> {
    let package = table(manifest, "package")?;
    let inherits = package.get("version")?.get_ref().get("workspace")?.get_ref().as_bool()?;
    inherits.then(|| row_text(package, "name").map(str::to_owned)).flatten()
}

/// The folders that `workspace.members` names.
fn members(manifest: &DeTable<'_>, folder: &Path) -> Vec<PathBuf> {
    // Only what the manifest says is a pattern.
    let folder = PathBuf::from(glob::Pattern::escape(&folder.to_string_lossy()));
    let found = texts(manifest, "members")
        .filter_map(|member| glob::glob(&folder.join(member).to_string_lossy()).ok());
    found.flatten().flatten().collect()
}

/// The texts of a list of the workspace.
fn texts<'a>(manifest: &'a DeTable<'_>, key: &str) -> impl Iterator<Item = &'a str> {
    let list = table(manifest, "workspace").and_then(|workspace| workspace.get(key));
    let list = list.and_then(|list| list.get_ref().as_array());
    list.into_iter().flat_map(|list| list.iter()).filter_map(|text| text.get_ref().as_str())
}

/// The paths of all dependencies that have one, for whichever purpose and target.
fn paths<'a>(manifest: &'a DeTable<'_>) -> Vec<&'a str> {
    let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
    let targets = table(manifest, "target").into_iter().flat_map(|targets| targets.values());
    let targets = targets.filter_map(|target| target.get_ref().as_table());
    let places =
        [Some(manifest), table(manifest, "workspace")].into_iter().flatten().chain(targets);
    let tables = places.flat_map(|place| kinds.iter().filter_map(|kind| table(place, kind)));
    let dependencies = tables.flat_map(|table| table.values());
    dependencies.filter_map(|one| row_text(one.get_ref().as_table()?, "path")).collect()
}

fn table<'a, 'i>(of: &'a DeTable<'i>, key: &str) -> Option<&'a DeTable<'i>> {
    of.get(key).map(toml::Spanned::get_ref).and_then(DeValue::as_table)
}
