//! Releases to several registries, and aliases that commands print, with the real engine.

use std::collections::BTreeSet;
use std::process::Output;

use serde_json::Value;
use tokio::process::Command;

use crate::harness::project;
use crate::harness::registry::FakeRegistry;
use crate::harness::testbed;

/// Two images for two registries. Commands in them print aliases.
const MATRIX: &str = r#"
[image]
registry = ["ONE", "TWO/mirrors"]
repository = "acme/{{python}}"
dockerfile = "Dockerfile.hbs"
platforms = ["linux/amd64"]
tag = "{{version}}"
[axes]
python = ["3.11", "3.13"]
gpu = [false]
[[alias]]
run = "python --version | cut -d' ' -f2 # it's the version"
[[alias]]
run = "python --version | cut -d' ' -f2 # it's the version"
tag = "{{gpu}}-python-{{output}}"
[[alias]]
run = "cat /name"
when = { python = "3.13" }
[version]
file = "VERSION"
[publish]
release_set = "image"
"#;

const DOCKERFILE: &str = "\
FROM python:{{python}}-slim-bookworm
RUN echo WORD {{python}} >/python && head -c 300000 /dev/urandom >>/python
RUN echo name-{{python}} >/name && useradd somebody
USER somebody
";

struct Project {
    folder: tempfile::TempDir,
    registries: [FakeRegistry; 2],
}

impl Project {
    async fn new(dockerfile: &str) -> Self {
        let registries = [FakeRegistry::start().await, FakeRegistry::start().await];
        let folder = tempfile::tempdir().expect("a folder");
        let project = Self { folder, registries };
        let [one, two] = project.registries.each_ref().map(FakeRegistry::host);
        project.file("matrix.toml", &MATRIX.replace("ONE", &one).replace("TWO", &two));
        let dockerfile = dockerfile.replace("WORD", &testbed::unique());
        project.file("dockerfiles/Dockerfile.hbs", &dockerfile);
        project.file("VERSION", "v1\n");
        project
    }

    fn file(&self, path: &str, text: &str) {
        project::write(self.folder.path(), path, text);
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::from(testbed::basegen(self.folder.path()));
        command.args(arguments);
        command
    }

    async fn push(&self) -> Output {
        self.command(&["--push", "--metadata-file", "images.json"])
            .output()
            .await
            .expect("the command runs")
    }
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_build_is_pushed_to_two_registries_under_its_printed_aliases() {
    let project = Project::new(DOCKERFILE).await;
    let output = project.push().await;
    assert!(output.status.success(), "{}", errors(&output));
    let [one, two] = &project.registries;
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    let metadata = fs_err::read_to_string(project.folder.path().join("images.json"));
    let metadata: Value =
        serde_json::from_str(&metadata.expect("a metadata file")).expect("it is JSON");
    for minor in ["3.11", "3.13"] {
        let path = format!("acme/{minor}");
        let mirror = format!("mirrors/{path}");
        let names = |registry: &FakeRegistry, path: &str| -> Vec<_> {
            let tags = registry.tags(path).into_iter();
            tags.filter(|(tag, _)| !tag.starts_with("basegen-")).collect()
        };
        assert_eq!(names(one, &path), names(two, &mirror));
        let tags: Vec<String> = names(one, &path).into_iter().map(|(tag, _)| tag).collect();
        let exact =
            |before: &str| tags.iter().any(|tag| tag.starts_with(&format!("{before}{minor}.")));
        assert!(exact("") && exact("python-"), "{tags:?}");
        assert_eq!(tags.contains(&"name-3.13".to_owned()), minor == "3.13");
        // The second registry gets copies. In the first, layers of the other image can be mounted if the engine does not
        // tell which layers it will push.
        let blobs = one.blobs(&path);
        assert!(two.blobs(&mirror).iter().all(|blob| blobs.contains(blob)));
        // All of them are listed, and nothing else.
        let of_one = tags.iter().map(|tag| format!("{}/{path}:{tag}", one.host()));
        let of_two = tags.iter().map(|tag| format!("{}/{mirror}:{tag}", two.host()));
        let expected: BTreeSet<String> = of_one.chain(of_two).collect();
        let target = metadata["targets"][minor]["references"].as_object().expect("references");
        assert_eq!(target.keys().cloned().collect::<BTreeSet<_>>(), expected);
        for name in expected {
            assert!(listed.contains(&format!("{name}@sha256:")), "{name}: {listed}");
        }
    }
    assert_eq!(one.uploaded_bytes(), two.uploaded_bytes(), "each registry received each blob once");
    if !testbed::has_graph_driver().await {
        let layers = one
            .requests()
            .into_iter()
            .filter(|seen| seen.method == "GET" && seen.path.contains("/blobs/sha256:"));
        // Only the configurations are read, for the aliases. The engine has pushed the layers to both.
        assert_eq!(layers.count(), 2);
    }

    // A new version of unchanged images needs no engine, and keeps the aliases.
    project.file("VERSION", "v2\n");
    project.registries.iter().for_each(FakeRegistry::clear_requests);
    let mut command = project.command(&["--push"]);
    command.env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
    // The base images are not pinned: they are looked up without the engine.
    let output = command.output().await.expect("the command runs");
    if output.status.success() {
        assert_eq!(one.uploaded_bytes() + two.uploaded_bytes(), 0);
    }
    let status = project.command(&["status", "v1"]).output().await.expect("the command runs");
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stdout));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_prints_no_tag_fails_the_build() {
    for (broken, problem) in [
        ("RUN echo 'name 1' >/name", "printed `name 1`, which is not a tag"),
        ("RUN : >/name", "printed nothing instead of a tag"),
        ("RUN rm /name", "exit code 1"),
    ] {
        let user = DOCKERFILE.replace("USER somebody\n", &format!("{broken}\n"));
        let project = Project::new(&user).await;
        let output = project.push().await;
        assert!(!output.status.success());
        assert!(errors(&output).contains(problem), "{problem}: {}", errors(&output));
        for registry in &project.registries {
            assert_eq!(registry.tag("acme/3.11", "v1"), None);
        }
    }
}
