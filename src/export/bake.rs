//! A plan as a file for `docker buildx bake`.
//!
//! Reference: <https://docs.docker.com/build/bake/reference/>

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::image::{Compression, CompressionAlgorithm, Digest, Platform, Reference};
use crate::matrix::Check;
use crate::render::{BuildContext, ContextFile};
use crate::verify;

/// The group of the images, which bake builds when no target is named.
const IMAGES: &str = "default";

/// The group of the checks.
const CHECKS: &str = "check";

/// The folder of the contexts that are written beside the file.
pub const CONTEXTS: &str = "contexts";

/// How many hexadecimal digits of its digest name a context.
const DIGITS: usize = 16;

/// An image of a plan, as bake is told of it.
#[derive(Debug, Clone, Copy)]
pub struct BakeImage<'a> {
    /// The variant's id.
    pub id: &'a str,
    /// What it is built from.
    pub context: &'a BuildContext,
    /// What must hold of it.
    pub checks: &'a [Check],
    /// For which platforms.
    pub platforms: &'a [Platform],
    /// All labels that basegen would give it.
    pub labels: &'a BTreeMap<String, String>,
    /// All that it is called.
    pub references: &'a [Reference],
    /// How its layers are compressed.
    pub compression: Compression,
}

/// A secret that steps may mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BakeSecret {
    /// The id of `RUN --mount=type=secret,id=…`.
    pub id: String,
    /// Where bake finds its value.
    pub source: SecretSource,
}

/// Where the value of a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// In this environment variable.
    Variable(String),
    /// In this file.
    File(PathBuf),
}

/// Which folders bake sends as contexts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Folders<'a> {
    /// This one, which holds the files of all contexts where Dockerfiles look for them.
    Own(&'a Path),
    /// Some beside the file, `contexts/<digest>`, one for each set of files.
    Written,
}

/// A file for bake, and what it needs beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bake<'a> {
    /// The text of `docker-bake.json`.
    pub text: String,
    /// The files of [`Folders::Written`], by their paths relative to `docker-bake.json`.
    pub files: BTreeMap<PathBuf, &'a ContextFile>,
}

/// `images` as targets of one group, `default`, and their checks as those of another, `check`.
///
/// Of `secrets`, each target gets those that its steps mount.
#[must_use]
pub fn bake<'a>(
    images: &[BakeImage<'a>],
    secrets: &[BakeSecret],
    folders: Folders<'_>,
) -> Bake<'a> {
    let names = names(images);
    let (mut targets, mut files) = (Map::new(), BTreeMap::new());
    let (mut built, mut checked) = (Vec::new(), Vec::new());
    for (image, (name, check)) in images.iter().zip(names) {
        let context = match folders {
            Folders::Own(folder) => folder.display().to_string(),
            Folders::Written => written(image.context, &mut files),
        };
        let with_checks = verify::with_checks(&image.context.dockerfile, image.checks);
        let dockerfile = with_checks.as_ref().unwrap_or(&image.context.dockerfile);
        let mut common = Map::new();
        common.insert("context".to_owned(), text(&context));
        common.insert("dockerfile-inline".to_owned(), text(dockerfile));
        let platforms: Vec<String> = image.platforms.iter().map(ToString::to_string).collect();
        common.insert("platforms".to_owned(), json!(platforms));
        let secrets = mounted(image.context, secrets);
        if !secrets.is_empty() {
            common.insert("secret".to_owned(), Value::Array(secrets));
        }
        if with_checks.is_some() {
            let mut target = common.clone();
            target.insert("output".to_owned(), json!(["type=cacheonly"]));
            common.insert("target".to_owned(), text(&verify::image_stage(dockerfile)));
            targets.insert(check.clone(), target.into());
            checked.push(check);
        }
        let tags = image.references.iter().map(|reference| text(&reference.to_string()));
        common.insert("tags".to_owned(), tags.collect());
        let labels = image.labels.iter().map(|(name, value)| (escaped(name), text(value)));
        common.insert("labels".to_owned(), Value::Object(labels.collect()));
        // basegen's images have none, and with one a single image becomes an index.
        let none = ["type=provenance,disabled=true", "type=sbom,disabled=true"];
        common.insert("attest".to_owned(), json!(none));
        common.insert("output".to_owned(), json!([output(image.compression)]));
        targets.insert(name.clone(), common.into());
        built.push(name);
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

/// For each image the name of its target and of its checks' target. Bake takes letters, digits,
/// `_` and `-`; every name is there once, groups included.
fn names(images: &[BakeImage<'_>]) -> Vec<(String, String)> {
    let mut taken = BTreeSet::from([IMAGES.to_owned(), CHECKS.to_owned()]);
    let mut free = |wanted: String| {
        let numbered = (2..).map(|number| format!("{wanted}-{number}"));
        let mut candidates = std::iter::once(wanted.clone()).chain(numbered);
        let name = candidates.find(|name| !taken.contains(name)).expect("numbers do not end");
        taken.insert(name.clone());
        name
    };
    let sanitized = |image: &BakeImage<'_>| {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-';
        image.id.chars().map(|c| if is_word(c) { c } else { '_' }).collect::<String>()
    };
    // The images first, so that what they are called does not depend on any check.
    let images: Vec<String> = images.iter().map(|image| free(sanitized(image))).collect();
    let both = images.into_iter().map(|name| {
        let check = free(format!("{name}-{CHECKS}"));
        (name, check)
    });
    both.collect()
}

/// The folder of a context that is to be written, relative to the file; its files join `files`.
fn written<'a>(
    context: &'a BuildContext,
    files: &mut BTreeMap<PathBuf, &'a ContextFile>,
) -> String {
    if context.files.is_empty() {
        // Nothing of it is sent, since no step asks for anything.
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

fn mounted(context: &BuildContext, secrets: &[BakeSecret]) -> Vec<Value> {
    let wanted = context.secrets();
    let secrets = secrets.iter().filter(|secret| wanted.contains(&secret.id));
    let lines = secrets.map(|secret| {
        let source = match &secret.source {
            SecretSource::Variable(name) => format!("env={name}"),
            SecretSource::File(path) => format!("src={}", path.display()),
        };
        text(&format!("{},{}", field(&format!("id={}", secret.id)), field(&source)))
    });
    lines.collect()
}

/// A field of the comma-separated values that buildx reads.
fn field(text: &str) -> String {
    match text.contains([',', '"']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

/// An image as basegen exports it. It is not pushed until bake is told so.
fn output(compression: Compression) -> String {
    let algorithm = match compression.algorithm {
        CompressionAlgorithm::Zstd => "zstd",
        CompressionAlgorithm::Gzip => "gzip",
        CompressionAlgorithm::Estargz => "estargz",
        CompressionAlgorithm::Uncompressed => "uncompressed",
    };
    let level = compression.level.map(|level| format!(",compression-level={level}"));
    let level = level.unwrap_or_default();
    format!("type=image,oci-mediatypes=true,compression={algorithm}{level}")
}

fn text(text: &str) -> Value {
    Value::String(escaped(text))
}

/// Bake reads the texts of JSON as templates of HCL, in which `${` and `%{` begin an expression.
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
    fn every_target_has_a_name_of_its_own_that_bake_takes() {
        let (context, labels) = (context("FROM a\n", &[]), BTreeMap::new());
        let checks = [Check {
            name: "any".to_owned(),
            command: crate::matrix::CheckCommand::Shell("true".to_owned()),
        }];
        let ids = ["3.9", "3_9", "default", "check", "a+b", "3_9-check"];
        let images = ids.map(|id| image(id, &context, &checks, &labels));
        let file = parsed(&bake(&images, &[], Folders::Written));
        let names: Vec<&String> = file["target"].as_object().expect("targets").keys().collect();
        assert_eq!(names.len(), 12, "{names:?}");
        let is_word = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        assert!(names.iter().all(|name| name.chars().all(is_word)), "{names:?}");
        let built = json!(["3_9", "3_9-2", "default-2", "check-2", "a_b", "3_9-check"]);
        assert_eq!(file["group"]["default"]["targets"], built);
        assert_eq!(file["group"]["check"]["targets"][0], "3_9-check-2");
    }

    #[test]
    fn no_text_is_read_as_a_template() {
        let context = context("FROM a\nRUN echo ${HOME} %{x} $${y}\n", &[]);
        let labels = BTreeMap::from([("l".to_owned(), "${z}".to_owned())]);
        let file = parsed(&bake(&[image("a", &context, &[], &labels)], &[], Folders::Written));
        let target = &file["target"]["a"];
        // `$$${` is a dollar and what `$${` stands for.
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
        let bake = bake(&images, &[], Folders::Written);
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
        let file = |path: &str| SecretSource::File(path.into());
        let secrets = [
            ("t", SecretSource::Variable("TOKEN".to_owned())),
            ("f", file("/a,\"b\"")),
            ("other", file("/c")),
        ];
        let secrets = secrets.map(|(id, source)| BakeSecret { id: id.to_owned(), source });
        let labels = BTreeMap::new();
        let bake = bake(&[image("a", &context, &[], &labels)], &secrets, Folders::Written);
        let expected = json!(["id=t,env=TOKEN", r#"id=f,"src=/a,""b""""#]);
        assert_eq!(parsed(&bake)["target"]["a"]["secret"], expected);
    }
}
