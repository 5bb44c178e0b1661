//! Cerebrium's `cerebrium.toml`.
//!
//! Reference: <https://docs.cerebrium.ai/toml-reference/toml-reference>

use super::Wish;
use super::literal::{command, refuse_invisible};
use super::node::{Node, Value};
use super::read::{Notes, path, requirements_file, slug};
use super::template::{Base, Parts, Start, base, is_python, package, requirement, start};

/// What decides how an app is run, and is in no base image.
const RUNNING: &str = "says how the app is run, not what is in its image";

/// Reads a whole file.
pub(super) fn read(root: &Node, wish: &mut Wish) {
    let mut reader = Reader {
        notes: Notes::default(),
        wish,
        parts: Parts::new(),
        requirements: Vec::new(),
        wants_gpu: None,
    };
    let mut leaves = Vec::new();
    flatten(root, &mut Vec::new(), &mut leaves);
    // What the base is decides what the other keys can mean, and the name where files go.
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

/// Every value that is no table, with the keys that lead to it.
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
    wish: &'a mut Wish,
    parts: Parts,
    requirements: Vec<String>,
    /// The key and the line that ask for a GPU.
    wants_gpu: Option<(String, usize)>,
}

impl Reader<'_> {
    fn leaf(&mut self, path: &[&str], line: usize, node: &Node) {
        let key = path.join(".").escape_debug().to_string();
        let text = node.text().unwrap_or_default();
        match path {
            ["cerebrium", "deployment", "name"] => {
                self.wish.name = slug(text);
                self.notes.taken(&key, line, "the name of the image");
            }
            ["cerebrium", "deployment", rest] | ["cerebrium", "runtime", "cortex", rest] => {
                self.image(rest, &key, line, node);
            }
            ["cerebrium", "hardware", "compute"] => match text.eq_ignore_ascii_case("cpu") {
                true => self.notes.left(&key, line, "no GPU is asked for"),
                false => self.wants_gpu = Some((key, line)),
            },
            ["cerebrium", "dependencies", "pip", name] => {
                let line_of_file = match text {
                    "" | "latest" | "*" => (*name).to_owned(),
                    version => format!("{name}{version}"),
                };
                self.take(&key, line, requirement(&line_of_file), "requirements.txt", |r, text| {
                    r.requirements.push(text);
                });
            }
            ["cerebrium", "dependencies", "apt", name] => {
                let wanted = match text {
                    "" | "latest" | "*" => (*name).to_owned(),
                    version => format!("{name}={}", version.trim_start_matches('=')),
                };
                let to = "a step that installs Debian packages";
                self.take(&key, line, package(&wanted), to, |r, text| r.parts.packages.push(text));
            }
            ["cerebrium", "dependencies", "paths", kind @ ("pip" | "apt")] => {
                self.file(kind, &key, line, text);
            }
            ["cerebrium", "dependencies", ..] if path.contains(&"conda") => {
                let reason = "basegen's template has no conda; begin from a Dockerfile on an image that has it";
                self.notes.left(&key, line, reason);
            }
            ["cerebrium", "runtime", "custom", rest] => self.runtime(rest, &key, line, node),
            ["cerebrium", "hardware" | "scaling", ..] => self.notes.left(&key, line, RUNNING),
            _ => self.notes.left(&key, line, "basegen does not know this key"),
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
                self.notes.taken(key, line, to);
                add(self, text);
            }
            Err(reason) => self.notes.left(key, line, reason),
        }
    }

    fn image(&mut self, name: &str, key: &str, line: usize, node: &Node) {
        let text = node.text().unwrap_or_default();
        match name {
            "python_version" if self.fixed_python() => {
                self.notes.left(key, line, "the tag of the base image says which Python it has");
            }
            "python_version" if is_python(text) => {
                self.wish.pythons = vec![text.to_owned()];
                self.notes.taken(key, line, format!("axis `python`: {text}"));
            }
            "python_version" => {
                let reason = format!("`{}` is no version of Python", text.escape_debug());
                self.notes.left(key, line, reason);
            }
            "docker_base_image_url" => match base(text) {
                Ok((image, python)) => self.base(key, line, image, python),
                Err(reason) => self.notes.left(key, line, reason),
            },
            "pre_build_commands" => {
                let to = "`RUN`, before anything is installed";
                self.parts.before = self.notes.items(key, line, node, to, command);
            }
            "shell_commands" => {
                let to = "`RUN`, at the end; take out what needs the app's own code, which is not in the image";
                self.parts.after = self.notes.items(key, line, node, to, command);
            }
            _ => self.notes.left(key, line, RUNNING),
        }
    }

    /// Whether the base image's tag has told the Python.
    fn fixed_python(&self) -> bool {
        let own = Parts::new().base;
        matches!(&self.parts.base, Base::WithPython { .. } if self.parts.base != own)
            && !self.wish.pythons.is_empty()
    }

    /// Cerebrium puts a Python into any base; Debian's with one in it are Python's own.
    fn base(&mut self, key: &str, line: usize, image: String, python: Option<String>) {
        if let Some(version) = python {
            self.notes.taken(key, line, format!("`FROM {image}`"));
            self.wish.pythons = vec![version];
            self.parts.base = Base::WithPython { image, python: "python".to_owned() };
        } else if let Some(tag) = image.strip_prefix("debian:") {
            let of_python = match tag.strip_suffix("-slim") {
                Some(release) => format!("python:{{{{python}}}}-slim-{release}"),
                None => format!("python:{{{{python}}}}-{tag}"),
            };
            self.notes.taken(
                key,
                line,
                format!("`FROM {of_python}`, which is that Debian with Python"),
            );
            self.parts.base = Base::WithPython { image: of_python, python: "python".to_owned() };
        } else {
            self.notes.taken(key, line, format!("`FROM {image}`, into which uv puts Python"));
            self.parts.base = Base::Bare(image);
        }
    }

    fn file(&mut self, kind: &str, key: &str, line: usize, text: &str) {
        match path(text) {
            Ok(from) => {
                let to = format!("{}/{from}", self.wish.name);
                self.notes.taken(key, line, format!("dockerfiles/{to}, a copy"));
                self.wish.copies.push((from, to.clone()));
                match kind {
                    "apt" => self.parts.package_files.push(to),
                    _ => self.parts.requirements.push(to),
                }
            }
            Err(reason) => self.notes.left(key, line, reason),
        }
    }

    fn runtime(&mut self, name: &str, key: &str, line: usize, node: &Node) {
        match (name, &node.value) {
            ("entrypoint", Value::Scalar(text)) => match start(text) {
                Ok(start) => {
                    self.notes.taken(key, line, "`CMD`");
                    self.parts.start = Some(start);
                }
                Err(reason) => self.notes.left(key, line, reason),
            },
            ("entrypoint", Value::List(_)) => {
                let word = |text: &str| refuse_invisible(text).map(|()| text.to_owned());
                let words = self.notes.items(key, line, node, "`CMD`", word);
                self.parts.start = (!words.is_empty()).then_some(Start::Words(words));
            }
            ("port", Value::Scalar(text)) => match text.parse() {
                Ok(port) => {
                    self.notes.taken(key, line, format!("`EXPOSE {port}`"));
                    self.parts.port = Some(port);
                }
                Err(_) => self.notes.left(key, line, "it is no port"),
            },
            ("dockerfile_path", _) if !node.is_empty() => {
                self.notes.left(key, line, "give that Dockerfile itself with `--from`");
            }
            _ => self.notes.left(key, line, RUNNING),
        }
    }

    fn finish(self) {
        let Self { mut notes, wish, mut parts, requirements, wants_gpu } = self;
        if let Some((key, line)) = wants_gpu {
            if parts.base.is_debian_python() {
                notes.taken(&key, line, "axis `gpu`");
                parts.gpu = true;
            } else {
                notes.left(&key, line, "the base image stays as it is: choose one that has CUDA");
            }
        }
        if !requirements.is_empty() {
            parts.requirements.push(requirements_file(wish, &requirements));
        }
        wish.gpu = parts.gpu;
        wish.template = parts.template();
        wish.findings = notes.findings();
    }
}
