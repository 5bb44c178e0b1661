//! Cerebrium's `cerebrium.toml`.
//!
//! Reference: <https://docs.cerebrium.ai/toml-reference/toml-reference>

use super::ImportedImage;
use super::credentials::refuse_in_command;
use super::literal::{command, refuse_invisible};
use super::node::{Node, Value};
use super::read::{Notes, path, requirements_file, slug};
use super::template::{Base, COMMAND, Parts, Start, base, is_python, package, requirement, start};

const RUNNING: &str = "configures how the app runs, not its image";

/// The releases of Debian that Python's own images are built on.
const DEBIAN: [&str; 3] = ["bullseye", "bookworm", "trixie"];

pub(super) fn read(root: &Node, imported: &mut ImportedImage) {
    let mut reader = Reader {
        notes: Notes::default(),
        imported,
        parts: Parts::new(),
        requirements: Vec::new(),
        wants_gpu: None,
    };
    let mut leaves = Vec::new();
    flatten(root, &mut Vec::new(), &mut leaves);
    // Other keys depend on the base image and on the name.
    leaves.sort_by_key(|(path, ..)| match path.last().map(String::as_str) {
        Some("name") => 0,
        Some("docker_base_image_url") => 1,
        _ => 2,
    });
    for (path, line, node) in leaves {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        reader.leaf(&path, line, node);
    }
    reader.finish();
}

/// Collects every value that is not a table, with its keys.
fn flatten<'n>(
    node: &'n Node,
    within: &mut Vec<String>,
    leaves: &mut Vec<(Vec<String>, usize, &'n Node)>,
) {
    if let Value::Table(table) = &node.value {
        for (key, node) in table {
            within.push(key.name.clone());
            match &node.value {
                Value::Table(table) if !table.is_empty() => flatten(node, within, leaves),
                _ => leaves.push((within.clone(), key.line, node)),
            }
            within.pop();
        }
    }
}

struct Reader<'a> {
    notes: Notes,
    imported: &'a mut ImportedImage,
    parts: Parts,
    requirements: Vec<String>,
    /// The key and the line that ask for a GPU.
    wants_gpu: Option<(String, usize)>,
}

impl Reader<'_> {
    fn leaf(&mut self, path: &[&str], line: usize, node: &Node) {
        let key = path.join(".").escape_debug().to_string();
        match path {
            ["cerebrium", "deployment", "name"]
            | ["cerebrium", "hardware", "compute"]
            | ["cerebrium", "dependencies", "pip" | "apt", _]
            | ["cerebrium", "dependencies", "paths", "pip" | "apt"] => {
                if let Some(text) = self.notes.text(&key, line, node) {
                    self.text(path, key, line, text);
                }
            }
            ["cerebrium", "deployment", rest] | ["cerebrium", "runtime", "cortex", rest] => {
                self.image(rest, &key, line, node);
            }
            ["cerebrium", "dependencies", ..] if path.contains(&"conda") => {
                let reason = "basegen's template has no conda; import a Dockerfile with an image that has it";
                self.notes.skip(&key, line, reason);
            }
            ["cerebrium", "runtime", "custom", rest] => self.runtime(rest, &key, line, node),
            ["cerebrium", "hardware" | "scaling", ..] => self.notes.skip(&key, line, RUNNING),
            _ => self.notes.skip(&key, line, "basegen does not know this key"),
        }
    }

    /// A key whose value can only be a text.
    fn text(&mut self, path: &[&str], key: String, line: usize, text: &str) {
        match path {
            [_, "hardware", _] if text.eq_ignore_ascii_case("cpu") => {
                self.notes.skip(&key, line, "no GPU is requested");
            }
            [_, "hardware", _] => self.wants_gpu = Some((key, line)),
            [.., "paths", kind] => self.file(kind, &key, line, text),
            [.., "pip", name] => {
                let wanted = wanted(name, text).and_then(|text| requirement(&text));
                self.take(&key, line, wanted, "requirements.txt", |r, text| {
                    r.requirements.push(text);
                });
            }
            [.., "apt", name] => {
                let wanted = wanted_package(name, text).and_then(|text| package(&text));
                let to = "a step that installs Debian packages";
                self.take(&key, line, wanted, to, |r, text| r.parts.packages.push(text));
            }
            _ => {
                self.imported.name = slug(text);
                self.notes.import(&key, line, "the name of the image");
            }
        }
    }

    fn take(
        &mut self,
        key: &str,
        line: usize,
        parsed: Result<String, String>,
        to: &str,
        add: impl FnOnce(&mut Self, String),
    ) {
        match parsed {
            Ok(text) => {
                self.notes.import(key, line, to);
                add(self, text);
            }
            Err(reason) => self.notes.skip(key, line, reason),
        }
    }

    fn image(&mut self, name: &str, key: &str, line: usize, node: &Node) {
        match name {
            "python_version" => {
                if let Some(text) = self.notes.text(key, line, node) {
                    self.python(key, line, text);
                }
            }
            "docker_base_image_url" => match self.notes.text(key, line, node).map(base) {
                Some(Ok((image, python))) => self.base(key, line, image, python),
                Some(Err(reason)) => self.notes.skip(key, line, reason),
                None => {}
            },
            "pre_build_commands" => {
                let to = "`RUN`, before anything is installed";
                self.parts.before = self.notes.items(key, line, node, to, command);
            }
            "shell_commands" => {
                let to = "`RUN`, at the end; remove commands that need the app's code, which is not in the image";
                self.parts.after = self.notes.items(key, line, node, to, command);
            }
            _ => self.notes.skip(key, line, RUNNING),
        }
    }

    fn python(&mut self, key: &str, line: usize, text: &str) {
        if self.fixed_python() {
            self.notes.skip(key, line, "the tag of the base image has the Python version");
        } else if is_python(text) {
            self.imported.pythons = vec![text.to_owned()];
            self.notes.import(key, line, format!("axis `python`: {text}"));
        } else {
            let reason = format!("`{}` is not a Python version", text.escape_debug());
            self.notes.skip(key, line, reason);
        }
    }

    /// Returns true if the tag of the base image has a Python version.
    fn fixed_python(&self) -> bool {
        let own = Parts::new().base;
        matches!(&self.parts.base, Base::WithPython { .. } if self.parts.base != own)
            && !self.imported.pythons.is_empty()
    }

    /// Cerebrium puts a Python into any base; Debian's with one in it are Python's own.
    fn base(&mut self, key: &str, line: usize, image: String, python: Option<String>) {
        if let Some(version) = python {
            self.notes.import(key, line, format!("`FROM {image}`"));
            self.imported.pythons = vec![version];
            self.parts.base = Base::WithPython { image, python: "python".to_owned() };
        } else if let Some(of_python) = on_debian(&image) {
            self.notes.import(
                key,
                line,
                format!("`FROM {of_python}`, which is that Debian with Python"),
            );
            self.parts.base = Base::WithPython { image: of_python, python: "python".to_owned() };
        } else {
            self.notes.import(key, line, format!("`FROM {image}`, into which uv puts Python"));
            self.parts.base = Base::Bare(image);
        }
    }

    fn file(&mut self, kind: &str, key: &str, line: usize, text: &str) {
        match path(text) {
            Ok(from) => {
                let to = format!("{}/{from}", self.imported.name);
                self.notes.import(key, line, format!("dockerfiles/{to}, a copy"));
                self.imported.copies.push((from, to.clone()));
                if kind == "apt" {
                    self.parts.package_files.push(to);
                } else {
                    self.imported.lists.push((line, to.clone()));
                    self.parts.requirements.push(to);
                }
            }
            Err(reason) => self.notes.skip(key, line, reason),
        }
    }

    fn runtime(&mut self, name: &str, key: &str, line: usize, node: &Node) {
        match (name, &node.value) {
            ("entrypoint", Value::Scalar(text)) => match start(text) {
                Ok(start) => {
                    self.notes.import(key, line, COMMAND);
                    self.parts.start = Some(start);
                }
                Err(reason) => self.notes.skip(key, line, reason),
            },
            ("entrypoint", Value::List(_)) => {
                let word = |text: &str| {
                    refuse_invisible(text)?;
                    refuse_in_command(text)?;
                    Ok(text.to_owned())
                };
                let words = self.notes.items(key, line, node, COMMAND, word);
                self.parts.start = (!words.is_empty()).then_some(Start::Words(words));
            }
            ("port", Value::Scalar(text)) => match text.parse() {
                Ok(port) => {
                    self.notes.import(key, line, format!("`EXPOSE {port}`"));
                    self.parts.port = Some(port);
                }
                Err(_) => self.notes.skip(key, line, "it is not a port"),
            },
            ("dockerfile_path", _) if !node.is_empty() => {
                self.notes.skip(key, line, "give that Dockerfile itself with `--from`");
            }
            _ => self.notes.skip(key, line, RUNNING),
        }
    }

    fn finish(self) {
        let Self { mut notes, imported, mut parts, requirements, wants_gpu } = self;
        if let Some((key, line)) = wants_gpu {
            if parts.base.is_debian_python() {
                notes.import(&key, line, "axis `gpu`");
                parts.gpu = true;
            } else {
                notes.skip(&key, line, "the base image stays as it is: choose one that has CUDA");
            }
        }
        if !requirements.is_empty() {
            parts.requirements.push(requirements_file(imported, &requirements));
        }
        imported.gpu = parts.gpu;
        imported.template = parts.template();
        imported.findings = notes.findings();
    }
}

/// Python's image on the Debian that an image is.
fn on_debian(image: &str) -> Option<String> {
    let tag = image.strip_prefix("debian:")?;
    let (release, slim) = match tag.strip_suffix("-slim") {
        Some(release) => (release, "slim-"),
        None => (tag, ""),
    };
    DEBIAN.contains(&release).then(|| format!("python:{{{{python}}}}-{slim}{release}"))
}

/// Whether any version will do.
fn is_any(version: &str) -> bool {
    matches!(version, "" | "latest" | "*")
}

/// A line of pip's for a package and the version that its key has. A bare version is an exact one.
fn wanted(name: &str, version: &str) -> Result<String, String> {
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
        Err("it is no version".to_owned())
    }
}

/// A Debian package with the version that its key has.
fn wanted_package(name: &str, version: &str) -> Result<String, String> {
    let version = version.trim();
    let exact = version.trim_start_matches('=').trim_start();
    if is_any(version) {
        Ok(name.to_owned())
    } else if exact.starts_with(|c: char| c.is_ascii_digit()) {
        Ok(format!("{name}={exact}"))
    } else {
        Err("it is no version".to_owned())
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
            assert_eq!(wanted("torch", version).as_deref(), Ok(line), "{version:?}");
        }
        for version in ["true", "nan", "git+https://a.example/b", "=2.0", "-1", "2.0 3", "[a]"] {
            assert!(wanted("torch", version).is_err(), "{version:?}");
        }
        for (version, package) in
            [("", "a"), ("latest", "a"), ("*", "a"), ("1.2-3", "a=1.2-3"), ("== 1:2~3", "a=1:2~3")]
        {
            assert_eq!(wanted_package("a", version).as_deref(), Ok(package), "{version:?}");
        }
        for version in ["false", ">=1", "=", "x"] {
            assert!(wanted_package("a", version).is_err(), "{version:?}");
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
