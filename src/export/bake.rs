//! Exports a plan as a file for `docker buildx bake`.
//!
//! Reference: <https://docs.docker.com/build/bake/reference/>

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::image::{Compression, Digest, Platform, Reference};
use crate::matrix::Check;
use crate::render::{BuildContext, ContextFile, familiar};
use crate::verify;

/// The group of the images, which bake builds by default.
const IMAGES: &str = "default";

/// The group of the checks.
const CHECKS: &str = "check";

/// The folder of the written contexts, beside the file.
pub const CONTEXTS: &str = "contexts";

/// The number of hexadecimal digits in the name of a context.
const DIGITS: usize = 16;

/// An image of a plan for bake.
#[derive(Debug, Clone, Copy)]
pub struct BakeImage<'a> {
    /// The id of the variant.
    pub id: &'a str,
    pub context: &'a BuildContext,
    /// The images of the matrix that it is based on: their names in the Dockerfile, and the ids of their variants.
    pub parents: &'a [(String, String)],
    /// Whether bake exports the image. Otherwise it is built only for images that are based on it.
    pub is_exported: bool,
    pub checks: &'a [Check],
    pub platforms: &'a [Platform],
    /// All labels, including those of basegen.
    pub labels: &'a BTreeMap<String, String>,
    pub references: &'a [Reference],
    pub compression: Compression,
}

/// A file for bake and the files of its contexts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bake<'a> {
    pub text: String,
    /// The files by path relative to `docker-bake.json`.
    pub files: BTreeMap<PathBuf, &'a ContextFile>,
}

/// Returns a file with `images` as targets of the group `default`, and their checks as targets of the group `check`.
///
/// Each target gets those of the `secrets` that its build steps mount: an id and a source, `env=NAME` or `src=PATH`.
/// Contexts are folders beside the file, `contexts/<digest>`, one for each set of files.
#[must_use]
pub fn bake<'a>(images: &[BakeImage<'a>], secrets: &[(String, String)]) -> Bake<'a> {
    let (mut targets, mut files) = (Map::new(), BTreeMap::new());
    let (mut built, mut checked) = (Vec::new(), Vec::new());
    let names = names(images);
    let by_id: HashMap<&str, &str> =
        images.iter().zip(&names).map(|(image, (name, _))| (image.id, name.as_str())).collect();
    for (image, (name, check)) in images.iter().zip(&names) {
        let context = written(image.context, &mut files);
        let checks = if image.is_exported { image.checks } else { &[] };
        let dockerfile = verify::with_checks(&image.context.dockerfile, checks);
        let mut common = Map::new();
        let text_of_file = dockerfile.as_ref().unwrap_or(&image.context.dockerfile);
        common.insert("context".to_owned(), text(&context));
        if !image.parents.is_empty() {
            common.insert("contexts".to_owned(), Value::Object(contexts(image, &by_id)));
        }
        common.insert("dockerfile-inline".to_owned(), text(text_of_file));
        let platforms: Vec<String> = image.platforms.iter().map(ToString::to_string).collect();
        common.insert("platforms".to_owned(), json!(platforms));
        let secrets = mounted(image.context, secrets);
        if !secrets.is_empty() {
            common.insert("secret".to_owned(), Value::Array(secrets));
        }
        let mut target = common.clone();
        if let Some(dockerfile) = &dockerfile {
            // The checks are the last stage, after the stage of the image.
            common.insert("output".to_owned(), json!(["type=cacheonly"]));
            targets.insert(check.clone(), common.into());
            checked.push(check.clone());
            target.insert("target".to_owned(), text(&verify::image_stage(dockerfile)));
        }
        if image.is_exported {
            target.extend(exported(image));
            built.push(name.clone());
        } else {
            target.insert("output".to_owned(), json!(["type=cacheonly"]));
        }
        targets.insert(name.clone(), target.into());
    }
    let mut groups = Map::new();
    groups.insert(IMAGES.to_owned(), json!({ "targets": built }));
    if !checked.is_empty() {
        groups.insert(CHECKS.to_owned(), json!({ "targets": checked }));
    }
    let file = json!({ "group": groups, "target": targets });
    let mut text = serde_json::to_string_pretty(&file).expect("texts are JSON");
    text.push('\n');
    Bake { text, files }
}

/// Returns the targets of the images that `image` is based on, by their names in its Dockerfile.
fn contexts(image: &BakeImage<'_>, names: &HashMap<&str, &str>) -> Map<String, Value> {
    let parents = image.parents.iter().filter_map(|(name, id)| {
        let target = format!("target:{}", names.get(id.as_str())?);
        // BuildKit looks the context up by this form of the name.
        let name = familiar(name);
        let name = name.strip_suffix(":latest").unwrap_or(name);
        Some((escaped(name), text(&target)))
    });
    parents.collect()
}

/// Returns the keys of a target that export an image with its tags.
fn exported(image: &BakeImage<'_>) -> Map<String, Value> {
    let tags = image.references.iter().map(|reference| text(&reference.to_string()));
    let labels = image.labels.iter().map(|(name, value)| (escaped(name), text(value)));
    // basegen's images have no attestations, which would turn a single image into an index.
    let attestations = ["type=provenance,disabled=true", "type=sbom,disabled=true"];
    let mut keys = Map::new();
    keys.insert("tags".to_owned(), tags.collect());
    keys.insert("labels".to_owned(), Value::Object(labels.collect()));
    keys.insert("attest".to_owned(), json!(attestations));
    keys.insert("output".to_owned(), json!([output(image.compression)]));
    keys
}

/// Returns for each image the names of its target and of the target of its checks. Bake allows letters, digits,
/// `_` and `-`. Names are unique, including groups.
fn names(images: &[BakeImage<'_>]) -> Vec<(String, String)> {
    let mut used = BTreeSet::from([IMAGES.to_owned(), CHECKS.to_owned()]);
    let mut free = |wanted: String| {
        let numbered = (2..).map(|number| format!("{wanted}-{number}"));
        let mut candidates = std::iter::once(wanted.clone()).chain(numbered);
        let name = candidates.find(|name| !used.contains(name)).expect("numbers do not end");
        used.insert(name.clone());
        name
    };
    let sanitized = |image: &BakeImage<'_>| {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-';
        image.id.chars().map(|c| if is_word(c) { c } else { '_' }).collect::<String>()
    };
    // The images first, so that their names do not depend on checks.
    let images: Vec<String> = images.iter().map(|image| free(sanitized(image))).collect();
    let both = images.into_iter().map(|name| {
        let check = free(format!("{name}-{CHECKS}"));
        (name, check)
    });
    both.collect()
}

/// Returns the folder of a written context relative to the file, and adds its files to `files`.
fn written<'a>(
    context: &'a BuildContext,
    files: &mut BTreeMap<PathBuf, &'a ContextFile>,
) -> String {
    if context.files.is_empty() {
        // No file is sent, because no step needs one.
        return ".".to_owned();
    }
    let mut listing = String::new();
    for file in &context.files {
        let mode = if file.executable { "0755" } else { "0644" };
        let content = Digest::of(&file.content);
        write!(listing, "{mode} {content} {}\0", file.path)
            .expect("writing to memory does not fail");
    }
    let mut name = Digest::of(listing.as_bytes()).hex();
    name.truncate(DIGITS);
    let folder = Path::new(CONTEXTS).join(name);
    files.extend(context.files.iter().map(|file| (folder.join(&file.path), file)));
    folder.display().to_string()
}

fn mounted(context: &BuildContext, secrets: &[(String, String)]) -> Vec<Value> {
    let wanted = context.secrets();
    let secrets = secrets.iter().filter(|(id, _)| wanted.contains(id));
    secrets
        .map(|(id, source)| text(&format!("{},{}", field(&format!("id={id}")), field(source))))
        .collect()
}

/// Quotes a field of comma-separated values for buildx.
fn field(text: &str) -> String {
    if text.contains([',', '"']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// Returns the output of an image. Bake pushes it only with `--push`.
fn output(compression: Compression) -> String {
    let algorithm = json!(compression.algorithm);
    let algorithm = algorithm.as_str().unwrap_or_default();
    let level = compression.level.map(|level| format!(",compression-level={level}"));
    let level = level.unwrap_or_default();
    format!("type=image,oci-mediatypes=true,compression={algorithm}{level}")
}

fn text(text: &str) -> Value {
    Value::String(escaped(text))
}

/// Escapes `${` and `%{`, because bake parses the strings in JSON as HCL templates.
///
/// Reference: <https://github.com/hashicorp/hcl/blob/main/hclsyntax/spec.md#template-literals>
fn escaped(text: &str) -> String {
    text.replace("${", "$${").replace("%{", "%%{")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image<'a>(
        id: &'a str,
        context: &'a BuildContext,
        checks: &'a [Check],
        labels: &'a BTreeMap<String, String>,
    ) -> BakeImage<'a> {
        BakeImage {
            id,
            context,
            parents: &[],
            is_exported: true,
            checks,
            platforms: &[],
            labels,
            references: &[],
            compression: Compression::default(),
        }
    }

    fn context(dockerfile: &str, files: &[(&str, &str)]) -> BuildContext {
        let files = files.iter().map(|(path, content)| ContextFile {
            path: (*path).to_owned(),
            executable: false,
            content: content.as_bytes().into(),
        });
        let dockerfile = dockerfile.to_owned();
        BuildContext { dockerfile, files: files.collect(), ..BuildContext::default() }
    }

    fn parsed(bake: &Bake<'_>) -> Value {
        serde_json::from_str(&bake.text).expect("JSON")
    }

    #[test]
    fn target_names_are_unique_and_valid() {
        let (context, labels) = (context("FROM a\n", &[]), BTreeMap::new());
        let checks = [Check {
            name: "any".to_owned(),
            command: crate::matrix::CheckCommand::Shell("true".to_owned()),
        }];
        let ids = ["3.9", "3_9", "default", "check", "a+b", "3_9-check"];
        let images = ids.map(|id| image(id, &context, &checks, &labels));
        let file = parsed(&bake(&images, &[]));
        let names: Vec<&String> = file["target"].as_object().expect("targets").keys().collect();
        assert_eq!(names.len(), 12, "{names:?}");
        let is_word = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        assert!(names.iter().all(|name| name.chars().all(is_word)), "{names:?}");
        let built = json!(["3_9", "3_9-2", "default-2", "check-2", "a_b", "3_9-check"]);
        assert_eq!(file["group"]["default"]["targets"], built);
        assert_eq!(file["group"]["check"]["targets"][0], "3_9-check-2");
    }

    #[test]
    fn images_of_the_matrix_are_targets() {
        let (root, leaf) = (context("FROM a\n", &[]), context("FROM acme/root:latest\n", &[]));
        let labels = BTreeMap::new();
        let parents = [("docker.io/acme/root:latest".to_owned(), "3.11+root".to_owned())];
        let images = [
            BakeImage { is_exported: false, ..image("3.11+root", &root, &[], &labels) },
            BakeImage { parents: &parents, ..image("3.11-leaf", &leaf, &[], &labels) },
        ];
        let file = parsed(&bake(&images, &[]));
        assert_eq!(file["group"]["default"]["targets"], json!(["3_11-leaf"]));
        let contexts = json!({ "acme/root": "target:3_11_root" });
        assert_eq!(file["target"]["3_11-leaf"]["contexts"], contexts);
        assert_eq!(file["target"]["3_11_root"]["output"], json!(["type=cacheonly"]));
        assert_eq!(file["target"]["3_11_root"].get("tags"), None);
    }

    #[test]
    fn strings_are_not_parsed_as_templates() {
        let context = context("FROM a\nRUN echo ${HOME} %{x} $${y}\n", &[]);
        let labels = BTreeMap::from([("l".to_owned(), "${z}".to_owned())]);
        let file = parsed(&bake(&[image("a", &context, &[], &labels)], &[]));
        let target = &file["target"]["a"];
        // `$$${` is a dollar followed by an escaped `${`.
        assert_eq!(target["dockerfile-inline"], "FROM a\nRUN echo $${HOME} %%{x} $$${y}\n");
        assert_eq!(target["labels"]["l"], "$${z}");
    }

    #[test]
    fn equal_contexts_are_written_once() {
        let one = context("FROM a\nCOPY f /\n", &[("f", "1"), ("g/h", "2")]);
        let same = context("FROM b\nCOPY f /\n", &[("f", "1"), ("g/h", "2")]);
        let other = context("FROM b\nCOPY f /\n", &[("f", "2")]);
        let (labels, none) = (BTreeMap::new(), context("FROM c\n", &[]));
        let images = [("a", &one), ("b", &same), ("c", &other), ("d", &none)];
        let images = images.map(|(id, context)| image(id, context, &[], &labels));
        let bake = bake(&images, &[]);
        assert_eq!(bake.files.len(), 3);
        let file = parsed(&bake);
        let folder = |id: &str| file["target"][id]["context"].as_str().expect("a path").to_owned();
        assert_eq!(folder("a"), folder("b"));
        assert_ne!(folder("a"), folder("c"));
        assert!(bake.files.contains_key(&Path::new(&folder("a")).join("g/h")));
        assert_eq!(folder("d"), ".");
    }

    #[test]
    fn targets_get_the_secrets_that_they_mount() {
        let context =
            context("FROM a\nRUN --mount=type=secret,id=t --mount=type=secret,id=f x\n", &[]);
        let secrets = [("t", "env=TOKEN"), ("f", "src=/a,\"b\""), ("other", "src=/c")];
        let secrets = secrets.map(|(id, source)| (id.to_owned(), source.to_owned()));
        let labels = BTreeMap::new();
        let bake = bake(&[image("a", &context, &[], &labels)], &secrets);
        let expected = json!(["id=t,env=TOKEN", r#"id=f,"src=/a,""b""""#]);
        assert_eq!(parsed(&bake)["target"]["a"]["secret"], expected);
    }
}
