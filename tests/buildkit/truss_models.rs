//! Models that Truss from PyPI builds on the images of this repository, with its own Dockerfiles.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::harness::pypi;
use crate::harness::testbed::{self, docker_command};
use crate::images::{basegen, project};

/// One small library, so that the image differs from one for the CPU.
const ONE_LIBRARY: &str = r#"
[[set]]
when = { gpu = true }
variables = { cuda_libraries = ["cuda-runtime"] }
"#;

const MODEL: &str = "\
class Model:
    def predict(self, request):
        return {'answer': request['number'] + 1}
";

const SERVER: &str = "\
from fastapi import FastAPI

app = FastAPI()


@app.get('/')
def ready():
    return {}


@app.post('/predict')
def predict(request: dict):
    return {'answer': request['number'] + 1}
";

const DOCKER_SERVER: &str = "\
docker_server:
  start_command: uvicorn --app-dir /app/model server:app --port 8000
  server_port: 8000
  predict_endpoint: /predict
  readiness_endpoint: /
  liveness_endpoint: /
";

/// The Python of Truss' control server, which live reload and `docker_server` install with uv.
const CONTROL_PYTHON: &str = "3.14";

/// Makes the Python of the image the one that uv has installed, so that uv does not download it from GitHub. Adds the
/// certificates of the network.
const SUBSTITUTE: &str = "\
RUN mkdir -p /root/.local/share/uv/python \\
    && ln -s /usr/local \"/root/.local/share/uv/python/cpython-$PYTHON_VERSION-linux-$(uname -m)-gnu\"
COPY certificates.pem /etc/ssl/certs/ca-certificates.crt
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
";

const GPU: &str = "resources:\n  use_gpu: true\n  accelerator: T4\n";
const LIVE_RELOAD: &str = "live_reload: true\n";

/// What docker prints if the container of a step ended before it ran anything. basegen repeats such a step, docker does not.
const NOT_STARTED: &str = "read init-p: connection reset by peer";

/// Runs a command, which must succeed, and returns its output.
pub(crate) fn printed(command: &mut Command) -> String {
    let mut run = || {
        let Output { status, stdout, stderr } = command.output().expect("the command runs");
        let text = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        (status.success(), text.concat())
    };
    let (mut success, mut text) = run();
    if !success && text.contains(NOT_STARTED) {
        (success, text) = run();
    }
    assert!(success, "{command:?}:\n{text}");
    text
}

/// The release of Truss whose requirements the images have, installed from PyPI, with uv.
struct Truss {
    environment: PathBuf,
    /// The version tag of the base images that it builds on.
    version: String,
}

impl Truss {
    /// Returns the installation, which all tests share.
    fn get() -> &'static Self {
        static INSTALLED: OnceLock<Truss> = OnceLock::new();
        INSTALLED.get_or_init(Self::install)
    }

    fn install() -> Self {
        let environment = pypi::environment(&[&pypi::truss_requirement(), &pypi::uv_requirement()]);
        let mut truss = Self { environment, version: String::new() };
        truss.version = truss.evaluate("util.TRUSS_BASE_IMAGE_VERSION_TAG");
        truss
    }

    /// Returns a command of the package, which writes its settings to `home`.
    fn command(&self, program: &str, home: &Path) -> Command {
        let mut command = Command::new(self.environment.join("bin").join(program));
        command.env("HOME", home).env("NO_COLOR", "1");
        command
    }

    /// Returns the name of the base image for a version of Python.
    fn image(&self, python: &str) -> String {
        let tag = format!("util.truss_base_image_tag('{python}', False, '{}')", self.version);
        format!("{}:{}", self.evaluate("constants.TRUSS_BASE_IMAGE_NAME"), self.evaluate(&tag))
    }

    /// Publishes images for servers under the version that Truss uses, for `platform` or for the engine's own.
    fn publish(&self, variants: &[String], platform: Option<&str>) {
        let folder = project(ONE_LIBRARY);
        let registry = testbed::registry();
        let mut arguments = vec!["--push", "--overwrite", "--registry", &registry];
        arguments.extend(["--version-tag", &self.version]);
        arguments.extend(variants.iter().flat_map(|variant| ["--variant", variant]));
        arguments.extend(platform_option(platform));
        let output = basegen(folder.path(), &arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        if !has_substitutes() {
            // The machine's engine has no mirror of Docker Hub.
            for line in String::from_utf8_lossy(&output.stdout).lines() {
                let (image, _) = line.split_once('@').expect("a digest");
                let name = image.split_once('/').expect("a registry").1;
                let pull = ["pull", image].into_iter().chain(platform_option(platform));
                printed(&mut docker_command(&pull.collect::<Vec<_>>()));
                printed(&mut docker_command(&["tag", image, name]));
            }
        }
    }

    /// Returns the value of a Python expression, which can use modules of Truss.
    fn evaluate(&self, expression: &str) -> String {
        let home = tempfile::tempdir().expect("a folder");
        let mut command = self.command("python", home.path());
        let code = format!(
            "from truss.base import constants\nfrom truss.contexts.image_builder import util\n\
             print({expression})"
        );
        let output = command.args(["-c", &code]).output().expect("python runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
    }
}

/// Returns docker's option for a platform.
fn platform_option(platform: Option<&str>) -> impl Iterator<Item = &str> {
    platform.into_iter().flat_map(|platform| ["--platform", platform])
}

/// A model: its version of Python, and the rest of its configuration.
struct Model {
    name: &'static str,
    python: String,
    config: &'static str,
    /// The platform; `None` for the engine's own.
    platform: Option<&'static str>,
}

impl Model {
    fn new(name: &'static str, python: &str, config: &'static str) -> Self {
        Self { name, python: python.to_owned(), config, platform: None }
    }

    /// Returns true if Truss adds a control server, which has its own Python and packages.
    fn has_control_server(&self) -> bool {
        self.config == LIVE_RELOAD || self.config == DOCKER_SERVER
    }

    fn write(&self, folder: &Path) {
        fs_err::create_dir_all(folder.join("model")).expect("a folder");
        let python = self.python.replace('.', "");
        let config = format!("python_version: py{python}\n{}", self.config);
        for (file, text) in [
            ("config.yaml", config.as_str()),
            ("model/__init__.py", ""),
            ("model/model.py", MODEL),
            ("model/server.py", SERVER),
        ] {
            fs_err::write(folder.join(file), text).expect("a file");
        }
    }

    /// Builds the image with Truss' own Dockerfile. Returns its name, and what the build printed.
    fn build(&self, truss: &Truss) -> (String, String) {
        let folder = tempfile::tempdir().expect("a folder");
        let (model, context) = (folder.path().join("model"), folder.path().join("context"));
        self.write(&model);
        let mut command = truss.command("truss", folder.path());
        command.args(["image", "build-context", "--non-interactive"]).arg(&context).arg(&model);
        printed(&mut command);

        let image = format!("basegen-test/truss-{}:{}", self.name, testbed::unique());
        // Steps from the cache print nothing.
        let mut command = docker_command(&["buildx", "build", "--progress", "plain", "--no-cache"]);
        command.args(["--load", "--tag", &image]).args(platform_option(self.platform));
        if self.has_control_server() && has_substitutes() {
            command
                .args(["--build-context", &substitute(&truss.image(&self.python), folder.path())]);
        }
        let log = printed(command.arg(&context));
        (image, log)
    }
}

/// Returns true if Truss' step found all packages in the base image and installed none.
fn was_complete(log: &str) -> bool {
    let step = log.lines().find(|line| line.contains("RUN UV_HTTP_TIMEOUT"));
    let step = step.and_then(|line| line.split(' ').next()).expect("Truss' step");
    let mut lines = log.lines().filter(|line| line.split(' ').next() == Some(step));
    lines.clone().any(|line| line.contains(" Checked "))
        && !lines.any(|line| line.contains("nstalled "))
}

/// Returns true if the test bed has substitutes for upstream images. It then does not reach GitHub.
fn has_substitutes() -> bool {
    std::env::var("BASEGEN_TESTBED_ENGINE").is_ok_and(|engine| engine != "machine")
}

/// Adds to an image what the test bed's network lacks, and returns the option that puts the result in the image's place.
fn substitute(image: &str, folder: &Path) -> String {
    let context = folder.join("substitute");
    fs_err::create_dir(&context).expect("a folder");
    fs_err::copy(testbed::certificates(), context.join("certificates.pem")).expect("certificates");
    fs_err::write(context.join("Dockerfile"), format!("FROM {image}\n{SUBSTITUTE}"))
        .expect("a file");
    let name =
        format!("{}/basegen-test/truss-substitute:{}", testbed::registry(), testbed::unique());
    let mut command = docker_command(&["buildx", "build", "--push", "--tag", &name]);
    printed(command.arg(&context));
    // Some engines also keep what they push.
    let _ = docker_command(&["rmi", &name]).output();
    format!("{image}=docker-image://{name}")
}

/// A running model. Its container and image are removed at the end.
struct Running {
    container: String,
    image: String,
}

impl Running {
    fn start(image: String, platform: Option<&str>) -> Self {
        let mut command = docker_command(&["run", "--detach"]);
        let id = printed(command.args(platform_option(platform)).arg(&image));
        // Docker warns of another platform before it prints the id.
        let container = id.lines().find(|line| line.len() == 64).expect("an id").to_owned();
        Self { container, image }
    }

    /// Requests a path of the server, which may still be starting.
    fn request(&self, path: &str, body: Option<&Value>) -> Value {
        let url = format!("http://localhost:8080{path}");
        let mut command =
            docker_command(&["exec", &self.container, "curl", "--silent", "--show-error"]);
        command.args(["--fail", "--retry", "90", "--retry-delay", "1", "--retry-all-errors"]);
        if let Some(body) = body {
            command.args([
                "--header",
                "Content-Type: application/json",
                "--data",
                &body.to_string(),
            ]);
        }
        let output = command.arg(url).output().expect("docker runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{path}: {errors}\n{}", self.logs());
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    fn predict(&self) -> Value {
        self.request("/v1/models/model:predict", Some(&json!({ "number": 41 })))
    }

    /// Changes the code of the model as `truss watch` does.
    fn patch(&self, code: &str) {
        let hash = self.request("/control/truss_hash", None)["result"].clone();
        let body = json!({ "action": "UPDATE", "path": "model.py", "content": code });
        let patch = json!({ "type": "model_code", "body": body });
        let patch = json!({ "hash": "changed", "prev_hash": hash, "patches": [patch] });
        self.request("/control/patch", Some(&patch));
    }

    fn logs(&self) -> String {
        printed(&mut docker_command(&["logs", &self.container]))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = docker_command(&["rm", "--force", &self.container]).output();
        let _ = docker_command(&["rmi", &self.image]).output();
    }
}

fn pythons() -> Vec<String> {
    let pythons = std::env::var("BASEGEN_TESTBED_PYTHONS").expect("the bed's Pythons");
    pythons.split_whitespace().map(str::to_owned).collect()
}

/// Returns Truss, after publishing its base images.
fn published() -> &'static Truss {
    static PUBLISHED: OnceLock<()> = OnceLock::new();
    let truss = Truss::get();
    PUBLISHED.get_or_init(|| {
        let servers = pythons().into_iter().map(|python| format!("{python}-server"));
        let variants: Vec<String> = servers.chain(["3.11-gpu-server".to_owned()]).collect();
        truss.publish(&variants, None);
    });
    truss
}

#[test]
fn models_build_without_installing_requirements() {
    let truss = published();
    for python in pythons() {
        start(&Model::new("cpu", &python, ""), truss);
    }
    start(&Model::new("gpu", "3.11", GPU), truss);
}

#[test]
fn live_reload_updates_a_running_model() {
    let model = start(&Model::new("live-reload", CONTROL_PYTHON, LIVE_RELOAD), published());
    model.patch(&MODEL.replace("+ 1", "+ 2"));
    assert_eq!(model.predict(), json!({ "answer": 43 }));
}

#[test]
fn a_docker_server_returns_predictions() {
    start(&Model::new("docker-server", CONTROL_PYTHON, DOCKER_SERVER), published());
}

#[test]
#[ignore = "needs emulation of arm64, and publishes other images under the same tags: `make test-arm64`"]
fn a_model_for_arm64_returns_predictions() {
    let truss = Truss::get();
    truss.publish(&["3.11-server".to_owned()], Some("linux/arm64"));
    let model = Model { platform: Some("linux/arm64"), ..Model::new("arm64", "3.11", "") };
    start(&model, truss);
}

/// Builds and starts a model, and asserts its prediction.
fn start(model: &Model, truss: &Truss) -> Running {
    let (image, log) = model.build(truss);
    if model.config != DOCKER_SERVER {
        assert!(was_complete(&log), "{}, Python {}:\n{log}", model.name, model.python);
    }
    let running = Running::start(image, model.platform);
    assert_eq!(running.predict(), json!({ "answer": 42 }), "{}", running.logs());
    running
}

/// Lays the example out in a clone of Truss as its README says, with the constant of the installed release.
#[test]
fn the_example_lists_the_names_that_truss_computes() {
    let truss = Truss::get();
    let clone = tempfile::tempdir().expect("a folder");
    let [images, builder] = ["docker/base_images", "truss/contexts/image_builder"];
    for folder in [".git", images, builder] {
        fs_err::create_dir_all(clone.path().join(folder)).expect("a folder");
    }
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/truss/.");
    printed(Command::new("cp").arg("-RL").arg(example).arg(clone.path().join(images)));
    let constant = clone.path().join(builder).join("util.py");
    fs_err::copy(truss.evaluate("util.__file__"), constant).expect("the constant");
    let product = format!("[project]\nversion = \"{}\"\n", truss.version.trim_start_matches('v'));
    fs_err::write(clone.path().join("pyproject.toml"), product).expect("a file");

    let names = truss.evaluate(
        "*[f'{constants.TRUSS_BASE_IMAGE_NAME}:' \
           + util.truss_base_image_tag(python, gpu, util.TRUSS_BASE_IMAGE_VERSION_TAG) \
           for python in constants.SUPPORTED_PYTHON_VERSIONS for gpu in (False, True)], sep='\\n'",
    );
    let output = basegen(&clone.path().join(images), &["list"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), names);
    assert_eq!(names.lines().count(), 12, "{names}");
}

/// Creates a wheel of a newer release, which requires only numpy 2, and runs the check of `refresh-pins` with it.
const NEWER_TRUSS: &str = "
import runpy, sys, zipfile
with zipfile.ZipFile('truss-99.0-py3-none-any.whl', 'w') as wheel:
    wheel.writestr('truss/templates/server/requirements.txt', '-i https://index.invalid\\n\\nnumpy>=2\\n')
    wheel.writestr('truss/templates/server/constraints.txt', 'numpy>=2\\n')
    wheel.writestr('truss-99.0.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: truss\\nVersion: 99.0\\n')
    wheel.writestr('truss-99.0.dist-info/WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    wheel.writestr('truss-99.0.dist-info/RECORD', '')
sys.exit(runpy.run_path(sys.argv[1])['has_newer_truss']())
";

#[test]
fn refresh_pins_reports_the_requirements_of_a_newer_truss() {
    let (truss, folder) = (Truss::get(), tempfile::tempdir().expect("a folder"));
    let pins = Path::new(env!("CARGO_MANIFEST_DIR")).join("dockerfiles/refresh-pins");
    let path = std::env::var("PATH").expect("a path");
    let mut command = truss.command("python", folder.path());
    command.args(["-c", NEWER_TRUSS]).arg(pins).current_dir(folder.path());
    command.env("UV_OFFLINE", "1").env("UV_FIND_LINKS", folder.path());
    command.env("PATH", format!("{}:{path}", truss.environment.join("bin").display()));
    let output = command.output().expect("python runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("\n-numpy>=1.23.5,<2.0"), "{errors}");
    assert!(errors.contains("\n+numpy>=2\n"), "{errors}");
    let hint = "truss 99.0 has other requirements: dockerfiles/refresh-pins --truss 99.0\n";
    assert!(errors.ends_with(hint), "{errors}");
}
