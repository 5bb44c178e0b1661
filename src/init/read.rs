//! Reads an origin by its format.

use std::path::Path;

use super::error::InitError;
use super::node::{self, Node, Value};
use super::reader::slug;
use super::{ImportedImage, Origin, cerebrium, dockerfile, truss};

/// Reads an origin by its extension: `.yaml` and `.yml` are Truss', `.toml` is Cerebrium's, and everything else is a
/// Dockerfile. `name` is the name of the image if the origin has none.
pub(super) fn read(origin: &Origin, name: &str) -> Result<ImportedImage, InitError> {
    let kind = |expected| InitError::Kind { path: origin.path.display().to_string(), expected };
    let mut imported = ImportedImage { name: slug(name), ..ImportedImage::default() };
    match origin.path.extension().and_then(|ending| ending.to_str()) {
        Some("yaml" | "yml") => {
            let node = node::yaml(&origin.path, &origin.text)?;
            if !matches!(node.value, Value::Table(_)) {
                return Err(kind("the configuration of a Truss"));
            }
            truss::read(&node, &mut imported);
        }
        Some("toml") => {
            let node = node::toml(&origin.path, &origin.text)?;
            if !matches!(node.get("cerebrium"), Some(Node { value: Value::Table(_), .. })) {
                return Err(kind(
                    "the configuration of Cerebrium: the table `[cerebrium]` is missing",
                ));
            }
            cerebrium::read(&node, &mut imported);
        }
        _ => dockerfile::read(&origin.path, &origin.text, &mut imported)?,
    }
    Ok(imported)
}

/// Returns the default name of an image: the folder of its origin.
pub(super) fn name_of(path: &Path) -> String {
    let folder = path.parent().and_then(Path::file_name);
    let name = folder.or_else(|| path.file_stem()).map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imported(path: &str, text: &str) -> ImportedImage {
        let origin = Origin { path: path.into(), text: text.to_owned() };
        read(&origin, "My Model!").expect(text)
    }

    #[test]
    fn the_python_of_the_base_image_wins() {
        let truss =
            imported("c.yaml", "python_version: py310\nbase_image: {image: 'python:3.11-slim'}\n");
        assert_eq!((truss.name.as_str(), truss.pythons), ("my-model", vec!["3.11".to_owned()]));
        assert!(truss.template.contains("FROM python:{{python}}-slim\n"), "{}", truss.template);
        let text = "[cerebrium.deployment]\npython_version = 3.10\ndocker_base_image_url = \"python:3.11\"\n";
        assert_eq!(imported("c.toml", text).pythons, ["3.11"]);
        // Without a base image, the key counts.
        assert_eq!(imported("c.yaml", "python_version: py313\n").pythons, ["3.13"]);
    }

    #[test]
    fn every_leaf_has_a_finding() {
        let text = "a: 1\nresources: {cpu: 1, memory: {x: 2}}\nmodel_metadata: {}\nsecrets: []\nrequirements:\n";
        let truss = imported("c.yaml", text);
        let notes: Vec<&str> = truss.findings.iter().map(|finding| &*finding.what).collect();
        let expected = [
            "a",
            "resources.cpu",
            "resources.memory.x",
            "model_metadata",
            "secrets",
            "requirements",
        ];
        assert_eq!(notes, expected);
    }
}
