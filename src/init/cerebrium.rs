//! Imports Cerebrium's `cerebrium.toml`.
//!
//! Its keys are described at <https://docs.cerebrium.ai/toml-reference/toml-reference>.

use super::ImportedImage;
use super::credentials::refuse_in_command;
use super::literal::refuse_invisible;
use super::node::{Node, Value};
use super::reader::{Leaf, Reader, leaves};
use super::template::{Base, COMMAND, Start, base, package, requirement};

const RUNNING: &str = "configures how the app runs, not its image";

/// The releases of Debian that Python's own images are built on.
const DEBIAN: [&str; 3] = ["bullseye", "bookworm", "trixie"];

pub(super) fn read(root: &Node, imported: &mut ImportedImage) {
    let mut reader = Reader::new(imported);
    let mut leaves = leaves(root);
    // Other keys depend on the base image and on the name.
    leaves.sort_by_key(|leaf| match leaf.path.last() {
        Some(&"name") => 0,
        Some(&"docker_base_image_url") => 1,
        _ => 2,
    });
    for leaf in &leaves {
        match *leaf.path.as_slice() {
            ["cerebrium", "deployment", "name"] => reader.name(leaf),
            ["cerebrium", "hardware", "compute"] => {
                if let Some(is_gpu) =
                    reader.parse(leaf, |text| Ok(!text.eq_ignore_ascii_case("cpu")))
                {
                    reader.gpu(leaf, is_gpu);
                }
            }
            ["cerebrium", "dependencies", "paths", "pip"] => reader.requirements_file(leaf),
            ["cerebrium", "dependencies", "paths", "apt"] => {
                let file = reader.file(leaf);
                reader.parts.package_files.extend(file);
            }
            ["cerebrium", "dependencies", "pip", name] => {
                let line = reader.take(leaf, "requirements.txt", |text| {
                    requirement(&pip_requirement(name, text)?)
                });
                reader.requirements.extend(line);
            }
            ["cerebrium", "dependencies", "apt", name] => {
                let to = "a step that installs Debian packages";
                let package = reader.take(leaf, to, |text| package(&debian_package(name, text)?));
                reader.parts.packages.extend(package);
            }
            ["cerebrium", "deployment", key] | ["cerebrium", "runtime", "cortex", key] => {
                image(&mut reader, leaf, key);
            }
            ["cerebrium", "dependencies", ..] if leaf.path.contains(&"conda") => {
                let reason = "basegen's template has no conda; import a Dockerfile with an image that has it";
                reader.skip(leaf, reason);
            }
            ["cerebrium", "runtime", "custom", key] => runtime(&mut reader, leaf, key),
            ["cerebrium", "hardware" | "scaling", ..] => reader.skip(leaf, RUNNING),
            _ => reader.skip(leaf, "basegen does not know this key"),
        }
    }
    reader.finish();
}

fn image(reader: &mut Reader<'_>, leaf: &Leaf<'_>, key: &str) {
    match key {
        "python_version" if reader.parts.base.has_version() => {
            reader.skip(leaf, "the tag of the base image has the Python version");
        }
        "python_version" => {
            if let Some(version) = reader.parse(leaf, |text| Ok(text.to_owned())) {
                reader.python(leaf, &version);
            }
        }
        "docker_base_image_url" => base_image(reader, leaf),
        "pre_build_commands" => {
            reader.parts.before = reader.commands(leaf, "`RUN`, before anything is installed");
        }
        "shell_commands" => {
            let to = "`RUN`, at the end; remove commands that need the app's code, which is not in the image";
            reader.parts.after = reader.commands(leaf, to);
        }
        _ => reader.skip(leaf, RUNNING),
    }
}

/// Reads the base image. Cerebrium adds Python to any image, and this also works for Debian's, which become Python's own.
fn base_image(reader: &mut Reader<'_>, leaf: &Leaf<'_>) {
    let Some((image, version)) = reader.parse(leaf, base) else { return };
    let with_python = |image| Base::WithPython { image, python: "python".to_owned() };
    let (to, base) = if version.is_some() {
        (format!("`FROM {image}`"), with_python(image))
    } else if let Some(image) = on_debian(&image) {
        (format!("`FROM {image}`, which is that Debian with Python"), with_python(image))
    } else {
        (format!("`FROM {image}`, into which uv puts Python"), Base::Bare(image))
    };
    reader.import(leaf, to);
    reader.imported.pythons.extend(version);
    reader.parts.base = base;
}

fn runtime(reader: &mut Reader<'_>, leaf: &Leaf<'_>, key: &str) {
    match (key, &leaf.node.value) {
        ("entrypoint", Value::Scalar(_)) => reader.start(leaf),
        ("entrypoint", Value::List(_)) => {
            let words = reader.items(leaf, COMMAND, |text| {
                refuse_invisible(text)?;
                refuse_in_command(text)?;
                Ok(text.to_owned())
            });
            reader.parts.start = (!words.is_empty()).then_some(Start::Words(words));
        }
        ("port", Value::Scalar(_)) => reader.port(leaf),
        ("dockerfile_path", _) if !leaf.node.is_empty() => {
            reader.skip(leaf, "pass that Dockerfile itself with `--from`");
        }
        _ => reader.skip(leaf, RUNNING),
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

/// Returns true if any version is allowed.
fn is_any(version: &str) -> bool {
    matches!(version, "" | "latest" | "*")
}

/// Returns the requirement of pip for an entry of a table of packages. A bare version is an exact one.
fn pip_requirement(name: &str, version: &str) -> Result<String, String> {
    const OPERATORS: [&str; 5] = ["==", "~=", "!=", "<", ">"];
    let version = version.trim();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._*+!-".contains(c);
    if is_any(version) {
        Ok(name.to_owned())
    } else if version.starts_with(|c: char| c.is_ascii_digit()) && version.chars().all(is_plain) {
        Ok(format!("{name}=={version}"))
    } else if OPERATORS.iter().any(|operator| version.starts_with(operator)) {
        Ok(format!("{name}{version}"))
    } else if let Some(url) = version.strip_prefix('@') {
        Ok(format!("{name} @ {}", url.trim()))
    } else {
        Err("it is not a version".to_owned())
    }
}

/// Returns the Debian package of an entry of a table of packages.
fn debian_package(name: &str, version: &str) -> Result<String, String> {
    let version = version.trim();
    let exact = version.trim_start_matches('=').trim_start();
    if is_any(version) {
        Ok(name.to_owned())
    } else if exact.starts_with(|c: char| c.is_ascii_digit()) {
        Ok(format!("{name}={exact}"))
    } else {
        Err("it is not a version".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_belongs_to_its_package() {
        for (version, line) in [
            ("", "torch"),
            ("latest", "torch"),
            ("*", "torch"),
            ("2.0.0", "torch==2.0.0"),
            ("2.*", "torch==2.*"),
            ("==2.0.0", "torch==2.0.0"),
            (">=2,<3", "torch>=2,<3"),
            ("~=2.0", "torch~=2.0"),
            ("!=2.1", "torch!=2.1"),
            ("@ https://a.example/b.whl", "torch @ https://a.example/b.whl"),
            ("@https://a.example/b.whl", "torch @ https://a.example/b.whl"),
        ] {
            assert_eq!(pip_requirement("torch", version).as_deref(), Ok(line), "{version:?}");
        }
        for version in ["true", "nan", "git+https://a.example/b", "=2.0", "-1", "2.0 3", "[a]"] {
            assert!(pip_requirement("torch", version).is_err(), "{version:?}");
        }
        for (version, package) in
            [("", "a"), ("latest", "a"), ("*", "a"), ("1.2-3", "a=1.2-3"), ("== 1:2~3", "a=1:2~3")]
        {
            assert_eq!(debian_package("a", version).as_deref(), Ok(package), "{version:?}");
        }
        for version in ["false", ">=1", "=", "x"] {
            assert!(debian_package("a", version).is_err(), "{version:?}");
        }
    }

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
