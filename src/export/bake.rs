//! Exports a plan as a file for `docker buildx bake`.
//!
//! Reference: <https://docs.docker.com/build/bake/reference/>

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::image::{Compression, Digest, Platform, Reference};
use crate::matrix::Check;
use crate::render::{BuildContext, ContextFile, DockerfileOptions, NamedContext, familiar};
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
    let mut names = Names::default();
    // The images first, so that their names do not depend on checks.
    let of_images: Vec<String> =
        images.iter().map(|image| names.free(&sanitized(image.id))).collect();
    let ids = images.iter().zip(&of_images);
    let by_id = ids.map(|(image, name)| (image.id, name.as_str())).collect();
    let mut exporter = Exporter {
        names,
        by_id,
        secrets,
        targets: Map::new(),
        files: BTreeMap::new(),
        checks: Vec::new(),
    };
    let mut built = Vec::new();
    for (image, name) in images.iter().zip(&of_images) {
        let mut target = exporter.target(image, name);
        if image.is_exported {
            target.extend(exported(image));
            built.push(name.clone());
        } else {
            target.insert("output".to_owned(), json!(["type=cacheonly"]));
        }
        exporter.targets.insert(name.clone(), target.into());
    }
    let Exporter { targets, files, checks, .. } = exporter;
    let mut groups = Map::new();
    groups.insert(IMAGES.to_owned(), json!({ "targets": built }));
    if !checks.is_empty() {
        groups.insert(CHECKS.to_owned(), json!({ "targets": checks }));
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

/// Collects the targets and files of images.
struct Exporter<'a, 's> {
    names: Names,
    /// The targets of images, by the ids of their variants.
    by_id: HashMap<&'s str, &'s str>,
    secrets: &'s [(String, String)],
    targets: Map<String, Value>,
    files: BTreeMap<PathBuf, &'a ContextFile>,
    /// The targets of checks.
    checks: Vec<String>,
}

impl<'a> Exporter<'a, '_> {
    /// Returns the target of an image without what exports it. Adds the targets of its checks, and of platforms whose
    /// Dockerfiles differ.
    fn target(&mut self, image: &BakeImage<'a>, name: &str) -> Map<String, Value> {
        if image.context.platforms.is_empty() {
            return self.part(image, name, image.context, image.platforms);
        }
        let mut parts = Map::new();
        for platform in image.platforms {
            let suffix = format!(
                "{}-{}{}",
                platform.os(),
                platform.architecture(),
                platform.variant().unwrap_or_default()
            );
            let part = self.names.free(&format!("{name}-{suffix}"));
            let context = image.context.on(platform);
            let mut target = self.part(image, &part, context, std::slice::from_ref(platform));
            target.insert("output".to_owned(), json!(["type=cacheonly"]));
            parts.insert(format!("image-{suffix}"), text(&format!("target:{part}")));
            self.targets.insert(part, target.into());
        }
        let joined = "FROM image-${TARGETOS}-${TARGETARCH}${TARGETVARIANT}\n";
        let mut target = base(".", joined, image.platforms);
        target.insert("contexts".to_owned(), parts.into());
        target
    }

    fn part(
        &mut self,
        image: &BakeImage<'a>,
        name: &str,
        context: &'a BuildContext,
        platforms: &[Platform],
    ) -> Map<String, Value> {
        let BuildContext { dockerfile, options, files, .. } = context;
        let stage = options.target.as_deref();
        let checks = if image.is_exported { image.checks } else { &[] };
        let with_checks = verify::with_checks(dockerfile, stage, checks);
        let folder = written(files, &mut self.files);
        let mut target = base(&folder, with_checks.as_ref().unwrap_or(dockerfile), platforms);
        target.extend(passed(options, contexts(image, &self.by_id), &mut self.files));
        let secrets = mounted(context, self.secrets);
        if !secrets.is_empty() {
            target.insert("secret".to_owned(), Value::Array(secrets));
        }
        let Some(with_checks) = with_checks else {
            target.extend(stage.map(|stage| ("target".to_owned(), text(stage))));
            return target;
        };
        // The checks are the last stage, after the stage of the image.
        let mut check = target.clone();
        check.insert("output".to_owned(), json!(["type=cacheonly"]));
        let check_name = self.names.free(&format!("{name}-{CHECKS}"));
        self.targets.insert(check_name.clone(), check.into());
        self.checks.push(check_name);
        target.insert("target".to_owned(), text(&verify::image_stage(&with_checks)));
        target
    }
}

/// Returns the keys that every target has.
fn base(context: &str, dockerfile: &str, platforms: &[Platform]) -> Map<String, Value> {
    let platforms: Vec<String> = platforms.iter().map(ToString::to_string).collect();
    let mut target = Map::new();
    target.insert("context".to_owned(), text(context));
    target.insert("dockerfile-inline".to_owned(), text(dockerfile));
    target.insert("platforms".to_owned(), json!(platforms));
    target
}

/// Returns the build arguments and the named contexts of a target, if it has any.
fn passed<'a>(
    options: &'a DockerfileOptions,
    parents: Map<String, Value>,
    files: &mut BTreeMap<PathBuf, &'a ContextFile>,
) -> Map<String, Value> {
    let arguments = options.arguments.iter();
    let arguments = arguments.map(|(name, value)| (escaped(name), text(value))).collect();
    let named = options.contexts.iter().map(|(name, context)| {
        let source = match context {
            NamedContext::Files(folder) => written(folder, files),
            NamedContext::Image(image) => format!("docker-image://{}", image.pinned_name()),
        };
        (escaped(name), text(&source))
    });
    let tables: [(&str, Map<String, Value>); 2] =
        [("args", arguments), ("contexts", named.chain(parents).collect())];
    let tables = tables.into_iter().filter(|(_, table)| !table.is_empty());
    tables.map(|(key, table)| (key.to_owned(), table.into())).collect()
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

/// The names of targets and groups.
struct Names(BTreeSet<String>);

impl Default for Names {
    fn default() -> Self {
        Self(BTreeSet::from([IMAGES.to_owned(), CHECKS.to_owned()]))
    }
}

impl Names {
    /// Returns `wanted`, with a number if it is used already.
    fn free(&mut self, wanted: &str) -> String {
        let numbered = (2..).map(|number| format!("{wanted}-{number}"));
        let mut candidates = std::iter::once(wanted.to_owned()).chain(numbered);
        let name = candidates.find(|name| !self.0.contains(name)).expect("numbers do not end");
        self.0.insert(name.clone());
        name
    }
}

/// Returns the id of a variant as the name of a target. Bake allows letters, digits, `_` and `-`.
fn sanitized(id: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-';
    id.chars().map(|c| if is_word(c) { c } else { '_' }).collect()
}

/// Returns the folder of a written context relative to the file, and adds its files to `files`.
fn written<'a>(
    context: &'a [ContextFile],
    files: &mut BTreeMap<PathBuf, &'a ContextFile>,
) -> String {
    if context.is_empty() {
        // No file is sent, because no step needs one.
        return ".".to_owned();
    }
    let mut listing = String::new();
    for file in context {
        let content = Digest::of(&file.content);
        write!(listing, "0{:o} {content} {}\0", file.mode(), file.path)
            .expect("writing to memory does not fail");
    }
    let mut name = Digest::of(listing.as_bytes()).hex();
    name.truncate(DIGITS);
    let folder = Path::new(CONTEXTS).join(name);
    files.extend(context.iter().map(|file| (folder.join(&file.path), file)));
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
    let force = if compression.force { ",force-compression=true" } else { "" };
    format!("type=image,oci-mediatypes=true,compression={algorithm}{level}{force}")
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
            content: content.as_bytes().into(),
            ..ContextFile::default()
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

    #[test]
    fn targets_have_the_options_of_their_dockerfile() {
        let mut context = context("FROM a AS one\nCOPY --from=src x /\nFROM b\n", &[]);
        let file = ContextFile {
            path: "x".to_owned(),
            content: b"1"[..].into(),
            ..ContextFile::default()
        };
        let base = crate::render::Upstream::image("python:3.11").expect("an image");
        let named = [("src", NamedContext::Files(vec![file])), ("base", NamedContext::Image(base))];
        context.options.contexts = named.map(|(name, named)| (name.to_owned(), named)).into();
        context.options.arguments.insert("V".to_owned(), "${x}".to_owned());
        context.options.target = Some("one".to_owned());
        let (labels, checks) = (
            BTreeMap::new(),
            [Check {
                name: "any".to_owned(),
                command: crate::matrix::CheckCommand::Shell("true".to_owned()),
            }],
        );
        let bake = bake(&[image("a", &context, &checks, &labels)], &[]);
        let file = parsed(&bake);
        let targets = ["a", "a-check"].map(|name| &file["target"][name]);
        assert_eq!(targets.map(|target| &target["target"]), [&json!("one"), &Value::Null]);
        for target in targets {
            assert_eq!(target["args"]["V"], "$${x}");
            assert_eq!(target["contexts"]["base"], "docker-image://docker.io/library/python:3.11");
            let folder = target["contexts"]["src"].as_str().expect("a folder");
            assert!(bake.files.contains_key(&Path::new(folder).join("x")));
        }
    }

    #[test]
    fn platforms_that_differ_are_targets_of_their_own() {
        let mut both = context("FROM a\n", &[("f", "1")]);
        let platforms: [Platform; 2] =
            ["linux/amd64", "linux/arm64"].map(|name| name.parse().expect(name));
        both.platforms.insert(platforms[1].clone(), context("FROM b\n", &[("f", "2")]));
        let labels = BTreeMap::new();
        let image = BakeImage { platforms: &platforms, ..image("a", &both, &[], &labels) };
        let file = parsed(&bake(&[image], &[]));
        assert_eq!(file["group"]["default"]["targets"], json!(["a"]));
        assert_eq!(file["target"]["a-linux-arm64"]["dockerfile-inline"], "FROM b\n");
        assert_eq!(file["target"]["a-linux-arm64"]["platforms"], json!(["linux/arm64"]));
        let joined = &file["target"]["a"];
        assert_eq!(joined["contexts"]["image-linux-arm64"], "target:a-linux-arm64");
        assert_eq!(joined["platforms"], json!(["linux/amd64", "linux/arm64"]));
    }
}
