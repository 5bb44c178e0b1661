//! Builds the repositories that `basegen init` writes, and runs their images.

use std::path::Path;

use crate::harness::project::write;
use crate::harness::testbed;

fn basegen(folder: &Path, arguments: &str) -> String {
    let mut command = testbed::basegen(folder);
    command.args(arguments.split_whitespace()).env("NO_COLOR", "1").env("MY_TOKEN", "token");
    if let Some(certificates) = std::env::var_os("BASEGEN_TESTBED_CA") {
        command.env("SSL_CERT_FILE", certificates);
    }
    let output = command.output().expect("the command runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "basegen {arguments}:\n{errors}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Returns the output of `command` in a container of `image`, or of its own command.
fn container(image: &str, command: &[&str]) -> String {
    let output = testbed::docker_command(&["run", "--rm", image]).args(command).output();
    let output = output.expect("docker runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}

/// Creates a repository in `new` with the options `origins`, builds the selected image, and returns its name.
fn built(folder: &Path, origins: &str, selection: &str) -> String {
    basegen(folder, &format!("init new {origins}"));
    if basegen(folder, "list -f new/matrix.toml").contains("-gpu-") {
        // Removes the larger of the two CUDA libraries.
        let matrix = fs_err::read_to_string(folder.join("new/matrix.toml")).expect("a matrix");
        write(
            folder,
            "new/matrix.toml",
            &matrix.replace(", nvidia-cublas-cu12 = \"12.8.4.1\"", ""),
        );
    }
    let name = format!("basegen-test/init-{}", testbed::unique());
    let built = basegen(folder, &format!("-f new/matrix.toml {selection} --repository {name}"));
    assert_eq!(built.lines().count(), 1, "{built}");
    built.split_once('@').expect("a digest").0.to_owned()
}

#[test]
fn images_of_a_new_repository_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let image = built(folder.path(), "", "--python 3.11 --no-gpu");
    let version = ["python", "-c", "import sys; print(sys.version_info[:2])"];
    assert_eq!(container(&image, &version), "(3, 11)");
    let folder = tempfile::tempdir().expect("a folder");
    let image = built(folder.path(), "", "--python 3.11 --gpu");
    let load = ["python", "-c", "import ctypes; ctypes.CDLL('libcudart.so.12'); print('loaded')"];
    assert_eq!(container(&image, &load), "loaded");
}

#[test]
fn the_image_of_an_imported_truss_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    write(
        folder.path(),
        "truss/config.yaml",
        "model_name: Small Model\n\
         python_version: py311\n\
         requirements:\n  - six==1.17.0; python_version < \"4\"\n\
         requirements_file: ./more.txt\n\
         system_packages: [tree]\n\
         environment_variables: {QUOTED: '\"a\" $HOME {{b}} \\ c', MAX_BATCH_SIZE: \"32\"}\n\
         build_commands:\n  - echo '{{x}}' > /made\n  - |\n    echo a >> /made\n    echo b >> /made\n\
         docker_server:\n  start_command: sh -c \"cat /made && echo $MAX_BATCH_SIZE\"\n  server_port: 8000\n",
    );
    write(folder.path(), "truss/more.txt", "idna==3.10\n");
    let image = built(folder.path(), "--from truss/config.yaml", "--python 3.11");
    assert_eq!(container(&image, &[]), "{{x}}\na\nb\n32");
    let program =
        "import os, six, idna, shutil; print(os.environ['QUOTED'], bool(shutil.which('tree')))";
    assert_eq!(container(&image, &["python", "-c", program]), "\"a\" $HOME {{b}} \\ c True");
}

#[test]
fn the_image_of_an_imported_cerebrium_toml_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    write(
        folder.path(),
        "app/cerebrium.toml",
        "[cerebrium.deployment]\nname = \"app\"\npython_version = 3.11\n\
         docker_base_image_url = \"debian:bookworm-slim\"\n\
         pre_build_commands = [\"touch /before\"]\n\
         shell_commands = [\"python -m prepare > /after\"]\n\
         [cerebrium.dependencies.pip]\nsix = \"==1.17.0\"\n\
         [cerebrium.dependencies.paths]\napt = \"packages.txt\"\n\
         [cerebrium.runtime.custom]\nentrypoint = [\"cat\", \"/after\"]\nport = 8080\n",
    );
    write(folder.path(), "app/packages.txt", "# tools\ntree\n");
    write(folder.path(), "app/prepare.py", "import six\nprint(six.__version__)\n");
    let image = built(folder.path(), "--from app/cerebrium.toml", "--python 3.11");
    assert_eq!(container(&image, &[]), "1.17.0");
    assert_eq!(
        container(&image, &["sh", "-c", "ls /before *.* && command -v tree"]),
        "/before\npackages.txt\nprepare.py\n/usr/bin/tree"
    );
}

#[test]
fn the_image_of_an_imported_dockerfile_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    write(
        folder.path(),
        "app/Dockerfile",
        "ARG PYTHON=3.11\n\
         FROM python:${PYTHON}-slim-bookworm AS made\n\
         RUN <<'EOF'\necho '{{x}} \\{{y}}' > /made\nEOF\n\
         FROM python:3.11-slim-bookworm\n\
         WORKDIR /app\n\
         COPY requirements.txt *.py ./\n\
         COPY src/ ./src/\n\
         COPY --from=made /made /made\n\
         ENTRYPOINT [\"sh\", \"-c\", \"cat /made && ls /app /app/src\"]\n",
    );
    for path in ["requirements.txt", "one.py", "two.py", "src/main.py"] {
        write(folder.path(), &format!("app/{path}"), "");
    }
    let image = built(folder.path(), "--from app/Dockerfile", "--python 3.11");
    let expected =
        "{{x}} \\{{y}}\n/app:\none.py\nrequirements.txt\nsrc\ntwo.py\n\n/app/src:\nmain.py";
    assert_eq!(container(&image, &[]), expected);
}

#[test]
fn the_image_of_an_imported_fal_app_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    fs_err::create_dir(folder.path().join(".git")).expect("a folder");
    write(
        folder.path(),
        "app/app.py",
        "class Server(fal.App):\n\
         \x20   image = ContainerImage.from_dockerfile_str(\n\
         \x20       \"\"\"\n\
         \x20       ARG PY_VERSION=3.9\n\
         \x20       FROM python:${PY_VERSION}-slim-bookworm\n\
         \x20       ARG GREETING\n\
         \x20       COPY . /app/\n\
         \x20       RUN --mount=type=secret,id=token test $(cat /run/secrets/token) = token && echo $GREETING > /made\n\
         \x20       CMD cat /made && ls /app && python --version\n\
         \x20       \"\"\",\n\
         \x20       build_args={'PY_VERSION': '3.11', 'GREETING': 'hello'},\n\
         \x20       secrets={'token': '$MY_TOKEN'},\n\
         \x20       context_dir='src',\n\
         \x20       dockerignore=['*.md'],\n\
         \x20       compression='gzip',\n\
         \x20       force_compression=True,\n\
         \x20   )\n\
         \x20   image.add_dockerignore(patterns=['data'])\n",
    );
    for path in ["main.py", "notes.md", "data/x"] {
        write(folder.path(), &format!("app/src/{path}"), "");
    }
    let image = built(folder.path(), "--strict --from app/app.py", "--python 3.11");
    let printed = container(&image, &[]);
    assert!(printed.starts_with("hello\nmain.py\nPython 3.11."), "{printed}");
}
