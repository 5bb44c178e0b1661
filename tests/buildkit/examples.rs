//! One image of each matrix in `examples/`, built and run, and the tags that are read from images.
//!
//! The tests replace base images, and downloads that the test bed's network does not reach.

use std::cell::RefCell;
use std::collections::BTreeSet;

use crate::harness::project::{copy, example, init_repository};
use crate::harness::registry::FakeRegistry;
use crate::harness::testbed;

/// An upstream image that the test bed has.
const BASE: &str = "python:3.11-slim-bookworm";

/// A copy of an example. The images that it has built are removed at the end.
struct Example {
    folder: tempfile::TempDir,
    built: RefCell<Vec<String>>,
}

impl Example {
    fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        copy(&example(name), folder.path());
        init_repository(folder.path());
        Self { folder, built: RefCell::default() }
    }

    fn write(&self, path: &str, text: &str) {
        fs_err::write(self.folder.path().join(path), text).expect("a file");
    }

    /// Replaces a text that a file of the example contains.
    fn replace(&self, path: &str, from: &str, to: &str) {
        let file = self.folder.path().join(path);
        let text = fs_err::read_to_string(&file).expect("a file");
        assert!(text.contains(from), "{path} does not contain {from}");
        fs_err::write(file, text.replace(from, to)).expect("a file");
    }

    /// Replaces the array that begins with this line.
    fn replace_array(&self, path: &str, line: &str, to: &str) {
        let file = self.folder.path().join(path);
        let text = fs_err::read_to_string(&file).expect("a file");
        let (before, rest) = text.split_once(&format!("\n{line}\n")).expect("an array");
        let (_, after) = rest.split_once("\n]\n").expect("the end of the array");
        fs_err::write(file, format!("{before}\n{to}\n{after}")).expect("a file");
    }

    /// Returns what the command prints with these arguments.
    fn basegen(&self, arguments: &str) -> String {
        let mut command = testbed::basegen(self.folder.path());
        command.args(arguments.split_whitespace()).env("NO_COLOR", "1");
        if let Some(certificates) = std::env::var_os("BASEGEN_TESTBED_CA") {
            command.env("SSL_CERT_FILE", certificates);
        }
        let output = command.output().expect("the command runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "basegen {arguments}:\n{errors}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Builds the selected images, with those that they are built on. Returns their names.
    fn build(&self, selection: &str) -> Vec<String> {
        let printed = self.basegen(&format!("{selection} --platform linux/amd64"));
        let names =
            printed.lines().map(|line| line.split_once('@').expect("a digest").0.to_owned());
        let names: Vec<String> = names.collect();
        self.built.borrow_mut().extend(names.clone());
        names
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        for image in self.built.borrow().iter() {
            let _ = testbed::docker_command(&["rmi", "--force", image]).output();
        }
    }
}

/// Returns the output of a command in a container of the image.
fn run(image: &str, command: &[&str]) -> String {
    let output = testbed::docker_command(&["run", "--rm", "--entrypoint", command[0], image])
        .args(&command[1..])
        .output()
        .expect("docker runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}

#[test]
fn cog() {
    let example = Example::new("cog");
    example.replace("matrix.toml", "python:{{python}}-slim\"", "python:{{python}}-slim-bookworm\"");
    example.replace_array("matrix.toml", "apt = [", "apt = [\"tini\", \"tree\"]");
    let images = example.build("--variant 3.11");
    assert_eq!(images, ["r8.im/cog-base:python3.11"]);
    assert_eq!(run(&images[0], &["tini", "--", "python", "-c", "print(6 * 7)"]), "42");
    assert_eq!(run(&images[0], &["which", "tree"]), "/usr/bin/tree");
}

#[test]
fn docker_library() {
    let example = Example::new("docker-library");
    example.replace("matrix.toml", "ca-certificates netbase tzdata", "");
    example.replace("dockerfiles/Dockerfile.hbs", "apt-get update", "true");
    // To compile Python takes minutes, and needs its source from the internet.
    example.write(
        "dockerfiles/compile",
        "#!/bin/sh\nprintf '#!/bin/sh\\necho Python %s\\n' \"$PYTHON_VERSION\" >/usr/local/bin/python3\n\
         chmod +x /usr/local/bin/python3\necho \"$1\" >/sha256\n",
    );
    let images = example.build("--python 3.14 --only distro=slim-bookworm");
    assert_eq!(images, ["python:3.14.6-slim-bookworm"]);
    assert_eq!(run(&images[0], &["python3"]), "Python 3.14.6");
    let hash = run(&images[0], &["cat", "/sha256"]);
    assert!(hash.starts_with("143b1ddd"), "{hash}");
}

/// Creates programs and packages of Jupyter's stacks that only print a version.
const STAND_INS: &str = r#"
program() {
    printf '#!/bin/sh\necho "%s"\n' "$2" >"/usr/local/bin/$1"
    chmod +x "/usr/local/bin/$1"
}
program R 'R version 4.5.2 (2025-10-31)'
program conda 'conda 26.1.0'
program java 'openjdk 21.0.9 2025-10-21'
program julia 'julia version 1.12.2'
program jupyter-lab 4.5.0
program jupyter-notebook 7.5.0
program jupyterhub 5.4.2
program mamba 2.3.0
mkdir /usr/local/spark
echo 'Spark 4.1.0 (git revision 0123456) built for Hadoop 3.4.2' >/usr/local/spark/RELEASE
packages=$(python -c 'import site; print(site.getsitepackages()[0])')
echo "__version__ = '2.20.0'" >"$packages/tensorflow.py"
echo "__version__ = '2.9.1+cpu'" >"$packages/torch.py"
"#;

/// Returns Jupyter's stacks without their packages: those of conda are from the internet, and those of apt are large.
fn docker_stacks() -> Example {
    let example = Example::new("docker-stacks");
    example.replace("dockerfiles/notebook.Dockerfile.hbs", "ubuntu:24.04", BASE);
    let matrix =
        fs_err::read_to_string(example.folder.path().join("matrix.toml")).expect("a matrix");
    let mut kept = String::new();
    let mut is_array = false;
    for line in matrix.lines() {
        let begins = ["apt = ", "conda = ", "pip = "].iter().any(|key| line.starts_with(key));
        if !begins && !is_array && !line.starts_with("shell_commands") {
            kept.push_str(line);
            kept.push('\n');
        }
        is_array = (begins && line.ends_with('[')) || (is_array && line != "]");
    }
    let foundation = "value = \"docker-stacks-foundation\"\n";
    let commands = "shell_commands = [\"sh /usr/local/bin/stand-ins\"]\n";
    example.write("matrix.toml", &kept.replace(foundation, &format!("{foundation}{commands}")));
    example.write("dockerfiles/foundation/stand-ins", STAND_INS);
    example
}

#[test]
fn docker_stacks_are_based_on_each_other() {
    let example = docker_stacks();
    let images = example.build("--only image=minimal-notebook --version-tag test");
    assert_eq!(images.last().map(String::as_str), Some("quay.io/jupyter/minimal-notebook:test"));
    let image = images.last().expect("an image");
    // Each of the three images adds one of these files.
    let paths = [
        "/usr/local/bin/start.sh",
        "/etc/jupyter/docker_healthcheck.py",
        "/opt/setup-scripts/setup-julia",
    ];
    assert_eq!(run(image, &[&["ls"][..], &paths].concat()).lines().count(), 3);
    assert_eq!(
        run(image, &["sh", "-c", "id -u; pwd; echo $NB_USER $JUPYTER_PORT"]),
        "1000\n/home/jovyan\njovyan 8888"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_stacks_have_tags_with_versions_of_installed_software() {
    let example = docker_stacks();
    let registry = FakeRegistry::start().await;
    example.replace("matrix.toml", "platforms = [\"linux/amd64\", \"linux/arm64\"]\n", "");
    let pushed = format!("--push --version-tag 0123456789ab --registry {}", registry.host());
    let printed = example.basegen(&pushed);
    let prefix = format!("{}/", registry.host());
    let repositories = printed.lines().map(|image| {
        let name = image.strip_prefix(&prefix).expect("an image in the registry");
        name.split(':').next().expect("a repository")
    });
    let repositories: BTreeSet<&str> = repositories.collect();
    let tags = repositories.into_iter().flat_map(|repository| {
        let tags = registry.tags(repository).into_iter().map(|(tag, _)| tag);
        let tags = tags.filter(|tag| !tag.starts_with("basegen-"));
        tags.map(move |tag| format!("{repository}:{tag}"))
    });
    let tags: Vec<String> = tags.collect();
    assert_eq!(tags.len(), 165);
    let filters = [(r"python-3\.11\.\d+", "python-3.11.X"), (r"\d{4}-\d\d-\d\d", "DATE")];
    insta::with_settings!({ filters => filters }, { insta::assert_snapshot!(tags.join("\n")) });
}

#[test]
fn rapids() {
    let example = Example::new("rapids");
    example.replace("matrix.toml", "nvidia/cuda:{{cuda}}-base-{{os}}", BASE);
    // The scripts download tools, and install packages of another distribution.
    for script in ["install", "tools", "python"] {
        example
            .write(&format!("context/scripts/{script}"), "#!/bin/bash\necho \"$0 $*\" >>/called\n");
    }
    let images = example
        .build("--only cuda=13.3.0 --python 3.14 --only os=ubuntu26.04 --only image=citestwheel");
    assert_eq!(images, ["rapidsai/citestwheel:26.10-cuda13.3.0-ubuntu26.04-py3.14"]);
    let called = run(&images[0], &["cat", "/called"]);
    assert!(called.ends_with("/tmp/scripts/python 3.14 certifi>=2026.1.4 rapids-dependency-file-generator==1.*,>=1.22"), "{called}");
    let variables = run(&images[0], &["sh", "-c", "echo $RAPIDS_CUDA_VERSION $RAPIDS_CONDA_ARCH"]);
    assert_eq!(variables, "13.3.0 linux64");
}

#[test]
fn runpod() {
    let example = Example::new("runpod");
    example.replace(
        "dockerfiles/base.Dockerfile.hbs",
        "nvidia/cuda:{{cuda}}-cudnn-devel-ubuntu{{ubuntu}}",
        BASE,
    );
    // The versions of Python are in a package repository for Ubuntu.
    example.replace(
        "matrix.toml",
        "pythons = [\"3.9\", \"3.10\", \"3.11\", \"3.12\", \"3.13\"]",
        "pythons = []",
    );
    example.replace(
        "matrix.toml",
        "pip = { torch = \"=={{torch}}\", torchaudio = \"=={{torch}}\", \"--torch-backend\" = \"cu{{wheels}}\" }",
        "pip = { idna = \"==3.10\" }",
    );
    example.replace(
        "matrix.toml",
        "pip = { torchvision = \"=={{vision}}\" }",
        "pip = { six = \"==1.17.0\" }",
    );
    example.write("dockerfiles/container/packages.txt", "nginx-light\n");
    example.write("dockerfiles/requirements/base.txt", "# None.\n");
    let images = example
        .build("--only family=pytorch --only cuda=12.8.1 --only torch=2.8.0 --only ubuntu=22.04");
    assert_eq!(
        images.last().map(String::as_str),
        Some("runpod/pytorch:1.0.7-cu1281-torch280-ubuntu2204")
    );
    let image = images.last().expect("an image");
    let program = "import idna, six; print(idna.__version__, six.__version__)";
    assert_eq!(run(image, &["python", "-c", program]), "3.10 1.17.0");
    assert_eq!(run(image, &["sh", "-c", "ls /start.sh && cat /etc/runpod.txt"]).lines().count(), 2);
}

#[test]
fn text_embeddings_inference() {
    let example = Example::new("text-embeddings-inference");
    example.replace("dockerfiles/cpu.Dockerfile", "apt-get update", "true");
    let packages = "ca-certificates curl libomp-dev libssl-dev";
    example.replace("dockerfiles/cpu.Dockerfile", packages, "");
    let images = example.build("--only hw=cpu --only grpc=true");
    let name = "ghcr.io/huggingface/text-embeddings-inference:cpu-1.9.3-grpc";
    assert!(images.iter().any(|image| image == name), "{images:?}");
    let printed = run(name, &["text-embeddings-router"]);
    assert_eq!(printed, "text-embeddings-router ort candle mkl static-linking grpc, CUDA none");
}
