//! Writes the matrix file and the other generated files of a new repository.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::dockerfile::secret_variable;
use super::error::InitError;
use super::import::TEMPLATES;
use super::project::Project;
use super::template::Parts;
use super::{Import, ImportedImage, NewFile, workflow};
use crate::matrix;

const PYTHONS: [&str; 3] = ["3.11", "3.12", "3.13"];

/// The first version of a new repository.
const FIRST_VERSION: &str = "0.1.0\n";

/// Generates the files of a repository with the imported images, or with a starter image if there
/// are none. The files that images copy are not among them.
pub(super) fn compose(project: &Project, images: &[Import]) -> Result<Vec<NewFile>, InitError> {
    let starter = [Import { origin: String::new(), image: starter(), files: Vec::new() }];
    let (images, is_starter) = match images {
        [] => (&starter[..], true),
        images => (images, false),
    };
    check_names(images)?;
    let plan = MatrixText { project, images, is_starter, pythons: axis(images)? };
    let mut files =
        vec![file("matrix.toml", plan.text()), file("matrix.schema.json", matrix::json_schema())];
    if project.version.is_none() {
        files.push(file("VERSION", FIRST_VERSION.to_owned()));
    }
    for Import { image: imported, .. } in images {
        let name = if is_starter { "base" } else { &imported.name };
        let template = format!("{TEMPLATES}/{name}.Dockerfile.hbs");
        files.push(file(&template, imported.template.clone()));
        let made = imported.files.iter();
        files.extend(made.map(|(path, text)| file(&format!("{TEMPLATES}/{path}"), text.clone())));
    }
    if project.takes_workflows {
        files.push(file(workflow::PATH, workflow::workflow(project)));
    }
    Ok(files)
}

fn file(path: &str, text: String) -> NewFile {
    NewFile { path: path.to_owned(), content: text.into_bytes(), executable: false }
}

/// An image to begin with: Python, with and without CUDA, and a list of requirements.
fn starter() -> ImportedImage {
    let requirements = vec!["requirements.txt".to_owned()];
    let parts = Parts { gpu: true, requirements, ..Parts::default() };
    let text = "# The Python packages of every image, in pip's format. `pip-compile --generate-hashes` pins them.\n";
    ImportedImage {
        name: "base".to_owned(),
        pythons: PYTHONS.map(str::to_owned).to_vec(),
        gpu: true,
        template: parts.template(),
        files: vec![("requirements.txt".to_owned(), text.to_owned())],
        ..ImportedImage::default()
    }
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

/// The values of the axis `python`, in the order of versions; none where no image has one.
fn axis(images: &[Import]) -> Result<Vec<String>, InitError> {
    let follows = |import: &&Import| import.image.template.contains("{{python}}");
    let with = images.iter().find(follows);
    let without = images.iter().find(|image| !follows(image));
    if let (Some(with), Some(without)) = (with, without) {
        let (with, without) = (with.origin.clone(), without.origin.clone());
        return Err(InitError::Pythons { with, without });
    }
    if with.is_none() {
        return Ok(Vec::new());
    }
    let all: BTreeSet<Vec<u32>> = images
        .iter()
        .flat_map(|import| pythons(&import.image))
        .map(|version| version.split('.').map(|part| part.parse().unwrap_or(0)).collect())
        .collect();
    let text = |version: Vec<u32>| version.iter().map(u32::to_string).collect::<Vec<_>>().join(".");
    Ok(all.into_iter().map(text).collect())
}

fn pythons(imported: &ImportedImage) -> Vec<String> {
    if imported.pythons.is_empty() {
        PYTHONS.map(str::to_owned).to_vec()
    } else {
        imported.pythons.clone()
    }
}

struct MatrixText<'a> {
    project: &'a Project,
    images: &'a [Import],
    is_starter: bool,
    pythons: Vec<String>,
}

impl MatrixText<'_> {
    fn text(&self) -> String {
        let mut text = String::from(
            "#:schema ./matrix.schema.json\n\
             # Defines the images: their names, axes, contents and checks. `basegen plan` lists them.\n\n",
        );
        self.image(&mut text);
        self.axes(&mut text);
        self.rules(&mut text);
        self.checks(&mut text);
        self.version(&mut text);
        self.build(&mut text);
        text
    }

    fn image(&self, text: &mut String) {
        text.push_str("[image]\n");
        let Project { registry, repository, owner, takes_workflows, .. } = self.project;
        if let Some(registry) = registry {
            let _ = writeln!(text, "registry = {}", quoted(registry));
        } else {
            let login = if *takes_workflows {
                format!(" For another one, also change the login in {}.", workflow::PATH)
            } else {
                String::new()
            };
            let _ = write!(text, "# The default is Docker Hub.{login}\n# registry = \"ghcr.io\"\n");
        }
        let (repository, dockerfile, title) = if self.is_starter {
            (repository.clone(), "base", "{{variant}}")
        } else {
            (format!("{owner}/{{{{image}}}}"), "{{image}}", "{{image}} {{variant}}")
        };
        let _ = write!(
            text,
            "repository = \"{repository}\"\n\
             tag = \"{{{{variant}}}}-{{{{version}}}}\"\n\
             dockerfile = \"{dockerfile}.Dockerfile.hbs\"\n\
             platforms = [\"linux/amd64\"]\n\n\
             [image.labels]\n\
             \"org.opencontainers.image.title\" = \"{title}\"\n\n"
        );
    }

    fn axes(&self, text: &mut String) {
        text.push_str("# Every combination of values is an image. Tags list the values in the order of the axes: 3.11-gpu.\n[axes]\n");
        if !self.is_starter {
            let names = self.images.iter().map(|import| {
                // The name of the repository contains it.
                let tag = if self.has_other_axes() { ", tag = \"\"" } else { "" };
                format!("{{ value = {}{tag} }}", quoted(&import.image.name))
            });
            let _ = writeln!(text, "image = [{}]", names.collect::<Vec<_>>().join(", "));
        }
        if !self.pythons.is_empty() {
            let values: Vec<String> = self.pythons.iter().map(|version| quoted(version)).collect();
            let _ = writeln!(text, "python = [{}]", values.join(", "));
        }
        if self.has_gpu() {
            text.push_str("gpu = [false, true]\n");
        }
        text.push('\n');
        if self.has_gpu() {
            text.push_str(
                "# CUDA libraries, from NVIDIA's Python wheels. Each `[[set]]` sets variables of the images that match `when`.\n\
                 [[set]]\n\
                 when = { gpu = true }\n\
                 [set.variables]\n\
                 cuda_builder = \"python:3.11-slim-bookworm\"\n\
                 cuda_libraries = [\"nvidia-cuda-runtime-cu12==12.8.90\", \"nvidia-cublas-cu12==12.8.4.1\"]\n\n",
            );
        }
    }

    fn has_gpu(&self) -> bool {
        self.images.iter().any(|import| import.image.gpu)
    }

    fn has_other_axes(&self) -> bool {
        !self.pythons.is_empty() || self.has_gpu()
    }

    /// Excludes the combinations that no origin requests.
    fn rules(&self, text: &mut String) {
        for Import { origin, image: imported, .. } in self.images {
            let mut rule = |axis: &str, reason: &str| {
                let (name, reason) =
                    (quoted(&imported.name), quoted(&format!("{origin} {reason}")));
                let _ = write!(
                    text,
                    "[[exclude]]\nwhen = {{ image = {name}, {axis} }}\nreason = {reason}\n\n"
                );
            };
            let wanted = pythons(imported);
            let others = self.pythons.iter().filter(|version| !wanted.contains(version));
            let others: Vec<String> = others.map(|version| quoted(version)).collect();
            if !others.is_empty() {
                let reason = format!("requests Python {}", wanted.join(", "));
                rule(&format!("python = [{}]", others.join(", ")), &reason);
            }
            if self.has_gpu() && !imported.gpu {
                rule("gpu = true", "requests no GPU");
            }
        }
    }

    fn checks(&self, text: &mut String) {
        if !self.pythons.is_empty() {
            text.push_str(
                "# Checks that run in a container of each image. Images are published only if all of their checks pass.\n\
                 [[verify]]\n\
                 name = \"python\"\n\
                 run = [\"python\", \"-c\", \"import sys; found = '%d.%d.%d.' % sys.version_info[:3]; assert found.startswith('{{python}}.'), found\"]\n\n",
            );
        }
        if self.is_starter {
            text.push_str("[[verify]]\nname = \"requirements\"\nrun = \"python -m pip check\"\n\n");
        }
    }

    fn version(&self, text: &mut String) {
        text.push_str("# The version in the tags.\n[version]\n");
        let place = self.project.version.as_ref();
        let file = place.map_or("VERSION", |place| place.file.as_str());
        let _ = writeln!(text, "file = {}", quoted(file));
        if let Some(key) = place.and_then(|place| place.key.as_deref()) {
            let _ = writeln!(text, "key = {}", quoted(key));
        }
        if !place.is_some_and(|place| place.has_prefix) {
            text.push_str("prefix = \"v\"\n");
        }
        text.push('\n');
    }

    fn build(&self, text: &mut String) {
        text.push_str(
            "# For networks that intercept TLS: build steps trust the certificates in the file that SSL_CERT_FILE names.\n\
             [build]\nca_certificates = \"auto\"\n",
        );
        let logins = self.images.iter().flat_map(|import| &import.image.registries);
        let logins: BTreeMap<&String, &Vec<(String, String)>> =
            logins.map(|(host, keys)| (host, keys)).collect();
        for (host, keys) in logins {
            let _ = writeln!(text, "\n[registries.{}]", quoted(host));
            for (key, value) in keys {
                let _ = writeln!(text, "{key} = {}", quoted(value));
            }
        }
        let ids: BTreeSet<&String> =
            self.images.iter().flat_map(|import| &import.image.secrets).collect();
        if !ids.is_empty() {
            text.push_str(
                "\n# The secrets that build steps mount, and the environment variables that contain them.\n[build.secrets]\n",
            );
        }
        for id in ids {
            let variable = quoted(&secret_variable(id));
            let _ = writeln!(text, "{} = {{ env = {variable} }}", quoted(id));
        }
    }
}

/// A text as TOML writes it.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
