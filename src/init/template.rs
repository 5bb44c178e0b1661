//! What a configuration asks for, as the template of a Dockerfile.

use std::fmt::Write as _;

use super::literal::{list, quoted, refuse_invisible};

/// The secret that the certificates of a network are mounted as: docs/matrix.md, `[build]`.
const CERTIFICATES: &str = "--mount=type=secret,id=ca_certificates,\
    target=/etc/ssl/certs/ca-certificates.crt,required=false";

/// Python's own image, when nothing else is asked for.
pub(super) const PYTHON: &str = "python:{{python}}-slim-bookworm";

/// Where Python comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Base {
    /// An image with this Python in it, called so.
    WithPython { image: String, python: String },
    /// An image that uv puts one into.
    Bare(String),
}

impl Base {
    /// Whether it is one of Python's own images, on Debian: it has pip, and certificates where
    /// Debian has them.
    pub(super) fn is_debian_python(&self) -> bool {
        matches!(self, Self::WithPython { image, .. }
            if image.starts_with("python:{{python}}") && !image.contains("alpine"))
    }
}

/// What a container of the image runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Start {
    /// A line for a shell.
    Shell(String),
    /// A program and its arguments.
    Words(Vec<String>),
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) base: Base,
    /// Whether there is a variant with CUDA's libraries.
    pub(super) gpu: bool,
    /// Steps before anything is installed, as they stand behind `RUN`.
    pub(super) before: Vec<String>,
    /// Debian packages.
    pub(super) packages: Vec<String>,
    /// Files that list Debian packages, below the templates' folder.
    pub(super) package_files: Vec<String>,
    /// Files of pip requirements, below the templates' folder.
    pub(super) requirements: Vec<String>,
    /// Names and values as they stand behind `ENV`.
    pub(super) environment: Vec<(String, String)>,
    /// Steps when all is installed.
    pub(super) after: Vec<String>,
    pub(super) port: Option<u16>,
    pub(super) user: Option<u32>,
    pub(super) start: Option<Start>,
}

impl Parts {
    pub(super) fn new() -> Self {
        let base = Base::WithPython { image: PYTHON.to_owned(), python: "python".to_owned() };
        Self {
            base,
            gpu: false,
            before: Vec::new(),
            packages: Vec::new(),
            package_files: Vec::new(),
            requirements: Vec::new(),
            environment: Vec::new(),
            after: Vec::new(),
            port: None,
            user: None,
            start: None,
        }
    }

    /// The template. What changes most often comes last, so that it changes few layers.
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
        self.steps(&mut text, python);
        text
    }

    /// The Debian packages of the programs that steps call and a slim image has none of. The
    /// platforms' own bases have them.
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

    fn steps(&self, text: &mut String, python: &str) {
        let mut line = |line: &str| {
            text.push_str(line);
            text.push('\n');
        };
        let tools = self.tools();
        if !tools.is_empty() {
            line("# What the steps below call, and this image does not have.");
            line(&install(&tools.join(" ")));
        }
        self.before.iter().for_each(|step| line(&format!("RUN {step}")));
        if !self.packages.is_empty() {
            line(&install(&self.packages.join(" ")));
        }
        for file in &self.package_files {
            line(&format!(
                "RUN --mount=type=bind,source={file},target=/run/packages.txt \\\n    \
                 apt-get update \\\n    \
                 && grep -v '^#' /run/packages.txt | xargs apt-get install --yes --no-install-recommends \\\n    \
                 && rm -rf /var/lib/apt/lists/*"
            ));
        }
        if matches!(self.base, Base::Bare(_)) {
            line("COPY --link --from=ghcr.io/astral-sh/uv:0.8 /uv /usr/local/bin/uv");
            line("ENV UV_PYTHON_INSTALL_DIR=/opt/python");
            line("RUN uv venv --seed --python {{python}} /opt/venv");
            line("ENV PATH=/opt/venv/bin:$PATH");
        }
        if self.gpu {
            line("{{#if gpu}}");
            line("COPY --link --from=cuda /out/ /");
            line("ENV LD_LIBRARY_PATH=/usr/local/cuda/lib64 \\");
            line("    NVIDIA_VISIBLE_DEVICES=all \\");
            line("    NVIDIA_DRIVER_CAPABILITIES=compute,utility");
            line("{{/if}}");
        }
        for file in &self.requirements {
            line(&pip_install(file, python, self.base.is_debian_python()));
        }
        for (name, value) in &self.environment {
            line(&format!("ENV {name}={value}"));
        }
        self.after.iter().for_each(|step| line(&format!("RUN {step}")));
        if let Some(port) = self.port {
            line(&format!("EXPOSE {port}"));
        }
        if let Some(user) = self.user {
            line(&format!("USER {user}"));
        }
        match &self.start {
            Some(Start::Shell(text)) => {
                line(&format!("CMD {}", list(&["/bin/sh", "-c", text])));
            }
            Some(Start::Words(words)) => {
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                line(&format!("CMD {}", list(&words)));
            }
            None => {}
        }
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
         # CUDA's libraries from NVIDIA's wheels, by one builder whatever the Python: one layer for all variants.\n\
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
    let variable = match has_certificates {
        true => "PIP_CERT=/etc/ssl/certs/ca-certificates.crt ",
        false => "",
    };
    format!(
        "RUN --mount=type=bind,source={file},target=/run/requirements.txt \\\n    \
         {CERTIFICATES} \\\n    \
         {variable}{python} -m pip install --no-cache-dir -r /run/requirements.txt"
    )
}

/// The base that an image's name asks for, and the Python that the name tells of: another
/// Python is another tag of the same image.
pub(super) fn base(image: &str) -> Result<(String, Option<String>), String> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "._/:@-".contains(c);
    if !image.starts_with(|c: char| c.is_ascii_alphanumeric()) || !image.chars().all(is_allowed) {
        return Err(format!("`{}` is no image's name", image.escape_debug()));
    }
    match python_of(image) {
        Some(python) => {
            let (name, tag) = image.rsplit_once(':').unwrap_or((image, ""));
            Ok((format!("{name}:{{{{python}}}}{}", &tag[python.len()..]), Some(python)))
        }
        None => Ok((image.to_owned(), None)),
    }
}

/// The version in the tag of an image that is called `python`.
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

/// Whether this is a version such as `3.11` or `3.11.4`.
pub(super) fn is_python(version: &str) -> bool {
    let parts: Vec<&str> = version.split('.').collect();
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
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
    match is_good {
        true => Ok(text.to_owned()),
        false => Err(format!("`{}` is no Debian package's name", text.escape_debug())),
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
        return Err(format!("`{first}` is an option of pip that a list does not need"));
    }
    if holds_credential(text) {
        return Err("its URL holds a credential, which would be in the repository; mount a secret"
            .to_owned());
    }
    Ok(text.to_owned())
}

/// Whether there is a URL with a user and a host: `https://token@example.org`.
fn holds_credential(text: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| {
        text.match_indices(scheme).any(|(at, _)| {
            let authority = text[at + scheme.len()..].split(['/', ' ', '?', '#']).next();
            authority.is_some_and(|authority| authority.contains('@'))
        })
    })
}

/// A variable of the image.
pub(super) fn variable(name: &str, value: &str) -> Result<(String, String), String> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty()
        || name.starts_with(|c: char| c.is_ascii_digit())
        || !name.chars().all(is_word)
    {
        return Err("that is no variable's name".to_owned());
    }
    Ok((name.to_owned(), quoted(value)?))
}

/// A line that a container's shell runs.
pub(super) fn start(text: &str) -> Result<Start, String> {
    let text = text.trim();
    refuse_invisible(text)?;
    match text.is_empty() {
        true => Err("it is empty".to_owned()),
        false => Ok(Start::Shell(text.to_owned())),
    }
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
            "python:3.11@sha256:0",
        ] {
            assert_eq!(base(image), format!("{image} "));
        }
        for image in ["", "-a", "a b", "a\nRUN b", "a$b", "{{a}}"] {
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
        ] {
            assert!(requirement(text).is_err(), "{text:?}");
        }
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
        let mut parts = Parts::new();
        parts.after = vec!["git clone x && cd curly".to_owned()];
        assert_eq!(parts.tools(), ["ca-certificates", "git"]);
        parts.packages = vec!["git".to_owned()];
        assert!(parts.tools().is_empty());
        parts.base = Base::Bare("ubuntu".to_owned());
        parts.packages.clear();
        assert!(parts.tools().is_empty());
    }
}
