//! Images that are based on each other, built with the real engine.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

use crate::harness::project;
use crate::harness::registry::FakeRegistry;
use crate::harness::testbed;

/// Fourteen images and their parents, as in a family of notebooks. Children come before their parents here, so that the
/// order of the file does not matter.
const IMAGES: [(&str, &str); 14] = [
    ("all-spark", "pyspark"),
    ("pyspark", "scipy"),
    ("scipy", "minimal"),
    ("minimal", "base"),
    ("base", "foundation"),
    ("foundation", ""),
    ("r", "minimal"),
    ("julia", "minimal"),
    ("tensorflow", "scipy"),
    ("tensorflow-cuda", "scipy"),
    ("pytorch", "scipy"),
    ("pytorch-cuda12", "scipy"),
    ("pytorch-cuda13", "scipy"),
    ("datascience", "scipy"),
];

const DOCKERFILE: &str = "\
{{#if (eq parent \"minimal\")}}
FROM below
{{else if parent}}
FROM {{image parent}}
{{else}}
FROM python:3.11-slim-bookworm
{{/if}}
COPY {{image}}.txt /own/{{image}}
RUN echo {{word}} {{image}} && head -c 50000 /dev/urandom >/own/{{image}}.random
{{#unless parent}}
ENV FOUNDATION={{word}}
{{/unless}}
";

struct Project {
    folder: tempfile::TempDir,
    registry: FakeRegistry,
}

impl Project {
    async fn new() -> Self {
        let project = Self {
            folder: tempfile::tempdir().expect("a folder"),
            registry: FakeRegistry::start().await,
        };
        let images = IMAGES.iter().map(|(image, parent)| {
            format!("{{ value = \"{image}\", variables = {{ parent = \"{parent}\" }} }}")
        });
        let images: Vec<String> = images.collect();
        let matrix = format!(
            "[image]\nrepository = \"acme/{{{{image}}}}\"\ntag = \"{{{{version}}}}\"\n\
             dockerfile = \"Dockerfile.hbs\"\nplatforms = [\"linux/amd64\"]\n\
             [axes]\nimage = [{}]\n[variables]\nword = \"{}\"\n[version]\nfile = \"VERSION\"\n\
             [build.contexts]\nbelow = '{{{{image parent}}}}'\n\
             [[verify]]\nname = \"own\"\nrun = \"test -n \\\"$FOUNDATION\\\" && test -e /own/{{{{image}}}}.random\"\n",
            images.join(", "),
            testbed::unique()
        );
        project.file("matrix.toml", &matrix);
        project.file("dockerfiles/Dockerfile.hbs", DOCKERFILE);
        for (image, _) in IMAGES {
            project.file(&format!("dockerfiles/{image}.txt"), image);
        }
        project.file("VERSION", "v1\n");
        project.ok(&["update"]).await;
        project
    }

    fn file(&self, path: &str, text: &str) {
        project::write(self.folder.path(), path, text);
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::from(testbed::basegen(self.folder.path()));
        command.args(arguments).kill_on_drop(true);
        command
    }

    /// Returns what a command prints on stdout and on stderr.
    async fn ok(&self, arguments: &[&str]) -> (String, String) {
        let output = self.command(arguments).output().await.expect("the command runs");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{errors}");
        (String::from_utf8(output.stdout).expect("a text"), errors)
    }

    /// Pushes, and returns the images that were built and the digests of all.
    async fn push(&self, more: &[&str]) -> (Vec<String>, BTreeMap<String, String>) {
        let host = self.registry.host();
        let push = ["--push", "--registry", &host, "--metadata-file", "images.json"];
        self.ok(&[&push, more].concat()).await;
        let metadata = fs_err::read(self.folder.path().join("images.json")).expect("metadata");
        let metadata: Value = serde_json::from_slice(&metadata).expect("JSON");
        let targets = metadata["targets"].as_object().expect("targets");
        let built = targets.iter().filter(|(_, image)| image["kept"] == false);
        let digest = |image: &Value| image["digest"].as_str().expect("a digest").to_owned();
        (
            built.map(|(id, _)| id.clone()).collect(),
            targets.iter().map(|(id, image)| (id.clone(), digest(image))).collect(),
        )
    }

    /// Returns the layers of an image.
    fn layers(&self, image: &str, reference: &str) -> Vec<String> {
        let manifest = self.registry.manifest(&format!("acme/{image}"), reference);
        testbed::layers(&serde_json::from_slice(&manifest.expect("a manifest")).expect("JSON"))
    }

    /// Asserts that each image begins with all layers of its parent.
    fn assert_based_on_each_other(&self, version: &str) {
        for (image, parent) in IMAGES.iter().filter(|(_, parent)| !parent.is_empty()) {
            let (own, below) = (self.layers(image, version), self.layers(parent, version));
            assert_eq!(own[..below.len()], below, "{image} is based on {parent}");
            assert_eq!(own.len(), below.len() + 2, "{image}");
        }
    }

    /// Returns the images that are staged, with their digests.
    fn staged(&self) -> BTreeMap<String, String> {
        let staged = IMAGES.iter().filter_map(|(image, _)| {
            let tags = self.registry.tags(&format!("acme/{image}"));
            // The tag of an image that has passed its checks.
            let is_checked =
                |tag: &str| tag.starts_with("basegen-") && tag.matches('-').count() == 2;
            let (_, digest) = tags.into_iter().find(|(tag, _)| is_checked(tag))?;
            Some(((*image).to_owned(), digest.to_string()))
        });
        staged.collect()
    }

    fn versions(&self, image: &str) -> Vec<String> {
        let tags = self.registry.tags(&format!("acme/{image}")).into_iter();
        tags.map(|(tag, _)| tag).filter(|tag| !tag.starts_with("basegen-")).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_run_builds_a_graph_and_each_image_once() {
    let project = Project::new().await;
    let (built, first) = project.push(&[]).await;
    assert_eq!((built.len(), first.len()), (14, 14));
    project.assert_based_on_each_other("v1");
    // The engine has the layers of parents, and does not pull them from the registry that it has pushed them to.
    if !testbed::has_graph_driver().await {
        for layer in project.layers("scipy", "v1").iter().skip(2) {
            let pulls = project.registry.requests().into_iter().filter(|seen| {
                seen.method == "GET" && seen.path.ends_with(&format!("/blobs/{layer}"))
            });
            assert_eq!(pulls.count(), 0, "{layer}");
        }
    }

    // A new version of the same images builds nothing.
    project.file("VERSION", "v2\n");
    let (built, second) = project.push(&[]).await;
    assert_eq!((built.len(), second == first), (0, true));

    project.file("dockerfiles/foundation.txt", "a change at the root\n");
    project.file("VERSION", "v3\n");
    let (built, third) = project.push(&[]).await;
    assert_eq!(built.len(), 14);
    assert!(third.iter().all(|(image, digest)| first[image] != *digest));
    project.assert_based_on_each_other("v3");

    project.file("dockerfiles/all-spark.txt", "a change of a leaf\n");
    project.file("VERSION", "v4\n");
    let (built, _) = project.push(&[]).await;
    assert_eq!(built, ["all-spark"]);
    project.assert_based_on_each_other("v4");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_after_a_kill_builds_only_the_missing_images() {
    let project = Project::new().await;
    let host = project.registry.host();
    let mut command = project.command(&["--push", "--registry", &host]);
    let mut killed =
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the command runs");
    let until = async {
        while project.staged().len() < 4 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(300), until).await.expect("four images");
    killed.kill().await.expect("a running command");
    let staged = project.staged();
    assert!((4..14).contains(&staged.len()), "{staged:?}");
    assert!(IMAGES.iter().all(|(image, _)| project.versions(image).is_empty()));

    let (built, digests) = project.push(&[]).await;
    for (image, digest) in &staged {
        assert!(!built.contains(image), "{image} was built twice");
        assert_eq!(digests[image], *digest);
    }
    project.assert_based_on_each_other("v1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partial_build_uses_staged_parents_and_builds_the_missing_ones() {
    let project = Project::new().await;
    // The registry is empty: all images below the leaf are built, and only the leaf gets a version tag.
    let (built, _) = project.push(&["--variant", "tensorflow"]).await;
    assert_eq!(built, ["tensorflow"]);
    assert_eq!(project.staged().len(), 5);
    assert_eq!(project.versions("tensorflow"), ["v1"]);
    assert_eq!(project.versions("scipy"), [""; 0]);

    // Another leaf uses the staged images.
    let before = project.staged();
    let (built, _) = project.push(&["--variant", "pytorch"]).await;
    assert_eq!(built, ["pytorch"]);
    assert!(before.iter().all(|(image, digest)| project.staged()[image] == *digest));
    assert_eq!(project.staged().len(), 6);
    let below = project.staged()["scipy"].clone();
    assert!(project.layers("pytorch", "v1").starts_with(&project.layers("scipy", &below)));

    // One job of a workflow builds both a parent and its child.
    let host = project.registry.host();
    let (planned, _) = project.ok(&["plan", "--format", "github", "--registry", &host]).await;
    let matrix = planned.lines().find_map(|line| line.strip_prefix("matrix=")).expect("a matrix");
    let matrix: Value = serde_json::from_str(matrix).expect("JSON");
    let jobs = matrix["include"].as_array().expect("jobs");
    let together = |one: &str, other: &str| {
        let has =
            |job: &&Value, id: &str| job["variants"].as_array().expect("ids").contains(&id.into());
        jobs.iter().any(|job| has(&job, one) && has(&job, other))
    };
    assert!(together("pyspark", "all-spark"), "{matrix}");
}

/// Returns the digests of the layers of an image of the engine before they were compressed.
async fn diff_ids(name: &str) -> Vec<String> {
    let image = testbed::docker().inspect_image(name).await.expect(name);
    image.root_fs.and_then(|root| root.layers).expect("layers")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graph_is_built_into_the_engine() {
    let project = Project::new().await;
    let repository = format!("basegen-test/{}/{{{{image}}}}", testbed::unique());
    let name = |image: &str| format!("{}:v1", repository.replace("{{image}}", image));
    let build = ["--repository", &repository, "--variant", "julia"];
    let (_, errors) = project.ok(&build).await;
    assert!(errors.contains("Built 4 images"), "{errors}");
    let below = diff_ids(&name("minimal")).await;
    assert_eq!(diff_ids(&name("julia")).await[..below.len()], below);
    // The engine has no staging tags, and a second run does not build the parents again.
    let image = testbed::docker().inspect_image(&name("minimal")).await.expect("an image");
    assert_eq!(image.repo_tags, Some(vec![name("minimal")]));
    let (_, errors) = project.ok(&[&build[..2], &["--variant", "r"]].concat()).await;
    assert!(errors.contains("Built 1 image"), "{errors}");
    assert_eq!(diff_ids(&name("r")).await[..below.len()], below);
    for image in ["julia", "r", "minimal", "base", "foundation"] {
        let options = None::<bollard::query_parameters::RemoveImageOptions>;
        testbed::docker().remove_image(&name(image), options, None).await.expect("an image");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graph_is_built_into_a_folder() {
    if testbed::has_graph_driver().await {
        return;
    }
    let project = Project::new().await;
    project.ok(&["--output", "oci:out", "--variant", "r", "--variant", "minimal"]).await;
    let out = project.folder.path().join("out");
    let index: Value = read(&out.join("index.json"));
    let images: BTreeMap<String, Vec<String>> = index["manifests"]
        .as_array()
        .expect("images")
        .iter()
        .map(|image| {
            let name = image["annotations"]["org.opencontainers.image.ref.name"].as_str();
            let digest = image["digest"].as_str().expect("a digest").replace(':', "/");
            let layers = testbed::layers(&read(&out.join("blobs").join(digest)));
            (name.expect("a name").to_owned(), layers)
        })
        .collect();
    let names: Vec<&str> = images.keys().map(String::as_str).collect();
    assert_eq!(names, ["docker.io/acme/minimal:v1", "docker.io/acme/r:v1"]);
    assert!(images["docker.io/acme/r:v1"].starts_with(&images["docker.io/acme/minimal:v1"]));
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs_err::read(path).expect("a file")).expect("JSON")
}

/// All other images are built.
#[tokio::test(flavor = "multi_thread")]
async fn images_based_on_a_failed_one_are_not_built() {
    let project = Project::new().await;
    let fails = DOCKERFILE.to_owned() + "{{#if (eq image \"scipy\")}}\nRUN exit 3\n{{/if}}\n";
    project.file("dockerfiles/Dockerfile.hbs", &fails);
    let host = project.registry.host();
    let output = project.command(&["--push", "--registry", &host]).output().await;
    let output = output.expect("the command runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{errors}");
    assert!(errors.contains("cancelled: its base image failed"), "{errors}");
    let staged: Vec<String> = project.staged().into_keys().collect();
    assert_eq!(staged, ["base", "foundation", "julia", "minimal", "r"]);
}
