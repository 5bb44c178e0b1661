//! Writes the template of a Dockerfile from an imported configuration.

use std::fmt::Write as _;

use super::credentials::{IN_URL, holds_credential, refuse_in_command, refuse_in_variable};
use super::literal::{list, quoted, refuse_invisible};
use crate::image::refuse_scheme;

/// Mounts the CA certificates of the network: docs/matrix.md, `[build]`.
const CERTIFICATES: &str = "--mount=type=secret,id=ca_certificates,\
    target=/etc/ssl/certs/ca-certificates.crt,required=false";

const PYTHON: &str = "python:{{python}}-slim-bookworm";

/// The base image, and the origin of its Python.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Base {
    /// An image with Python, and the name of its executable.
    WithPython { image: String, python: String },
    /// An image without Python, which uv installs.
    Bare(String),
}

impl Default for Base {
    fn default() -> Self {
        Self::WithPython { image: PYTHON.to_owned(), python: "python".to_owned() }
    }
}

impl Base {
    /// Returns true for an image other than the default one whose tag has a Python version.
    pub(super) fn has_version(&self) -> bool {
        matches!(self, Self::WithPython { image, .. } if image != PYTHON && image.contains("{{python}}"))
    }

    /// Returns true for the official Python images on Debian, which have pip and Debian's paths of certificates.
    pub(super) fn is_debian_python(&self) -> bool {
        matches!(self, Self::WithPython { image, .. }
            if image.starts_with("python:{{python}}") && !image.contains("alpine"))
    }
}

pub(super) const COMMAND: &str = "`CMD`, which replaces the entrypoint of the base image";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Start {
    /// A line for a shell.
    Shell(String),
    /// A program and its arguments.
    Words(Vec<String>),
}

/// The parts of a Dockerfile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) base: Base,
    /// Whether there is a variant with CUDA's libraries.
    pub(super) gpu: bool,
    /// Arguments of `RUN` before the installation of packages.
    pub(super) before: Vec<String>,
    pub(super) packages: Vec<String>,
    /// Files that list Debian packages, below the templates' folder.
    pub(super) package_files: Vec<String>,
    /// Files of pip requirements, below the templates' folder.
    pub(super) requirements: Vec<String>,
    /// Names and values of `ENV`.
    pub(super) environment: Vec<(String, String)>,
    /// Arguments of `RUN` after the installation of packages.
    pub(super) after: Vec<String>,
    pub(super) port: Option<u16>,
    pub(super) user: Option<u32>,
    pub(super) start: Option<Start>,
}

impl Parts {
    /// Renders the template. The most frequently changed parts come last, so that they change few layers.
    pub(super) fn template(&self) -> String {
        let mut text = String::new();
        if self.gpu {
            text.push_str(&cuda_stage());
        }
        let (image, python) = match &self.base {
            Base::WithPython { image, python } => (image, python.as_str()),
            Base::Bare(image) => (image, "python"),
        };
        text.push_str("# The image.\n");
        writeln!(text, "FROM {image}").expect("writing to memory does not fail");
        for line in self.steps(python) {
            text.push_str(&line);
            text.push('\n');
        }
        text
    }

    /// Returns the Debian packages of programs that steps call and slim images do not have.
    fn tools(&self) -> Vec<&'static str> {
        let is_slim =
            matches!(&self.base, Base::WithPython { image, .. } if image.contains("-slim"));
        if !is_slim || !self.base.is_debian_python() {
            return Vec::new();
        }
        let steps = self.before.iter().chain(&self.after);
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let words: Vec<&str> = steps.flat_map(|step| step.split(|c| !is_word(c))).collect();
        let called = |tool: &&str| words.contains(tool) && !self.packages.iter().any(|p| p == tool);
        let mut tools: Vec<&str> = ["curl", "git", "wget"].into_iter().filter(called).collect();
        if !tools.is_empty() {
            tools.insert(0, "ca-certificates");
        }
        tools
    }

    /// Returns the instructions after `FROM`.
    fn steps(&self, python: &str) -> Vec<String> {
        let mut lines = Vec::new();
        let tools = self.tools();
        if !tools.is_empty() {
            lines.push("# Programs that the steps below need and the base image lacks.".to_owned());
            lines.push(install(&tools.join(" ")));
        }
        lines.extend(self.before.iter().map(|step| format!("RUN {step}")));
        lines.extend(self.debian_packages());
        lines.extend(self.added().iter().map(|line| (*line).to_owned()));
        let pip = |file: &String| pip_install(file, python, self.base.is_debian_python());
        lines.extend(self.requirements.iter().map(pip));
        lines.extend(self.environment.iter().map(|(name, value)| format!("ENV {name}={value}")));
        lines.extend(self.after.iter().map(|step| format!("RUN {step}")));
        lines.extend(self.running());
        lines
    }

    fn debian_packages(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.packages.is_empty() {
            lines.push(install(&self.packages.join(" ")));
        }
        for file in &self.package_files {
            lines.push(format!(
                "RUN --mount=type=bind,source={file},target=/run/packages.txt \\\n    \
                 apt-get update \\\n    \
                 && grep -v '^#' /run/packages.txt | xargs apt-get install --yes --no-install-recommends \\\n    \
                 && rm -rf /var/lib/apt/lists/*"
            ));
        }
        lines
    }

    /// A Python for a base that has none, and CUDA's libraries.
    fn added(&self) -> Vec<&'static str> {
        let mut lines = Vec::new();
        if matches!(self.base, Base::Bare(_)) {
            lines.extend([
                "COPY --link --from=ghcr.io/astral-sh/uv:0.8 /uv /usr/local/bin/uv",
                "ENV UV_PYTHON_INSTALL_DIR=/opt/python",
                "RUN uv venv --seed --python {{python}} /opt/venv",
                "ENV PATH=/opt/venv/bin:$PATH",
            ]);
        }
        if self.gpu {
            lines.extend([
                "{{#if gpu}}",
                "COPY --link --from=cuda /out/ /",
                "ENV LD_LIBRARY_PATH=/usr/local/cuda/lib64 \\",
                "    NVIDIA_VISIBLE_DEVICES=all \\",
                "    NVIDIA_DRIVER_CAPABILITIES=compute,utility",
                "{{/if}}",
            ]);
        }
        lines
    }

    /// Returns the instructions that configure containers.
    fn running(&self) -> Vec<String> {
        let mut lines = Vec::new();
        lines.extend(self.port.map(|port| format!("EXPOSE {port}")));
        lines.extend(self.user.map(|user| format!("USER {user}")));
        if let Some(start) = &self.start {
            let words: Vec<&str> = match start {
                Start::Shell(text) => vec!["/bin/sh", "-c", text],
                Start::Words(words) => words.iter().map(String::as_str).collect(),
            };
            // The entrypoint of the base image would receive the command as arguments.
            lines.push("ENTRYPOINT []".to_owned());
            lines.push(format!("CMD {}", list(&words)));
        }
        lines
    }
}

fn install(packages: &str) -> String {
    format!(
        "RUN apt-get update \\\n    && apt-get install --yes --no-install-recommends {packages} \\\n    \
         && rm -rf /var/lib/apt/lists/*"
    )
}

fn cuda_stage() -> String {
    format!(
        "{{{{#if gpu}}}}\n\
         # CUDA libraries from NVIDIA's wheels. One builder serves all Python versions, so GPU variants share one layer.\n\
         FROM {{{{cuda_builder}}}} AS cuda\n\
         RUN {CERTIFICATES} \\\n    \
         PIP_CERT=/etc/ssl/certs/ca-certificates.crt python -m pip install --no-cache-dir --no-deps \\\n    \
         --target /tmp/cuda{{{{#each cuda_libraries}}}} {{{{this}}}}{{{{/each}}}} \\\n    \
         && mkdir -p /out/usr/local/cuda/lib64 \\\n    \
         && cp /tmp/cuda/nvidia/*/lib/*.so* /out/usr/local/cuda/lib64/\n\n\
         {{{{/if}}}}\n"
    )
}

/// `has_certificates`: whether the image is known to have those of Debian where Debian has them.
fn pip_install(file: &str, python: &str, has_certificates: bool) -> String {
    let variable =
        if has_certificates { "PIP_CERT=/etc/ssl/certs/ca-certificates.crt " } else { "" };
    format!(
        "RUN --mount=type=bind,source={file},target=/run/requirements.txt \\\n    \
         {CERTIFICATES} \\\n    \
         {variable}{python} -m pip install --no-cache-dir -r /run/requirements.txt"
    )
}

/// Parses the name of a base image. If its tag begins with a Python version, returns that too, and `{{python}}` replaces it in
/// the name.
pub(super) fn base(image: &str) -> Result<(String, Option<String>), String> {
    refuse_scheme(image).map_err(|error| error.to_string())?;
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "._/:@-".contains(c);
    if !image.starts_with(|c: char| c.is_ascii_alphanumeric()) || !image.chars().all(is_allowed) {
        return Err(format!("`{}` is not the name of an image", image.escape_debug()));
    }
    match python_of(image) {
        Some(python) => {
            let (name, tag) = image.rsplit_once(':').unwrap_or((image, ""));
            Ok((format!("{name}:{{{{python}}}}{}", &tag[python.len()..]), Some(python)))
        }
        None => Ok((image.to_owned(), None)),
    }
}

/// Returns the version in the tag of an image with the name `python`.
pub(super) fn python_of(image: &str) -> Option<String> {
    let (name, tag) = image.rsplit_once(':')?;
    if name.rsplit('/').next() != Some("python") || image.contains('@') {
        return None;
    }
    let end = tag.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(tag.len());
    let version = &tag[..end];
    let is_end = tag[end..].is_empty() || tag[end..].starts_with('-');
    (is_python(version) && is_end).then(|| version.to_owned())
}

/// Returns true for a version such as `3.11` or `3.11.4`.
pub(super) fn is_python(version: &str) -> bool {
    let parts: Vec<&str> = version.split('.').collect();
    // Leading zeros would be lost.
    let is_number = |part: &&str| part.parse::<u32>().is_ok_and(|n| n.to_string() == *part);
    (2..=3).contains(&parts.len()) && parts.iter().all(is_number)
}

/// A Debian package, perhaps with its version.
pub(super) fn package(text: &str) -> Result<String, String> {
    let (name, version) = text.split_once('=').unwrap_or((text, ""));
    let is_name = |c: char| c.is_ascii_alphanumeric() || "+.-:".contains(c);
    let is_version = |c: char| c.is_ascii_alphanumeric() || "+.-:~*".contains(c);
    let is_good = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(is_name)
        && version.chars().all(is_version);
    if is_good {
        Ok(text.to_owned())
    } else {
        Err(format!("`{}` is not the name of a Debian package", text.escape_debug()))
    }
}

/// A line of a file of requirements.
pub(super) fn requirement(text: &str) -> Result<String, String> {
    const OPTIONS: [&str; 4] = ["--extra-index-url", "--index-url", "--find-links", "--pre"];
    refuse_invisible(text)?;
    let text = text.trim();
    let first = text.split([' ', '=']).next().unwrap_or_default();
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    if text.starts_with('-') && !OPTIONS.contains(&first) {
        return Err(format!("`{first}` is not supported in a requirement file"));
    }
    if holds_credential(text) {
        return Err(IN_URL.to_owned());
    }
    Ok(text.to_owned())
}

/// A variable of the image.
pub(super) fn variable(name: &str, value: &str) -> Result<(String, String), String> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty()
        || name.starts_with(|c: char| c.is_ascii_digit())
        || !name.chars().all(is_word)
    {
        return Err("it is not the name of a variable".to_owned());
    }
    refuse_in_variable(name, value)?;
    Ok((name.to_owned(), quoted(value)?))
}

/// A line that a container's shell runs.
pub(super) fn start(text: &str) -> Result<Start, String> {
    let text = text.trim();
    refuse_invisible(text)?;
    refuse_in_command(text)?;
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    Ok(Start::Shell(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_of_a_python_image_follows_the_axis() {
        let base = |image: &str| {
            let (image, python) = base(image).expect(image);
            format!("{image} {}", python.unwrap_or_default())
        };
        assert_eq!(base("python:3.11-slim"), "python:{{python}}-slim 3.11");
        assert_eq!(
            base("public.ecr.aws/lambda/python:3.11"),
            "public.ecr.aws/lambda/python:{{python}} 3.11"
        );
        assert_eq!(base("localhost:5000/python:3.11.4"), "localhost:5000/python:{{python}} 3.11.4");
        for image in [
            "python:3-slim",
            "python:latest",
            "python",
            "pytorch/pytorch:2.1",
            "python:3.12rc1",
            "python:3.011",
            "python:03.11",
            "python:3.99999999999",
            "python:3.11@sha256:0",
        ] {
            assert_eq!(base(image), format!("{image} "));
        }
        for image in ["", "-a", "a b", "a\nRUN b", "a$b", "{{a}}", "https://ghcr.io/a/b:1"] {
            assert!(super::base(image).is_err(), "{image:?}");
        }
    }

    #[test]
    fn packages_and_requirements_are_words_of_their_lists() {
        for text in ["curl", "libgl1=1.6.0-1", "g++", "libc6:amd64", "a=1:2.3~rc1-1+b2"] {
            assert_eq!(package(text).as_deref(), Ok(text));
        }
        for text in ["", "-y", "a b", "a;b", "$(a)", "a=`b`", "a\nb", "A|b"] {
            assert!(package(text).is_err(), "{text:?}");
        }
        for text in [
            "six==1.0",
            "a[b]>=1; python_version < \"4\"",
            "git+ssh://git@github.com/a/b",
            "a @ git+ssh://git@h:22/x@v1",
            "--extra-index-url https://a.example/simple",
        ] {
            assert_eq!(requirement(text).as_deref(), Ok(text));
        }
        for text in [
            "",
            "-r other.txt",
            "--trusted-host=a",
            "a\nb",
            "a @ https://me@a.example/b",
            "--index-url https://a:b@c/d",
            "a @ HTTPS://tok:sekret@h/x",
            "a @ Https://tok@h/x",
            "git+https://tok@h/x",
            "git+ssh://me:sekret@h/x",
            "a @ ftp://me:sekret@h",
        ] {
            assert!(requirement(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_command_replaces_the_entrypoint_of_the_base_image() {
        let mut parts = Parts::default();
        assert!(!parts.template().contains("ENTRYPOINT"));
        parts.start = Some(Start::Words(vec!["a".to_owned(), "{{b}}".to_owned()]));
        assert!(parts.template().ends_with("\nENTRYPOINT []\nCMD [\"a\",\"\\{{b}}\"]\n"));
    }

    #[test]
    fn variables_keep_their_values() {
        let value = |text| variable("A", text).expect(text).1;
        assert_eq!(value("a \"b\" $C \\ {{d}}"), r#""a \"b\" \$C \\ \{{d}}""#);
        for name in ["", "1A", "A B", "A=B", "A-B"] {
            assert!(variable(name, "").is_err(), "{name:?}");
        }
    }

    #[test]
    fn steps_have_the_programs_that_they_call() {
        let after = vec!["git clone x && cd curly".to_owned()];
        let mut parts = Parts { after, ..Parts::default() };
        assert_eq!(parts.tools(), ["ca-certificates", "git"]);
        parts.packages = vec!["git".to_owned()];
        assert!(parts.tools().is_empty());
        parts.base = Base::Bare("ubuntu".to_owned());
        parts.packages.clear();
        assert!(parts.tools().is_empty());
    }
}
