//! Imports a file with the images that it describes.

use std::path::Path;

use super::base::DEFAULT;
use super::error::InitError;
use super::reader::{self, Keys, slug};
use super::{ImportedImage, MAX_ORIGIN, Python, cerebrium, dockerfile, fal, truss};
use crate::files::read_text;
use crate::matrix::{Format, Node, SourceError, SourceFile, read_data};

/// An image that a file describes.
#[derive(Debug, Clone)]
pub(crate) struct Import {
    /// The path of the imported file, as the user wrote it.
    pub(crate) origin: String,
    pub(crate) image: ImportedImage,
}

impl Import {
    /// Reads the file at `path`. Its images copy files from `context`, or from the folder of the file.
    pub(crate) fn load(path: &Path, context: Option<&Path>) -> Result<Vec<Self>, InitError> {
        let text = read_text(path, MAX_ORIGIN)?;
        let source = SourceFile::new(path, text.strip_prefix('\u{feff}').unwrap_or(&text));
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let images = read(&source, &name_of(&absolute), context)?;
        let origin = path.display().to_string();
        Ok(images.into_iter().map(|image| Self { origin: origin.clone(), image }).collect())
    }
}

/// Reads a file by its ending: `.yaml` and `.yml` are Truss', `.toml` is Cerebrium's, `.py` is an app of fal, and everything
/// else is a Dockerfile. `name` is the name of an image if the file has none. Images copy files from `context`, or from the
/// folder of the file.
fn read(
    source: &SourceFile,
    name: &str,
    context: Option<&Path>,
) -> Result<Vec<ImportedImage>, InitError> {
    let path = source.path.as_path();
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let folder = folder.unwrap_or(Path::new("."));
    let kind = |expected| InitError::Kind { path: path.display().to_string(), expected };
    let mut imported = ImportedImage {
        name: slug(name),
        context: context.unwrap_or(folder).to_owned(),
        ..ImportedImage::default()
    };
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("yaml" | "yml") => {
            let node = read_data(source, Format::Yaml)?;
            if node.entries().is_none() {
                return Err(kind("the configuration of a Truss"));
            }
            read_configuration(source, &node, truss::KEYS, &mut imported)?;
        }
        Some("toml") => {
            let node = read_data(source, Format::Toml)?;
            if node.get("cerebrium").and_then(Node::entries).is_none() {
                return Err(kind(
                    "the configuration of Cerebrium: the table `[cerebrium]` is missing",
                ));
            }
            read_configuration(source, &node, cerebrium::KEYS, &mut imported)?;
        }
        Some("py") => return fal::read(source, folder, name, context),
        _ => {
            imported.template = Some(dockerfile::read(source, &mut imported)?);
            imported.import("the Dockerfile", 1, "a template");
            imported.ignore_file = ignore_file(path)?;
        }
    }
    Ok(vec![imported])
}

/// Reads a configuration. Without a base image in it, the base is an image of Python.
fn read_configuration(
    source: &SourceFile,
    root: &Node,
    keys: &Keys,
    imported: &mut ImportedImage,
) -> Result<(), SourceError> {
    imported.python = Python::Any;
    imported.settings.insert("base".to_owned(), DEFAULT.into());
    reader::read(source, root, keys, imported)
}

/// Reads the patterns beside the Dockerfile at `path`, if they exist.
fn ignore_file(path: &Path) -> Result<Option<String>, InitError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".dockerignore");
    match read_text(Path::new(&beside), MAX_ORIGIN) {
        Err(error) if error.is_missing() => Ok(None),
        read => Ok(Some(read?)),
    }
}

/// Returns the default name of an image: the folder of its file.
fn name_of(path: &Path) -> String {
    let folder = path.parent().and_then(Path::file_name);
    let name = folder.or_else(|| path.file_stem()).map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imported(path: &str, text: &str) -> ImportedImage {
        let source = SourceFile::new(Path::new(path), text);
        read(&source, "My Model!", None).expect(text).remove(0)
    }

    fn base(image: &ImportedImage) -> &str {
        image.settings["base"].as_str().expect("a base image")
    }

    #[test]
    fn the_python_of_the_base_image_wins() {
        let one = |version: &str| Python::Version(version.to_owned());
        let truss =
            imported("c.yaml", "python_version: py310\nbase_image: {image: 'python:3.11-slim'}\n");
        assert_eq!((truss.name.as_str(), &truss.python), ("my-model", &one("3.11")));
        assert_eq!(base(&truss), "python:{{python}}-slim");
        let text = "[cerebrium.deployment]\npython_version = 3.10\ndocker_base_image_url = \"python:3.11\"\n";
        assert_eq!(imported("c.toml", text).python, one("3.11"));
        // Without a base image, the key counts.
        let truss = imported("c.yaml", "python_version: py313\n");
        assert_eq!(
            (base(&truss), &truss.python),
            ("python:{{python}}-slim-bookworm", &one("3.13"))
        );
    }

    #[test]
    fn every_key_has_a_finding() {
        let text = "a: 1\nresources: {cpu: 1, memory: {x: 2}}\nmodel_metadata: {}\nsecrets: []\nrequirements:\n";
        let truss = imported("c.yaml", text);
        let mut findings: Vec<_> = truss.findings.iter().collect();
        findings.sort_by_key(|finding| finding.line);
        let findings: Vec<&str> = findings.iter().map(|finding| &*finding.what).collect();
        let expected = [
            "a",
            "resources.cpu",
            "resources.memory.x",
            "model_metadata",
            "secrets",
            "requirements",
        ];
        assert_eq!(findings, expected);
    }
}
