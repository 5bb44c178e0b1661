//! Configurations of `basegen use`, loaded by the platforms' own packages from PyPI.
//!
//! Cerebrium has no such package: its file is compared with the keys that its documentation names.

use std::path::Path;

use basegen::export::platforms::{
    Configuration, DockerAuth, PublishedImage, RegistryKind, Server, baseten, cerebrium, fal,
};
use basegen::image::{Digest, Reference};
use serde_json::{Value, json};

use crate::harness::page::Section;
use crate::harness::project::{basegen, stdout, write};
use crate::harness::pypi;

const FAL: &str = "fal==1.83.0";

const ECR: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
const GOOGLE: &str = "europe-docker.pkg.dev";
const COMMAND: &str = "sh -c \"python -m server --name 'a: b' # \\\\ \u{e4}\"";

/// Prints the configurations that Truss loads from the files in the arguments.
const LOAD_TRUSS: &str = "
import json, pathlib, sys
from truss.base.truss_config import TrussConfig

configs = [TrussConfig.from_yaml(pathlib.Path(path)) for path in sys.argv[1:]]
print(json.dumps([config.to_dict(verbose=False) for config in configs]))
";

/// Prints what fal would build and run for each of the files in the arguments.
const LOAD_FAL: &str = "
import json, os, runpy, sys
import fal.app

os.environ.update(ECR_PASSWORD='ecr', REGISTRY_USERNAME='user')

def load(path):
    module = runpy.run_path(path)
    if 'Model' in module:
        options = fal.app.wrap_app(module['Model']).options
        routes = [route.path for route in module['Model'](_allow_init=True).collect_routes()]
    else:
        options, routes = module['serve'].options, []
    return {
        'image': options.environment['image'],
        'machine': options.host['machine_type'] if 'machine_type' in options.host else None,
        'port': options.gateway.get('exposed_port'),
        'routes': routes,
    }

print(json.dumps([load(path) for path in sys.argv[1:]]))
";

/// An app with each parameter of a container image.
const IMAGE: &str = r#"
from pathlib import Path

import fal
from fal.container import ContainerImage

dockerfile = """
ARG PYTHON=3.9
FROM python:${PYTHON}-slim
RUN --mount=type=secret,id=token \\
    true
COPY . /app/
"""


class Model(fal.App):
    image = ContainerImage.from_dockerfile_str(
        dockerfile,
        build_args={"PYTHON": "3.11"},
        secrets={"token": "$MY_TOKEN"},
        registries={"ghcr.io": {"username": "acme", "password": "$GHCR_TOKEN"}},
        context_dir=Path(__file__).parent / "files",
        dockerignore=["*.pyc", "/notes", "data/", "docs/*.md"],
        compression="zstd",
        force_compression=True,
    )

    @fal.endpoint("/")
    def predict(self) -> dict:
        return {}
"#;

/// Prints what fal reads about the image of the app in the first argument, and the files in its context.
const LOAD_IMAGE: &str = "
import json, os, pathlib, re, runpy, sys
import fal.app

app = pathlib.Path(sys.argv[1])
os.chdir(app.parent)
image = fal.app.wrap_app(runpy.run_path(app.name)['Model']).options.environment['image']
context = pathlib.Path(image['docker_context_dir'])
paths = [path.relative_to(context).as_posix() for path in context.rglob('*') if path.is_file()]
ignored = [re.compile(pattern) for pattern in image['docker_ignore']]
image['files'] = sorted(path for path in paths if not any(one.match(path) for one in ignored))
print(json.dumps(image))
";

/// Prints the content of the TOML files in the arguments.
const LOAD_TOML: &str = "
import json, pathlib, sys, tomllib

print(json.dumps([tomllib.loads(pathlib.Path(path).read_text()) for path in sys.argv[1:]]))
";

/// An image with its registry, and the server that it runs.
struct Case {
    host: &'static str,
    reference: Reference,
    registry: RegistryKind<'static>,
    auth: Option<DockerAuth>,
    has_gpu: bool,
    user: &'static str,
    server: Option<Server>,
}

impl Case {
    /// Returns a case for each kind of registry and each way to run an image.
    fn all() -> Vec<Self> {
        let aws = RegistryKind::Aws { account: "123456789012", region: "eu-west-1" };
        let (google, other) = (RegistryKind::Google, RegistryKind::Other);
        let registries = [
            ("docker.io", other, None),
            ("docker.io", other, Some(DockerAuth::RegistrySecret)),
            ("ghcr.io", other, Some(DockerAuth::RegistrySecret)),
            ("nvcr.io", other, Some(DockerAuth::RegistrySecret)),
            ("registry.example.org:5000", other, Some(DockerAuth::RegistrySecret)),
            (ECR, aws, Some(DockerAuth::AwsIam)),
            (ECR, aws, Some(DockerAuth::AwsOidc)),
            (ECR, aws, Some(DockerAuth::RegistrySecret)),
            (GOOGLE, google, Some(DockerAuth::GcpServiceAccountJson)),
            (GOOGLE, google, Some(DockerAuth::GcpOidc)),
            (GOOGLE, google, Some(DockerAuth::RegistrySecret)),
        ];
        let server = Server {
            start_command: Some(COMMAND.to_owned()),
            port: 8000,
            predict_endpoint: "/v1/predict".to_owned(),
            health_endpoint: "/health".to_owned(),
            no_build: false,
        };
        let unmodified = Server { start_command: None, no_build: true, ..server.clone() };
        let ways = [(None, ""), (Some(server), "1000:1000"), (Some(unmodified), "0")];
        let cases = registries.into_iter().flat_map(|(host, registry, auth)| {
            let ways = ways.clone().into_iter();
            ways.flat_map(move |(server, user)| {
                [false, true].map(|has_gpu| Self {
                    host,
                    reference: format!("{host}/project/acme/base:3.11-v1.2.3")
                        .parse()
                        .expect("a name"),
                    registry,
                    auth,
                    has_gpu,
                    user,
                    server: server.clone(),
                })
            })
        });
        cases.collect()
    }

    fn image(&self) -> String {
        self.reference.pinned(&Digest::of(b"image"))
    }

    fn configuration(
        &self,
        platform: fn(&PublishedImage<'_>, Option<&Server>) -> Configuration,
    ) -> String {
        let image = PublishedImage {
            reference: &self.reference,
            digest: &Digest::of(b"image"),
            variant: "3.11-gpu-server",
            python: Some("3.11"),
            has_gpu: self.has_gpu,
            user: self.user,
            keeps_fal: !self.has_gpu,
            registry: self.registry,
            auth: self.auth,
        };
        platform(&image, self.server.as_ref()).text
    }

    fn is_unmodified(&self) -> bool {
        self.server.as_ref().is_some_and(|server| server.no_build)
    }

    /// Returns the secrets that Baseten's documentation names for the registry.
    fn secrets(&self) -> Value {
        match self.auth {
            Some(DockerAuth::AwsIam) => {
                json!({ "aws_access_key_id": null, "aws_secret_access_key": null })
            }
            Some(DockerAuth::GcpServiceAccountJson) => json!({ "gcp-service-account": null }),
            Some(DockerAuth::RegistrySecret) if self.host == "docker.io" => {
                json!({ "DOCKER_REGISTRY_https://index.docker.io/v1/": null })
            }
            Some(DockerAuth::RegistrySecret) => {
                json!({ (format!("DOCKER_REGISTRY_{}", self.host)): null })
            }
            _ => Value::Null,
        }
    }
}

/// Writes a file for each text, loads all of them with `script`, and returns what it prints for each.
fn load(package: &str, script: &str, texts: impl Iterator<Item = String>) -> Vec<Value> {
    let folder = tempfile::tempdir().expect("a folder");
    let paths = texts.enumerate().map(|(number, text)| {
        let path = folder.path().join(format!("file{number}"));
        fs_err::write(&path, text).expect("a file");
        path.display().to_string()
    });
    let paths: Vec<String> = paths.collect();
    let loaded = pypi::run(&pypi::environment(&[package]), folder.path(), script, &paths);
    let Value::Array(loaded) = loaded else { panic!("{loaded}") };
    assert_eq!(loaded.len(), paths.len());
    loaded
}

/// Loads the configuration of each case with `script`.
fn load_cases(
    package: &str,
    script: &str,
    cases: &[Case],
    platform: fn(&PublishedImage<'_>, Option<&Server>) -> Configuration,
) -> Vec<Value> {
    load(package, script, cases.iter().map(|case| case.configuration(platform)))
}

/// Loads the examples of `docs/platforms.md` with this file name.
fn load_examples(package: &str, script: &str, file: &str) -> Vec<Value> {
    let sections = Section::read_page("platforms.md");
    let examples = sections.iter().flat_map(|section| section.examples_named(file));
    load(package, script, examples.map(|example| example.text.clone()))
}

#[test]
fn the_documented_examples_load() {
    let configs = load_examples(&pypi::truss_requirement(), LOAD_TRUSS, "config.yaml");
    assert!(configs.len() > 5);
    for config in configs {
        let image = config["base_image"]["image"].as_str().expect("an image");
        assert!(image.contains("@sha256:"), "{config}");
    }
    let apps = load_examples(FAL, LOAD_FAL, "app.py");
    assert!(apps.len() > 5);
    for app in apps {
        let dockerfile = app["image"]["dockerfile_str"].as_str().expect("a Dockerfile");
        assert!(dockerfile.starts_with("FROM ") || dockerfile.starts_with("ARG "), "{app}");
        assert_eq!(app["routes"], json!(["/"]));
    }
}

#[test]
fn truss_loads_each_configuration_for_baseten() {
    let cases = Case::all();
    let loaded = load_cases(&pypi::truss_requirement(), LOAD_TRUSS, &cases, baseten);
    for (case, config) in cases.iter().zip(loaded) {
        assert_eq!(config["base_image"]["image"], case.image());
        assert_eq!(config["secrets"], case.secrets(), "{config}");
        let auth = &config["base_image"]["docker_auth"];
        match case.auth.filter(|auth| *auth != DockerAuth::RegistrySecret) {
            Some(method) => {
                assert_eq!(auth["auth_method"], method.name());
                assert_eq!(auth["registry"], case.host);
            }
            None => assert_eq!(*auth, Value::Null),
        }
        let has_accelerator = config["resources"]["accelerator"].is_string();
        assert_eq!(has_accelerator, case.has_gpu && !case.is_unmodified(), "{config}");
        let server = &config["docker_server"];
        match &case.server {
            None => {
                assert_eq!(config["python_version"], "py311");
                assert_eq!(*server, Value::Null);
            }
            Some(expected) => {
                assert_eq!(server["start_command"].as_str(), expected.start_command.as_deref());
                assert_eq!(server["server_port"], 8000);
                assert_eq!(server["predict_endpoint"], "/v1/predict");
                assert_eq!(server["liveness_endpoint"], "/health");
                assert_eq!(server["no_build"].as_bool().unwrap_or_default(), expected.no_build);
                let user = (!expected.no_build).then_some(1000);
                assert_eq!(server["run_as_user_id"].as_u64(), user);
            }
        }
    }
}

#[test]
fn fal_loads_each_app() {
    let cases: Vec<Case> = Case::all().into_iter().filter(|case| !case.is_unmodified()).collect();
    let loaded = load_cases(FAL, LOAD_FAL, &cases, fal);
    for (case, app) in cases.iter().zip(loaded) {
        let dockerfile = app["image"]["dockerfile_str"].as_str().expect("a Dockerfile");
        assert!(dockerfile.starts_with(&format!("FROM {}\n", case.image())), "{dockerfile}");
        assert_eq!(dockerfile.contains("\nRUN "), case.has_gpu, "{dockerfile}");
        let (username, password) = match case.registry {
            RegistryKind::Aws { .. } => ("AWS", "ecr"),
            RegistryKind::Google => ("_json_key_base64", "$GOOGLE_AR_JSON_BASE64"),
            RegistryKind::Other => ("user", "$REGISTRY_PASSWORD"),
        };
        let host = if case.host == "docker.io" { "https://index.docker.io/v1/" } else { case.host };
        let credentials = json!({ host: { "username": username, "password": password } });
        let credentials = if case.auth.is_some() { credentials } else { json!({}) };
        assert_eq!(app["image"]["registries"], credentials);
        assert_eq!(app["machine"] == "GPU-A100", case.has_gpu, "{app}");
        if case.server.is_some() {
            assert_eq!(app["port"], 8000);
        } else {
            assert_eq!(app["routes"], json!(["/"]));
        }
    }
}

#[test]
fn configurations_for_cerebrium_have_documented_keys() {
    let cases: Vec<Case> = Case::all().into_iter().filter(|case| !case.is_unmodified()).collect();
    let loaded = load_cases(FAL, LOAD_TOML, &cases, cerebrium);
    for (case, file) in cases.iter().zip(loaded) {
        let mut expected = json!({
            "deployment": {
                "name": "3-11-gpu-server",
                "docker_base_image_url": case.image(),
                "python_version": "3.11",
            },
        });
        if case.has_gpu {
            expected["hardware"] =
                json!({ "compute": "AMPERE_A10", "gpu_count": 1, "cpu": 4, "memory": 16.0 });
        }
        if case.server.is_some() {
            expected["runtime"] = json!({ "custom": {
                "entrypoint": COMMAND,
                "port": 8000,
                "healthcheck_endpoint": "/health",
                "readycheck_endpoint": "/health",
            }});
        }
        assert_eq!(file, json!({ "cerebrium": expected }));
    }
}

#[test]
fn init_imports_the_settings_that_fal_reads_from_an_app() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "app/app.py", IMAGE);
    let names = ["a.py", "a.pyc", "notes", "data/x", "docs/a.md", "docs/inner/a.md"];
    for name in names.into_iter().flat_map(|name| [name.to_owned(), format!("inner/{name}")]) {
        write(folder.path(), &format!("app/files/{name}"), &name);
    }
    let run = |arguments: &str| {
        let mut command = basegen(arguments);
        command.current_dir(folder.path());
        stdout(command)
    };
    run("init new --strict --from app/app.py");
    run("render -f new/matrix.toml -o rendered");
    let matrix = fs_err::read_to_string(folder.path().join("new/matrix.toml")).expect("a matrix");
    let matrix: toml::Table = matrix.parse().expect("TOML");
    let app = folder.path().join("app/app.py").display().to_string();
    let read = pypi::run(&pypi::environment(&[FAL]), folder.path(), LOAD_IMAGE, &[app]);

    let dockerfile = run("render -f new/matrix.toml");
    let expected = read["dockerfile_str"].as_str().expect("a Dockerfile");
    assert_eq!(dockerfile.trim(), expected.trim());
    let context = folder.path().join("rendered/model-3.11/context");
    assert_eq!(files_in(&context), read["files"], "{matrix}");
    assert_eq!(matrix["axes"]["python"][0].as_str(), read["build_args"]["PYTHON"].as_str());
    let image = &matrix["image"];
    assert_eq!(image["compression"].as_str(), read["compression"].as_str());
    assert_eq!(image["force_compression"].as_bool(), read["force_compression"].as_bool());
    let secret = matrix["build"]["secrets"]["token"]["env"].as_str().expect("a variable");
    assert_eq!(read["secrets"]["token"], format!("${secret}"));
    let (login, expected) = (&matrix["registries"]["ghcr.io"], &read["registries"]["ghcr.io"]);
    assert_eq!(login["username"].as_str(), expected["username"].as_str());
    let password = login["password_secret_name"].as_str().expect("a variable");
    assert_eq!(expected["password"], format!("${password}"));
}

/// Returns the paths of the files below `folder`, sorted.
fn files_in(folder: &Path) -> Value {
    let (mut paths, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in fs_err::read_dir(next).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let path = path.strip_prefix(folder).expect("a path below");
                paths.push(path.display().to_string());
            }
        }
    }
    paths.sort();
    json!(paths)
}
