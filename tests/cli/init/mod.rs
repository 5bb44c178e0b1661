mod import;
mod mirrored;
mod refused;

use std::fmt::Write as _;
use std::path::Path;

use insta_cmd::assert_cmd_snapshot;

pub(crate) use import::Import;

use crate::harness::project::{basegen, stdout, write};

/// Creates a folder with the files that the fixtures copy.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix("Acme").tempdir().expect("a folder");
    for (path, text) in [
        ("requirements.txt", "six\n"),
        ("src/main.py", "print('main')\n"),
        ("src/Dockerfile", "FROM python:3.11\nCOPY main.py /\n"),
        ("src/inner/more.py", ""),
        ("config/a.json", "{}\n"),
        ("file1.py", ""),
        ("file2.py", ""),
        ("deps_folder/pkglist.txt", "curl\n"),
        ("conda_pkglist.txt", "opencv\n"),
    ] {
        write(folder.path(), path, text);
    }
    folder
}

/// Returns the paths of the files below a folder, sorted.
pub(crate) fn files_below(folder: &Path, path: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(folder.join(path)).expect(path) {
        let entry = entry.expect("an entry");
        let inner = format!("{path}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            found.extend(files_below(folder, &inner));
        } else {
            found.push(inner);
        }
    }
    found.sort();
    found
}

fn read(folder: &Path, path: &str) -> String {
    fs_err::read_to_string(folder.join(path)).expect(path)
}

fn run(folder: &Path, arguments: &str) -> std::process::Command {
    let mut command = basegen(arguments);
    command.current_dir(folder);
    command
}

fn run_stderr(folder: &Path, arguments: &str) -> String {
    let output = run(folder, arguments).output().expect("basegen runs");
    assert!(output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Replaces the random name of a folder in snapshots.
fn settings(folder: &Path) -> insta::Settings {
    let name = folder.file_name().expect("a name").to_string_lossy().to_ascii_lowercase();
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(&name, "acme");
    settings
}

/// Returns the part of a matrix file about its images.
fn images_of(matrix: &str) -> &str {
    let (_, images) = matrix.split_once("# registry = \"ghcr.io\"\n").expect("the registry");
    let end = images.find("# Checks that").or_else(|| images.find("# The version"));
    images[..end.expect("the version")].trim()
}

#[test]
fn a_new_repository_has_all_files() {
    let folder = tempfile::Builder::new().prefix("Acme").tempdir().expect("a folder");
    let settings = settings(folder.path());
    settings.bind(|| {
        assert_cmd_snapshot!(run(folder.path(), "init --dry-run"));
        assert_eq!(fs_err::read_dir(folder.path()).expect("a folder").count(), 0);
        assert_cmd_snapshot!(run(folder.path(), "init"));
        for path in ["matrix.toml", ".github/workflows/base-images.yml"] {
            insta::assert_snapshot!(read(folder.path(), path));
        }
        assert_cmd_snapshot!(run(folder.path(), "plan --offline"));
        assert_cmd_snapshot!(run(folder.path(), "render --python 3.11"));
        // A second time there is nothing to do.
        assert_cmd_snapshot!(run(folder.path(), "init"));
        write(folder.path(), "matrix.toml", "# mine\n");
        assert_cmd_snapshot!(run(folder.path(), "init"));
        assert_eq!(read(folder.path(), "matrix.toml"), "# mine\n");
        stdout(run(folder.path(), "init --force"));
        assert_ne!(read(folder.path(), "matrix.toml"), "# mine\n");
    });
}

#[test]
fn the_version_and_the_remote_of_a_folder_are_used() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "pyproject.toml", "[project]\nname = \"x\"\nversion = \"2.1.0\"\n");
    let origin = "[remote \"origin\"]\n\turl = git@github.com:Acme/Images.git\n";
    write(folder.path(), ".git/config", origin);
    write(folder.path(), ".git/HEAD", "ref: refs/heads/main\n");
    for inner in ["objects", "refs"] {
        fs_err::create_dir(folder.path().join(".git").join(inner)).expect("a folder");
    }
    stdout(run(folder.path(), "init"));
    let list = stdout(run(folder.path(), "list --python 3.11 --no-gpu"));
    assert_eq!(list, "ghcr.io/acme/images:3.11-v2.1.0\n");
    assert!(!folder.path().join("VERSION").exists());
    // A version that is written with its letter gets no other.
    fs_err::remove_file(folder.path().join("pyproject.toml")).expect("removed");
    write(folder.path(), "VERSION", "v3.0.0\n");
    stdout(run(folder.path(), "init --force"));
    let list = stdout(run(folder.path(), "list --python 3.11 --no-gpu"));
    assert_eq!(list, "ghcr.io/acme/images:3.11-v3.0.0\n");
    // GitHub reads no workflow of a folder within a repository.
    let printed = stdout(run(folder.path(), "init images"));
    assert!(!printed.contains("workflows"), "{printed}");
}

#[test]
fn options_set_the_registry_and_the_login() {
    let folder = folder();
    let read = |path: &str| read(folder.path(), path);
    let arguments = "init --registry quay.io --repository acme/models";
    let printed = stdout(run(folder.path(), arguments));
    assert!(!printed.contains("are a guess"), "{printed}");
    let list = stdout(run(folder.path(), "list --python 3.11 --no-gpu"));
    assert_eq!(list, "quay.io/acme/models:3.11-v0.1.0\n");
    let workflow = read(".github/workflows/base-images.yml");
    assert!(workflow.contains("registry: quay.io\n"), "{workflow}");
    assert!(!workflow.contains("DOCKERHUB"), "{workflow}");
    stdout(run(folder.path(), "init --force --registry docker.io"));
    assert!(read("matrix.toml").contains("\n# registry = \"ghcr.io\"\n"));
    assert!(read(".github/workflows/base-images.yml").contains("DOCKERHUB_TOKEN"));
    // The name of an imported image follows the repository.
    write(folder.path(), "app/Dockerfile", "FROM python:3.11\n");
    stdout(run(
        folder.path(),
        "init new --from app/Dockerfile --registry ghcr.io --repository a/b",
    ));
    let list = stdout(run(folder.path(), "list -f new/matrix.toml"));
    assert_eq!(list, "ghcr.io/a/b/app:3.11-v0.1.0\n");
    assert_cmd_snapshot!(run(folder.path(), "init x --registry https://ghcr.io"));
    assert_cmd_snapshot!(run(folder.path(), "init x --repository Acme/Base"));
}

#[test]
fn files_that_can_be_imported_are_noted() {
    let folder = folder();
    write(folder.path(), "config.yaml", "receivers: {}\n");
    assert!(!run_stderr(folder.path(), "init --dry-run").contains("found"));
    write(folder.path(), "config.yaml", "python_version: py311\n");
    write(folder.path(), "Dockerfile", "FROM python:3.11\n");
    insta::assert_snapshot!(run_stderr(folder.path(), "init --dry-run"));
    assert_eq!(run_stderr(folder.path(), "init other --from Dockerfile --dry-run"), "");
    write(folder.path(), "new/Dockerfile", "FROM python:3.11\n");
    insta::assert_snapshot!(run_stderr(folder.path(), "init new"));
    stdout(run(folder.path(), "init new --from new/Dockerfile --force"));
}

#[test]
fn a_truss_becomes_a_matrix() {
    let import = Import::new(&[
        (
            "config.yaml",
            "model_name: Build Commands Demo\n\
             python_version: py311\n\
             requirements_file: ./requirements.txt\n\
             system_packages:\n  - ffmpeg\n\
             build_commands:\n  - git clone https://git.example.com/tool.git\n  - cd tool && pip install -r requirements.txt\n\
             environment_variables:\n  MODEL_NAME: my-model\n  MAX_BATCH_SIZE: \"32\"\n\
             external_package_dirs:\n  - ../packages\n\
             resources:\n  accelerator: A100\n  use_gpu: true\n  memory: 16Gi\n",
        ),
        ("requirements.txt", "six\n"),
    ]);
    insta::assert_snapshot!(import.imported("config.yaml"));
}

#[test]
fn parameters_of_a_fal_app_are_literals_of_its_file() {
    let import = Import::new(&[
        (
            "app.py",
            r#"from pathlib import Path
from textwrap import dedent

import fal
from fal.container import ContainerImage

PYTHON = "3.10"
PASSWORD = os.environ["PASSWORD"]


class Server(fal.App, name="All Parameters"):
    machine_type = ["S", "M"]
    image = ContainerImage.from_dockerfile_str(
        dedent(
            f"""
            ARG PY_VERSION={PYTHON}
            FROM python:${{PY_VERSION}}-slim
            ARG EXTRA_INDEX_URL COMMIT
            WORKDIR /app
            COPY main.py ./
            RUN --mount=type=secret,id=pip_token \\
                pip install --extra-index-url ${{EXTRA_INDEX_URL}} idna
            """
        ),
        build_args={
            "PY_VERSION": "3.11",
            "EXTRA_INDEX_URL": "https://example.com/simple",
            "COMMIT": f"{PASSWORD}",
            "UNUSED": "1",
        },
        secrets={"pip_token": "$MY_PIP_TOKEN", "plain": "hunter2"},
        registries={
            "https://registry.acme.example/": {"username": "ci", "password": "$REGISTRY_PASSWORD"},
            "ghcr.io": {"username": "ci", "password": "hunter2"},
            "quay.io": {"username": "ci", "password": PASSWORD},
            "nvcr.io": {"username": "ci"},
        },
        context_dir=Path(__file__).parent / "src",
        dockerignore=["*.pyc", "data/", PASSWORD],
        dockerignore_path=None,
        compression="zstd",
        force_compression=True,
        builder="kaniko",
    )
    image.add_dockerignore(patterns=[".env"])
"#,
        ),
        ("src/main.py", "print('main')\n"),
    ]);
    insta::assert_snapshot!(import.imported("app.py"));
}

#[test]
fn the_images_of_one_app_are_listed_together() {
    let import = Import::new(&[(
        "app.py",
        "text = 'FROM python:3.11\\n'\n\
         class One(fal.App):\n    image = ContainerImage.from_dockerfile_str(text)\n\
         class Two(fal.App):\n    name = 'other'\n    image = ContainerImage.from_dockerfile_str(text)\n\
         @fal.function(\n    kind='container',\n    image=ContainerImage.from_dockerfile_str(text),\n    machine_type='GPU-H100',\n)\n\
         def my_function():\n    pass\n",
    )]);
    insta::assert_snapshot!(import.imported("app.py"));
}

#[test]
fn secrets_of_a_dockerfile_come_from_variables() {
    let dockerfile = "FROM python:3.11\nRUN --mount=type=secret,id=pip_token true\n";
    let import = Import::new(&[("Dockerfile", dockerfile)]);
    insta::assert_snapshot!(import.imported("Dockerfile"));
    assert!(import.matrix().contains("[build.secrets]\npip_token = { env = \"PIP_TOKEN\" }\n"));
}

#[test]
fn an_imported_dockerfile_renders_to_the_same_text() {
    let folder = folder();
    let dockerfile = "# syntax=docker/dockerfile:1\n# escape=`\n\
        ARG VERSION='3.11'\n\
        FROM --platform=$BUILDPLATFORM python:${VERSION}-slim AS one\n\
        RUN <<\"EOF\"\necho '{{x}}' \\{{y}} \\\\{{{z}}} {{{{raw}}}} {{{{{five\nCOPY not me\nEOF\n\
        FROM python:3.9 AS other\n\
        ONBUILD COPY . /app\n\
        FROM `\n  # a comment\n  python:3.11\n\
        COPY --from=one /a /a\r\n\
        LABEL a=\"{{\" b='}}' c=\"\\\\\"\n\
        ENTRYPOINT [\"sh\", \"-c\", \"echo {{\"]";
    write(folder.path(), "app/Dockerfile", dockerfile);
    assert_cmd_snapshot!(run(folder.path(), "init new --from app/Dockerfile"));
    let rendered = stdout(run(folder.path(), "render -f new/matrix.toml"));
    assert_eq!(rendered.trim_end(), dockerfile);
    let template = read(folder.path(), "new/dockerfiles/app.Dockerfile.hbs");
    assert_eq!(template.matches("{{python}}").count(), 2, "{template}");
    let matrix =
        read(folder.path(), "new/matrix.toml").replace("[\"3.11\"]", "[\"3.11\", \"3.12\"]");
    write(folder.path(), "new/matrix.toml", &matrix);
    let rendered = stdout(run(folder.path(), "render -f new/matrix.toml --python 3.12"));
    assert!(
        rendered.contains("ARG VERSION='3.12'") && rendered.contains("  python:3.12\n"),
        "{rendered}"
    );
}

#[test]
fn several_images_share_a_matrix() {
    let folder = folder();
    write(folder.path(), "a/config.yaml", "python_version: py311\nresources: {accelerator: T4}\n");
    write(folder.path(), "b/cerebrium.toml", "[cerebrium.deployment]\npython_version = 3.12\n");
    stdout(run(folder.path(), "init new --from a/config.yaml --from b/cerebrium.toml"));
    assert_cmd_snapshot!(run(folder.path(), "plan --offline -f new/matrix.toml"));
    insta::assert_snapshot!(
        read(folder.path(), "new/matrix.toml").split("# Checks").next().unwrap_or_default()
    );
    assert_cmd_snapshot!(run(folder.path(), "explain 3.12-gpu -f new/matrix.toml"));
}

#[test]
fn images_with_and_without_python_and_a_gpu_share_a_matrix() {
    let folder = folder();
    let images = [
        ("cpu/config.yaml", "python_version: py311\n"),
        (
            "gpu/cerebrium.toml",
            "[cerebrium.hardware]\ncompute = \"AMPERE_A10\"\n[cerebrium.deployment]\npython_version = 3.12\n",
        ),
        ("own/config.yaml", "base_image: {image: 'ubuntu:24.04'}\n"),
        (
            "both/config.yaml",
            "base_image: {image: 'nvcr.io/nvidia/pytorch:25.01-py3'}\nresources: {accelerator: T4}\n",
        ),
    ];
    let mut arguments = "init new --strict".to_owned();
    for (path, text) in images {
        write(folder.path(), path, text);
        let _ = write!(arguments, " --from {path}");
    }
    stdout(run(folder.path(), &arguments));
    insta::assert_snapshot!(images_of(&read(folder.path(), "new/matrix.toml")));
    assert_cmd_snapshot!(run(folder.path(), "plan --offline -f new/matrix.toml"));
}

#[test]
fn files_outside_of_the_repository_are_copied() {
    let folder = folder();
    write(folder.path(), "app/docker/Dockerfile", "FROM python:3.11\nCOPY . /src\n");
    write(folder.path(), "app/docker/Dockerfile.dockerignore", "*\n!a.py\n");
    write(folder.path(), "app/a.py", "a\n");
    write(folder.path(), "app/b.py", "b\n");
    write(folder.path(), "other/Dockerfile", "FROM python:3.11\nCOPY . /\n");
    write(folder.path(), "other/.dockerignore", "b.py\n");
    write(folder.path(), "other/a.py", "other\n");
    write(folder.path(), "other/b.py", "b\n");
    write(folder.path(), "other/__pycache__/a.pyc", "");
    stdout(run(folder.path(), "init first --from app/docker/Dockerfile --context app"));
    stdout(run(folder.path(), "init second --from other/Dockerfile"));
    let mut files = Vec::new();
    for new in ["first", "second"] {
        stdout(run(folder.path(), &format!("check --offline -f {new}/matrix.toml")));
        files.extend(files_below(folder.path(), new));
    }
    files.retain(|path| path.contains("/contexts/") || path.contains("/dockerfiles/"));
    insta::assert_snapshot!(files.join("\n"));
    assert_eq!(read(folder.path(), "first/contexts/docker/a.py"), "a\n");
    assert_eq!(read(folder.path(), "second/contexts/other/a.py"), "other\n");
}

#[test]
fn files_of_the_same_repository_are_not_copied() {
    let folder = folder();
    fs_err::create_dir(folder.path().join(".git")).expect("a folder");
    write(folder.path(), "app/Dockerfile", "FROM python:3.11\nCOPY . /app\n");
    write(folder.path(), "app/.dockerignore", "# notes\n*.md\n");
    write(folder.path(), "app/notes.md", "");
    write(folder.path(), "app/views/main.html.hbs", "{{title}}\n");
    stdout(run(folder.path(), "init new --from app/Dockerfile"));
    assert!(!folder.path().join("new/contexts").exists());
    let matrix = read(folder.path(), "new/matrix.toml");
    assert!(matrix.contains("\ncontext = \"../app\"\n"), "{matrix}");
    stdout(run(folder.path(), "check --offline -f new/matrix.toml"));
    stdout(run(folder.path(), "render -f new/matrix.toml -o rendered"));
    insta::assert_snapshot!(files_below(folder.path(), "rendered").join("\n"));
    assert_eq!(read(folder.path(), "rendered/app-3.11/context/views/main.html.hbs"), "{{title}}\n");
    // A matrix beside the Dockerfile.
    stdout(run(&folder.path().join("app"), "init --from Dockerfile"));
    let matrix = read(folder.path(), "app/matrix.toml");
    assert!(matrix.contains("\ncontext = \".\"\n"), "{matrix}");
    stdout(run(&folder.path().join("app"), "check --offline"));
}

#[test]
fn conda_packages_are_comments_without_micromamba() {
    let folder = folder();
    fs_err::create_dir(folder.path().join(".git")).expect("a folder");
    write(
        folder.path(),
        "one/cerebrium.toml",
        "[cerebrium.dependencies.conda]\ncuda = \">=11.7\"\ncudatoolkit = \"11.7\"\nopencv = \"latest\"\n",
    );
    write(
        folder.path(),
        "two/cerebrium.toml",
        "[cerebrium.dependencies.paths]\nconda = \"packages.txt\"\n",
    );
    write(folder.path(), "two/packages.txt", "conda-forge::opencv\n");
    let arguments = "--from one/cerebrium.toml --from two/cerebrium.toml";
    assert_cmd_snapshot!(run(folder.path(), &format!("init new --strict {arguments}")));
    stdout(run(folder.path(), &format!("init new {arguments}")));
    stdout(run(folder.path(), "check --offline -f new/matrix.toml"));
    let matrix = read(folder.path(), "new/matrix.toml");
    insta::assert_snapshot!(matrix);
    let (mut uncommented, mut is_conda) = (String::new(), false);
    for line in matrix.lines() {
        let rest = line.strip_prefix("# ").unwrap_or_default();
        is_conda = rest.starts_with("[set.conda]")
            || rest.starts_with("[build.tools")
            || (is_conda && !rest.is_empty());
        uncommented.push_str(if is_conda { rest } else { line });
        uncommented.push('\n');
    }
    let filled = uncommented
        .replace("https://…", "https://example.com")
        .replace("sha256 = \"…", &format!("sha256 = \"{}", "0".repeat(64)));
    write(folder.path(), "new/matrix.toml", &filled);
    let rendered = stdout(run(folder.path(), "render -f new/matrix.toml"));
    for package in ["cuda>=11.7", "opencv", "--file /run/context/packages.txt"] {
        assert!(rendered.contains(package), "{package}: {rendered}");
    }
}
