//! Writes the matrix file and the other generated files of a new repository.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use toml::Value as Toml;

use super::error::InitError;
use super::project::Project;
use super::{Files, Import, ImportedImage, Python, workflow};
use crate::matrix;
use crate::render::RenderedFile;

/// The folder of the templates.
const TEMPLATES: &str = "dockerfiles";

const PYTHONS: [&str; 3] = ["3.11", "3.12", "3.13"];

/// The settings of the starter image.
const STARTER: &str = include_str!("starter.toml");

/// The text of its file of requirements.
const REQUIREMENTS: &str = "# The Python packages of every image, in pip's format. `pip-compile --generate-hashes` pins them.\n";

/// The first version of a new repository.
const FIRST_VERSION: &str = "0.1.0\n";

/// The comment with the tool that installs conda packages.
const MICROMAMBA: &str = "\n# Conda packages need micromamba: fill in the URL and the SHA-256 of a release for Linux, and remove the `# ` here\n\
                          # and before `conda`.\n\
                          # [build.tools.micromamba.\"linux/amd64\"]\n\
                          # url = \"https://…/micromamba-linux-64\"\n\
                          # sha256 = \"…\"\n";

/// A setting that is written as a comment, because it needs a tool that only the user can name.
const COMMENTED: &str = "conda";

/// The settings in the order in which they are written. Tables come last.
const SETTINGS: [&str; 20] = [
    "base",
    "dockerfile",
    "context",
    "dockerignore",
    "pre_build_commands",
    "apt",
    "conda",
    "pip",
    "workdir",
    "files",
    "shell_commands",
    "user",
    "entrypoint",
    "cmd",
    "expose",
    "compression",
    "force_compression",
    "mirror",
    "args",
    "env",
];

/// Generates the files of a repository with the imported images, or with a starter image if there are none. The files that
/// images copy are not among them.
pub(super) fn compose(project: &Project, images: &[Import]) -> Result<Files, InitError> {
    check_names(images)?;
    let mut files = Files::new();
    let mut add = |path: &str, text: String| {
        files.insert(PathBuf::from(path), RenderedFile::plain(text.into_bytes()));
    };
    add("matrix.toml", text(project, images)?);
    add("matrix.schema.json", matrix::json_schema());
    if project.version.is_none() {
        add("VERSION", FIRST_VERSION.to_owned());
    }
    if images.is_empty() {
        add(&format!("{TEMPLATES}/requirements.txt"), REQUIREMENTS.to_owned());
    }
    for ImportedImage { name, template, ignore_file, .. } in images.iter().map(|one| &one.image) {
        if let Some(template) = template {
            add(&format!("{TEMPLATES}/{}", template_name(name)), template.clone());
        }
        if let Some(patterns) = ignore_file {
            add(&format!("{TEMPLATES}/{name}.Dockerfile.dockerignore"), patterns.clone());
        }
    }
    if project.takes_workflows {
        add(workflow::PATH, workflow::workflow(project));
    }
    Ok(files)
}

fn template_name(image: &str) -> String {
    format!("{image}.Dockerfile.hbs")
}

fn check_names(images: &[Import]) -> Result<(), InitError> {
    for (index, second) in images.iter().enumerate() {
        let name = &second.image.name;
        if let Some(first) = images[..index].iter().find(|first| first.image.name == *name) {
            let (first, second) = (first.origin.clone(), second.origin.clone());
            return Err(InitError::SameName { first, second, name: name.clone() });
        }
    }
    Ok(())
}

fn text(project: &Project, images: &[Import]) -> Result<String, InitError> {
    let mut text = String::from(
        "#:schema ./matrix.schema.json\n\
         # Defines the images: their names, axes, contents and checks. `basegen plan` lists them.\n\n",
    );
    write_image(&mut text, project, images);
    if images.is_empty() {
        text.push_str(STARTER);
    } else {
        let axes = Axes::new(images);
        axes.write(&mut text);
        axes.write_rules(&mut text);
    }
    write_version(&mut text, project);
    write_build(&mut text, images)?;
    Ok(text)
}

fn write_image(text: &mut String, project: &Project, images: &[Import]) {
    text.push_str("[image]\n");
    let Project { registry, repository, owner, takes_workflows, .. } = project;
    if let Some(registry) = registry {
        line(text, "registry", &registry.as_str().into());
    } else {
        let login = if *takes_workflows {
            format!(" For another one, also change the login in {}.", workflow::PATH)
        } else {
            String::new()
        };
        let _ = write!(text, "# The default is Docker Hub.{login}\n# registry = \"ghcr.io\"\n");
    }
    if images.is_empty() {
        return line(text, "repository", &repository.as_str().into());
    }
    line(text, "repository", &format!("{owner}/{{{{image}}}}").into());
    match images {
        [image] => write_settings(text, "image", &settings(image)),
        _ => text.push('\n'),
    }
}

/// Returns the settings of an image, with its Dockerfile in the new repository.
fn settings(import: &Import) -> toml::Table {
    let mut settings = import.image.settings.clone();
    if import.image.template.is_some() {
        settings.insert("dockerfile".to_owned(), template_name(&import.image.name).into());
    }
    settings
}

/// Writes settings below the header of `table`, and those that are tables below their own.
fn write_settings(text: &mut String, table: &str, settings: &toml::Table) {
    let of_order = || SETTINGS.iter().filter_map(|key| Some((*key, settings.get(*key)?)));
    debug_assert_eq!(of_order().count(), settings.len(), "a setting has no place: {settings:?}");
    for (key, value) in of_order().filter(|(_, value)| !value.is_table()) {
        let mut setting = String::new();
        line(&mut setting, key, value);
        write_setting(text, key, &setting);
    }
    for (key, entries) in of_order().filter_map(|(key, value)| Some((key, value.as_table()?))) {
        let mut setting = format!("[{table}.{key}]\n");
        for (name, value) in entries {
            line(&mut setting, &quoted_key(name), value);
        }
        text.push('\n');
        write_setting(text, key, &setting);
    }
    text.push('\n');
}

/// Writes the lines of a setting, perhaps as a comment.
fn write_setting(text: &mut String, key: &str, setting: &str) {
    for line in setting.lines() {
        let before = if key == COMMENTED { "# " } else { "" };
        let _ = writeln!(text, "{before}{line}");
    }
}

/// The axes of the imported images.
struct Axes<'a> {
    images: &'a [Import],
    /// The versions of Python in their order, and `false` if an image has its own Python; empty without an axis.
    pythons: Vec<Toml>,
    gpus: BTreeSet<bool>,
}

impl<'a> Axes<'a> {
    fn new(images: &'a [Import]) -> Self {
        let versions = images.iter().filter_map(|import| {
            let Python::Version(version) = &import.image.python else { return None };
            let numbers = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
            Some((numbers.collect::<Vec<_>>(), version.as_str()))
        });
        let versions: BTreeMap<Vec<u32>, &str> = versions.collect();
        let mut pythons: Vec<Toml> = versions.into_values().map(Toml::from).collect();
        let has = |python: Python| images.iter().any(|import| import.image.python == python);
        if pythons.is_empty() && has(Python::Any) {
            pythons = PYTHONS.map(Toml::from).to_vec();
        }
        if !pythons.is_empty() && has(Python::OfBase) {
            pythons.push(false.into());
        }
        let gpus: BTreeSet<bool> = images.iter().map(|import| import.image.gpu).collect();
        Self { images, pythons, gpus }
    }

    fn has_gpu(&self) -> bool {
        self.gpus.contains(&true)
    }

    fn write(&self, text: &mut String) {
        text.push_str(
            "# Every combination of values is an image. Tags list the values in the order of the axes: 3.11-gpu.\n[axes]\n",
        );
        // The name of the repository contains the name of the image.
        let names = self.images.iter();
        let names =
            names.map(|import| format!("{{ value = \"{}\", tag = \"\" }}", import.image.name));
        let _ = writeln!(text, "image = [{}]", names.collect::<Vec<_>>().join(", "));
        if !self.pythons.is_empty() {
            let is_any = |import: &&Import| import.image.python == Python::Any;
            if let Some(Import { origin, .. }) = self.images.iter().find(is_any) {
                let _ = writeln!(
                    text,
                    "# {origin} has no `python_version`: keep the versions that you need."
                );
            }
            line(text, "python", &Toml::Array(self.pythons.clone()));
        }
        if self.has_gpu() {
            let values = self.gpus.iter().map(|gpu| Toml::Boolean(*gpu));
            line(text, "gpu", &Toml::Array(values.collect()));
        }
        text.push('\n');
    }

    /// Writes the settings of several images, and excludes the combinations that no file describes.
    fn write_rules(&self, text: &mut String) {
        for import in self.images.iter().filter(|_| self.images.len() > 1) {
            let _ = writeln!(text, "[[set]]\nwhen = {{ image = \"{}\" }}", import.image.name);
            write_settings(text, "set", &settings(import));
        }
        let is_generated = |import: &&Import| settings(import).contains_key("base");
        if self.images.iter().filter(is_generated).any(|import| import.image.gpu) {
            text.push_str(
                "# The container runtime adds the driver. Packages such as torch bring CUDA's libraries.\n\
                 [[set]]\n\
                 when = { gpu = true }\n\
                 env = { NVIDIA_VISIBLE_DEVICES = \"all\", NVIDIA_DRIVER_CAPABILITIES = \"compute,utility\" }\n\n",
            );
        }
        for import in self.images {
            self.write_excludes(text, import);
        }
        if !self.pythons.is_empty() {
            let when = if self.pythons.contains(&Toml::Boolean(false)) {
                "when = { python = \">=3\" }\n"
            } else {
                ""
            };
            let _ = write!(
                text,
                "# Checks that run in a container of each image. Images are published only if all of their checks pass.\n\
                 [[verify]]\n\
                 name = \"python\"\n{when}\
                 run = [\"python\", \"-c\", \"import sys; found = '%d.%d.%d.' % sys.version_info[:3]; assert found.startswith('{{{{python}}}}.'), found\"]\n\n",
            );
        }
    }

    fn write_excludes(&self, text: &mut String, import: &Import) {
        let Import { origin, image, .. } = import;
        let mut exclude = |axis: &str, values: Vec<Toml>, reason: &str| {
            if !values.is_empty() {
                let values = match values.as_slice() {
                    [only] => only.clone(),
                    _ => Toml::Array(values),
                };
                let reason = Toml::String(format!("{origin} {reason}"));
                let _ = write!(
                    text,
                    "[[exclude]]\nwhen = {{ image = \"{}\", {axis} = {values} }}\nreason = {reason}\n\n",
                    image.name
                );
            }
        };
        let is_other = |python: &&Toml| match &image.python {
            Python::OfBase => python.is_str(),
            Python::Any => python.is_bool(),
            Python::Version(version) => python.as_str() != Some(version),
        };
        let reason = match &image.python {
            Python::OfBase => "has the Python of its base image".to_owned(),
            Python::Any => "needs a version of Python".to_owned(),
            Python::Version(version) => format!("requests Python {version}"),
        };
        exclude("python", self.pythons.iter().filter(is_other).cloned().collect(), &reason);
        let others = self.gpus.iter().filter(|gpu| **gpu != image.gpu && self.has_gpu());
        let reason = if image.gpu { "requests a GPU" } else { "requests no GPU" };
        exclude("gpu", others.map(|gpu| Toml::Boolean(*gpu)).collect(), reason);
    }
}

fn write_version(text: &mut String, project: &Project) {
    text.push_str("# The version in the tags.\n[version]\n");
    let place = project.version.as_ref();
    line(text, "file", &place.map_or("VERSION", |place| place.file.as_str()).into());
    if let Some(key) = place.and_then(|place| place.key.as_deref()) {
        line(text, "key", &key.into());
    }
    if !place.is_some_and(|place| place.has_prefix) {
        text.push_str("prefix = \"v\"\n");
    }
    text.push('\n');
}

fn write_build(text: &mut String, images: &[Import]) -> Result<(), InitError> {
    text.push_str(
        "# For networks that intercept TLS: build steps trust the certificates in the file that SSL_CERT_FILE names.\n\
         [build]\nca_certificates = \"auto\"\n",
    );
    if images.iter().any(|import| import.image.settings.contains_key(COMMENTED)) {
        text.push_str(MICROMAMBA);
    }
    let logins = images.iter().flat_map(|import| {
        let place = |line: usize| format!("{}:{line}", import.origin);
        let logins = import.image.logins.iter();
        logins.map(move |login| (login.host.as_str(), (place(login.line), &login.keys)))
    });
    for (host, keys) in agreed(logins, "registry")? {
        let _ = writeln!(text, "\n[registries.{}]", quoted_key(host));
        for (key, value) in keys {
            line(text, key, &value.as_str().into());
        }
    }
    let secrets = images.iter().flat_map(|import| {
        let secrets = import.image.secrets.iter();
        secrets.map(|(id, variable)| (id.as_str(), (import.origin.clone(), variable)))
    });
    let secrets = agreed(secrets, "build secret")?;
    if !secrets.is_empty() {
        text.push_str(
            "\n# The secrets that build steps mount, and the environment variables that contain them.\n[build.secrets]\n",
        );
    }
    for (id, variable) in secrets {
        let variable = Toml::from(variable.as_str());
        let _ = writeln!(text, "{} = {{ env = {variable} }}", quoted_key(id));
    }
    Ok(())
}

/// Returns the credentials by name. Refuses files that have different ones for the same `kind`.
fn agreed<'a, T: PartialEq + ?Sized>(
    all: impl Iterator<Item = (&'a str, (String, &'a T))>,
    kind: &'static str,
) -> Result<BTreeMap<&'a str, &'a T>, InitError> {
    let mut known: BTreeMap<&str, (String, &T)> = BTreeMap::new();
    for (name, (second, credentials)) in all {
        match known.get(name) {
            Some((first, other)) if *other != credentials => {
                let (first, name) = (first.clone(), name.to_owned());
                return Err(InitError::Credentials { first, second, kind, name });
            }
            Some(_) => {}
            None => drop(known.insert(name, (second, credentials))),
        }
    }
    Ok(known.into_iter().map(|(name, (_, credentials))| (name, credentials)).collect())
}

/// The length of an array from which each item has a line of its own.
const MAX_LINE: usize = 100;

/// Writes a key and its value.
fn line(text: &mut String, key: &str, value: &Toml) {
    let written = match value {
        Toml::String(value) if is_plain_text(value) => format!("'''\n{value}'''"),
        value => value.to_string(),
    };
    match value {
        Toml::Array(items) if key.len() + written.len() > MAX_LINE => {
            let items: String = items.iter().map(|item| format!("    {item},\n")).collect();
            let _ = write!(text, "{key} = [\n{items}]\n");
        }
        _ => {
            let _ = writeln!(text, "{key} = {written}");
        }
    }
}

/// Returns true for a text of several lines that TOML can contain as it is.
fn is_plain_text(text: &str) -> bool {
    let is_line = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
    text.contains('\n')
        && !text.contains("'''")
        && !text.ends_with('\'')
        && text.chars().all(is_line)
}

fn quoted_key(key: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    let is_option = key.starts_with('-');
    if !key.is_empty() && key.chars().all(is_bare) && !is_option {
        key.to_owned()
    } else {
        Toml::String(key.to_owned()).to_string()
    }
}
