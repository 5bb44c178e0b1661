//! The files of `basegen export bake`, built with `docker buildx bake`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::harness::{project, testbed};

/// Creates a project with the inputs that an export must contain: a file, a folder, an executable and a secret, named
/// contexts with a file and with the base image, and text with the template syntax of bake. The target is not the last
/// stage.
fn project(check: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |path: &str, text: &str| project::write(folder.path(), path, text);
    file(
        "matrix.toml",
        &format!(
            "[image]\nrepository = \"any\"\ndockerfile = \"Dockerfile.hbs\"\n\
             platforms = [\"linux/amd64\"]\nlabels = {{ \"org.example\" = \"{{{{word}}}}\" }}\n\
             compression = {{ algorithm = \"zstd\", level = 5 }}\n\
             target = \"image\"\nargs = {{ NAME = \"given\" }}\ndockerignore = [\"**/*.bak\"]\n\
             [build.contexts]\nscripts = \"scripts\"\n\
             base = \"docker-image://python:3.11-slim-bookworm\"\n\
             [axes]\nword = [\"one\", \"2.0\"]\n\
             [build.secrets]\ntoken = {{ env = \"THE_TOKEN\" }}\n\
             [[verify]]\nname = \"word\"\nrun = \"{check}\"\n"
        ),
    );
    file(
        "dockerfiles/Dockerfile.hbs",
        "FROM base AS library\n\
         COPY library/ /library/\n\
         RUN --mount=type=bind,source=run,target=/run/it sh /run/it > /library/made\n\
         FROM python:3.11-slim-bookworm AS image\n\
         ARG NAME=value\n\
         COPY --from=scripts hello /hello\n\
         COPY --link --from=library /library /library\n\
         COPY run /usr/local/bin/run\n\
         RUN --mount=type=secret,id=token test -s /run/secrets/token && \\\n    \
         echo {{word}} ${NAME} \"$HOME\" %{x} > /word\n\
         FROM scratch AS other\n",
    );
    file("dockerfiles/run", &format!("#!/bin/sh\necho {}; date\n", testbed::unique()));
    file("dockerfiles/library/one", "1\n");
    file("dockerfiles/library/one.bak", "ignored\n");
    file("scripts/hello", "hello\n");
    file("scripts/unused", &testbed::unique());
    file("dockerfiles/library/more/two", "2\n");
    chmod(
        folder.path(),
        "755",
        &["dockerfiles/run", "dockerfiles/library", "dockerfiles/library/more"],
    );
    chmod(folder.path(), "644", &["dockerfiles/library/one", "dockerfiles/library/more/two"]);
    folder
}

fn chmod(folder: &Path, mode: &str, paths: &[&str]) {
    let changed = Command::new("chmod").arg(mode).args(paths).current_dir(folder).status();
    assert!(changed.expect("chmod runs").success());
}

pub(crate) fn basegen(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = testbed::basegen(folder);
    command.args(arguments).env("THE_TOKEN", "token");
    let output = command.output().expect("the command runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Runs `docker buildx bake` in `folder`.
pub(crate) fn bake(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = testbed::docker_command(&["buildx", "bake"]);
    command.args(arguments).current_dir(folder);
    command.env("THE_TOKEN", "token").output().expect("docker runs")
}

pub(crate) fn succeeded(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Returns the digests of both images in `repository`, and the manifest of the second.
async fn images(repository: &str) -> (Vec<String>, Value) {
    let mut digests = Vec::new();
    let mut last = Value::Null;
    for word in ["one", "2.0"] {
        let name = format!("{}/{repository}:{word}-v1", testbed::registry());
        let (digest, manifest) = testbed::manifest(&testbed::reference(&name)).await;
        digests.push(digest);
        last = manifest;
    }
    (digests, last)
}

/// Returns two new repositories, each with the arguments that select it.
pub(crate) fn repositories() -> [(String, Vec<String>); 2] {
    ["basegen", "bake"].map(|by| {
        let (registry, repository) =
            (testbed::registry(), format!("basegen-test/{by}-{}", testbed::unique()));
        let named = ["--registry", &registry, "--repository", &repository, "--version-tag", "v1"];
        (repository.clone(), named.map(str::to_owned).to_vec())
    })
}

/// Returns these arguments, followed by those of a repository.
pub(crate) fn arguments<'a>(before: &[&'a str], named: &'a [String]) -> Vec<&'a str> {
    before.iter().copied().chain(named.iter().map(String::as_str)).collect()
}

#[tokio::test]
async fn bake_builds_the_same_images_as_basegen() {
    if testbed::has_graph_driver().await {
        // With a graph driver, buildx has no exporter that compresses with zstd.
        return;
    }
    let folder = project(
        "grep -q '^{{word}} given ' /word && test -x /usr/local/bin/run && test ! -e /library/one.bak \
         && grep -q hello /hello",
    );
    let [(ours, our_names), (theirs, their_names)] = repositories();
    basegen(folder.path(), &arguments(&["--push"], &our_names));
    basegen(folder.path(), &arguments(&["export", "bake", "-o", "baked"], &their_names));
    let baked = folder.path().join("baked");
    succeeded(&bake(&baked, &["check"]));
    succeeded(&bake(&baked, &["--push"]));
    let (built, manifest) = images(&ours).await;
    assert_eq!(images(&theirs).await.0, built);
    let layer = &manifest["layers"][0]["mediaType"];
    assert!(layer.as_str().is_some_and(|kind| kind.starts_with("application/vnd.oci.")), "{layer}");
}

#[tokio::test]
async fn basegen_builds_the_same_images_as_bake() {
    if testbed::has_graph_driver().await {
        return;
    }
    let folder = project("test -s /word");
    let [(ours, our_names), (theirs, their_names)] = repositories();
    basegen(folder.path(), &arguments(&["export", "bake", "-o", "baked"], &their_names));
    // The folder contains everything that bake needs.
    let elsewhere = tempfile::tempdir().expect("a folder");
    let baked = elsewhere.path().join("moved");
    fs_err::rename(folder.path().join("baked"), &baked).expect("moved");
    succeeded(&bake(&baked, &["--push"]));
    basegen(folder.path(), &arguments(&["--push"], &our_names));
    assert_eq!(images(&ours).await.0, images(&theirs).await.0);
    // bake ran no checks on its images, so basegen does not accept their tags.
    let mut command = testbed::basegen(folder.path());
    command.args(arguments(&["--push"], &their_names));
    let output = command.env("THE_TOKEN", "token").output().expect("the command runs");
    assert_eq!(output.status.code(), Some(11), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn a_failed_check_fails_bake() {
    let folder = project("grep -q no-such-word /word");
    let [_, (_, names)] = repositories();
    basegen(folder.path(), &arguments(&["export", "bake", "-o", "baked"], &names));
    let output = bake(&folder.path().join("baked"), &["--progress", "plain", "check"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && errors.contains("basegen-verify"), "{errors}");
}

#[test]
fn bake_reads_the_exported_matrix_of_this_repository() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let rendered = tempfile::tempdir().expect("a folder");
    let folder = rendered.path().to_str().expect("UTF-8");
    basegen(repository, &["render", "-o", folder]);
    basegen(repository, &["export", "bake", "--offline", "-o", folder]);
    let printed = bake(rendered.path(), &["--print", "default", "check"]);
    succeeded(&printed);
    let printed: Value = serde_json::from_slice(&printed.stdout).expect("JSON");
    let targets = printed["target"].as_object().expect("targets");
    assert_eq!(targets.len(), 2 * 48);
    let list = basegen(repository, &["list"]).stdout;
    for (name, target) in targets.iter().filter(|(_, target)| !target["tags"].is_null()) {
        let tag = target["tags"][0].as_str().expect("a tag");
        assert!(String::from_utf8_lossy(&list).lines().any(|line| line == tag), "{tag}");
        let text = target["dockerfile-inline"].as_str().expect("a Dockerfile");
        let (image, checks) = text.split_once("\n\nFROM basegen-image AS").expect("checks");
        assert!(checks.contains("RUN --network=none"), "{checks}");
        let dockerfile = rendered.path().join(name.replace('_', ".")).join("Dockerfile");
        let dockerfile = fs_err::read_to_string(dockerfile).expect("a Dockerfile");
        assert_eq!(image.replace(" AS basegen-image", ""), dockerfile);
        let context = rendered.path().join(target["context"].as_str().expect("a context"));
        assert!(context.join("requirements/install").is_file(), "{}", context.display());
    }
}

/// Returns the files below a folder with their contents, and links with their targets.
fn tree(folder: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs_err::read_dir(next).expect("a folder") {
            let entry = entry.expect("an entry");
            let (path, kind) = (entry.path(), entry.file_type().expect("a type"));
            let name = path.strip_prefix(folder).expect("below").display().to_string();
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_symlink() {
                let target = fs_err::read_link(&path).expect("a link");
                all.insert(name, format!("-> {}", target.display()));
            } else {
                all.insert(name, fs_err::read_to_string(path).expect("a file"));
            }
        }
    }
    all
}

#[tokio::test]
async fn links_are_copied_as_docker_build_copies_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |path: &str, text: &str| project::write(folder.path(), path, text);
    let matrix = "[image]\nrepository = \"any\"\ndockerfile = \"Dockerfile\"\ncontext = \"app\"\n\
                  [axes]\nword = [\"one\"]\n";
    file("matrix.toml", matrix);
    let dockerfile = "FROM scratch\nCOPY d /d/\nCOPY near /near\nCOPY folder /folder/\nCOPY folder/x /x\n\
                      COPY absolute above /some/\nCOPY *.lnk /matched/\n";
    file("dockerfiles/Dockerfile", dockerfile);
    file("app/d/file", &testbed::unique());
    file("app/d/e/x", "x\n");
    for (target, path) in [
        ("d/file", "near"),
        ("d/folder", "folder"),
        ("e", "d/folder"),
        ("/etc/passwd", "d/away"),
        ("../../../nowhere", "d/dangling"),
        ("/d/file", "absolute"),
        ("../../d/file", "above"),
        ("d/file", "one.lnk"),
        ("d/e", "two.lnk"),
    ] {
        let path = folder.path().join("app").join(path);
        std::os::unix::fs::symlink(target, path).expect("a link");
    }
    let built = |arguments: &[&str], out: &str| {
        let out = folder.path().join(out);
        let mut command = testbed::docker_command(&["buildx", "build", "--output"]);
        command.arg(format!("type=local,dest={}", out.display())).args(arguments);
        succeeded(&command.current_dir(folder.path()).output().expect("docker runs"));
        tree(&out)
    };
    let expected = built(&["-f", "dockerfiles/Dockerfile", "app"], "theirs");
    assert_eq!(expected["d/away"], "-> /etc/passwd");
    let [(ours, our_names), (theirs, their_names)] = repositories();
    basegen(folder.path(), &arguments(&["--push"], &our_names));
    file("pulled/Dockerfile", &format!("FROM {}/{ours}:one-v1\n", testbed::registry()));
    assert_eq!(built(&["pulled"], "ours"), expected);

    if !testbed::has_graph_driver().await {
        basegen(folder.path(), &arguments(&["export", "bake", "-o", "baked"], &their_names));
        succeeded(&bake(&folder.path().join("baked"), &["--push"]));
        let digest = async |repository: &str| {
            let name = format!("{}/{repository}:one-v1", testbed::registry());
            testbed::manifest(&testbed::reference(&name)).await.0
        };
        assert_eq!(digest(&theirs).await, digest(&ours).await);
    }
}
