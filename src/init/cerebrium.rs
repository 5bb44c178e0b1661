//! Imports Cerebrium's `cerebrium.toml`.
//!
//! Its keys are described at <https://docs.cerebrium.ai/toml-reference/toml-reference>.

use super::Python;
use super::base::base;
use super::credentials::refuse_in_requirement;
use super::reader::{Action, Keys, Leaf, Reader, escaped};
use crate::matrix::Content;

/// The releases of Debian that Python's own images are built on.
const DEBIAN: [&str; 3] = ["bullseye", "bookworm", "trixie"];

/// The value of the axis `python`.
const PYTHON: &str = "{{python}}";

/// Files that the image of an app does not contain: this one, and those that Cerebrium leaves out by default.
const EXCLUDED: [&str; 3] = ["cerebrium.toml", ".*", "**/__pycache__"];

/// The folder of the app in its container.
const APP: &str = "/cortex";

const RUNNING: Action =
    |reader, leaf| reader.skip(leaf, "configures how the app runs, not its image");

/// The keys in the order in which they are read: the name and the base image come first. `runtime.cortex` is an older place
/// of those of `deployment`.
pub(super) const KEYS: &Keys = &[
    (&["cerebrium", "deployment", "name"], |reader, leaf| reader.name(leaf)),
    (&["cerebrium", "deployment", "docker_base_image_url"], base_image),
    (&["cerebrium", "runtime", "cortex", "docker_base_image_url"], base_image),
    (&["cerebrium", "deployment", "python_version"], python),
    (&["cerebrium", "runtime", "cortex", "python_version"], python),
    (&["cerebrium", "hardware", "compute"], |reader, leaf| {
        if let Some(compute) = reader.text(leaf) {
            reader.gpu(leaf, !compute.eq_ignore_ascii_case("cpu"));
        }
    }),
    (&["cerebrium", "deployment", "pre_build_commands"], pre_build_commands),
    (&["cerebrium", "runtime", "cortex", "pre_build_commands"], pre_build_commands),
    (&["cerebrium", "dependencies", "apt", "*"], package),
    (&["cerebrium", "dependencies", "conda", "*"], package),
    (&["cerebrium", "dependencies", "pip", "*"], package),
    (&["cerebrium", "dependencies", "paths", "apt"], package_file),
    (&["cerebrium", "dependencies", "paths", "conda"], package_file),
    (&["cerebrium", "dependencies", "paths", "pip"], package_file),
    (&["cerebrium", "deployment", "shell_commands"], shell_commands),
    (&["cerebrium", "runtime", "cortex", "shell_commands"], shell_commands),
    (&["cerebrium", "runtime", "custom", "entrypoint"], |reader, leaf| reader.start(leaf)),
    (&["cerebrium", "runtime", "custom", "port"], |reader, leaf| reader.port(leaf)),
    (&["cerebrium", "runtime", "custom", "dockerfile_path"], |reader, leaf| {
        if leaf.node.is_empty() {
            reader.skip(leaf, "it is empty");
        } else {
            reader.leave_out(leaf, "pass that Dockerfile itself with `--from`");
        }
    }),
    (&["cerebrium", "runtime", "custom", "healthcheck_endpoint"], RUNNING),
    (&["cerebrium", "runtime", "custom", "readycheck_endpoint"], RUNNING),
    (&["cerebrium", "deployment", "include", "**"], RUNNING),
    (&["cerebrium", "deployment", "exclude"], exclude),
    (&["cerebrium", "deployment", "disable_auth"], RUNNING),
    (&["cerebrium", "deployment", "deployment_initialization_timeout"], RUNNING),
    (&["cerebrium", "deployment", "use_uv"], RUNNING),
    (&["cerebrium", "hardware", "cpu"], RUNNING),
    (&["cerebrium", "hardware", "memory"], RUNNING),
    (&["cerebrium", "hardware", "gpu_count"], RUNNING),
    (&["cerebrium", "hardware", "provider"], RUNNING),
    (&["cerebrium", "hardware", "region"], RUNNING),
    (&["cerebrium", "scaling", "**"], RUNNING),
];

fn python(reader: &mut Reader<'_>, leaf: &Leaf<'_>) {
    if let Some(version) = reader.text(leaf) {
        reader.python(leaf, version);
    }
}

/// Reads the base image. Cerebrium adds Python to any image: Debian's become Python's own, and uv installs it into others.
fn base_image(reader: &mut Reader<'_>, leaf: &Leaf<'_>) {
    let Some(text) = reader.text(leaf) else { return };
    match base(text) {
        Ok((image, version)) => {
            reader.imported.python = version.map_or(Python::Any, Python::Version);
            let image = on_debian(&image).unwrap_or(image);
            if !image.contains(PYTHON) {
                // The environment of a Python from uv has no pip of its own.
                let entries = [("--python", PYTHON), ("pip", "latest")];
                let entries = entries.map(|(name, value)| (name.to_owned(), value.into()));
                let packages = toml::Table::from_iter(entries);
                reader.imported.settings.insert("pip".to_owned(), packages.into());
            }
            reader.set(leaf, "base", image);
        }
        Err(reason) => reader.leave_out(leaf, reason),
    }
}

/// Returns Python's image on the same Debian as `image`.
fn on_debian(image: &str) -> Option<String> {
    let tag = image.strip_prefix("debian:")?;
    let (release, slim) = match tag.strip_suffix("-slim") {
        Some(release) => (release, "slim-"),
        None => (tag, ""),
    };
    DEBIAN.contains(&release).then(|| format!("python:{{{{python}}}}-{slim}{release}"))
}

fn pre_build_commands(reader: &mut Reader<'_>, leaf: &Leaf<'_>) {
    reader.commands(leaf, "pre_build_commands");
}

/// Reads commands that run in the folder of the app, after its files have been copied.
fn shell_commands(reader: &mut Reader<'_>, leaf: &Leaf<'_>) {
    reader.commands(leaf, "shell_commands");
    let settings = &mut reader.imported.settings;
    if settings.contains_key("shell_commands") {
        settings.insert("workdir".to_owned(), APP.into());
        settings.insert("files".to_owned(), vec!["."].into());
        settings.insert("dockerignore".to_owned(), EXCLUDED.to_vec().into());
    }
}

/// Reads the files that the app does not have.
fn exclude(reader: &mut Reader<'_>, leaf: &Leaf<'_>) {
    if reader.imported.settings.contains_key("files") {
        reader.items(leaf, "dockerignore", |pattern| Ok(pattern.to_owned()));
    } else {
        RUNNING(reader, leaf);
    }
}

/// Reads a package. The matrix file has the same notation of versions.
fn package(reader: &mut Reader<'_>, leaf: &Leaf<'_>) {
    let (manager, name) = (leaf.path[2], leaf.name());
    let Some(version) = reader.text(leaf) else { return };
    let is_number = version.starts_with(|c: char| c.is_ascii_digit());
    if matches!(leaf.node.content, Content::Plain(_)) && !is_number {
        return reader.leave_out(leaf, "it is not a version");
    }
    if let Err(reason) = refuse_in_requirement(version) {
        return reader.leave_out(leaf, reason);
    }
    let version = if version.trim().is_empty() { "latest" } else { version.trim() };
    reader.entry(leaf, manager, name, escaped(version));
}

fn package_file(reader: &mut Reader<'_>, leaf: &Leaf<'_>) {
    if let Some(file) = reader.package_file(leaf) {
        reader.entry(leaf, leaf.name(), "-r", file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn python_has_images_on_some_debians() {
        let on = |tag: &str| on_debian(&format!("debian:{tag}"));
        assert_eq!(on("bookworm").as_deref(), Some("python:{{python}}-bookworm"));
        assert_eq!(on("trixie-slim").as_deref(), Some("python:{{python}}-slim-trixie"));
        for tag in ["12", "12-slim", "stable", "latest", "sid", "buster", "bookworm-20240101", ""] {
            assert_eq!(on(tag), None, "{tag:?}");
        }
        assert_eq!(on_debian("ubuntu:bookworm"), None);
    }
}
