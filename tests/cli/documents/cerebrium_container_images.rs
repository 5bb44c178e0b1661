//! Cerebrium: Defining Container Images.

use super::broken_rules;
use crate::harness::project::output;
use crate::init::Import;

fn toml(text: &str) -> Import {
    Import::new(&[("cerebrium.toml", text)])
}

/// Imports a `cerebrium.toml` with this text.
fn imported(text: &str) -> String {
    toml(text).imported("cerebrium.toml")
}

#[test]
fn hardware_configuration() {
    // The GPU is not a choice: no image is without it.
    insta::assert_snapshot!(imported(
        "[cerebrium.hardware]\ncompute = \"AMPERE_A10\" # with a comment\nmemory = 16.0\ncpu = 4\ngpu_count = 1\n"
    ));
}

#[test]
fn selecting_a_python_version() {
    insta::assert_snapshot!(imported("[cerebrium.deployment]\npython_version = 3.11\n"));
    // As a number, this is 3.1.
    let printed = imported("[cerebrium.deployment]\npython_version = 3.10\n");
    assert!(printed.contains("python = [\"3.10\"]"), "{printed}");
    for (version, rules) in
        [("3.9", &["cerebrium/python"][..]), ("3.13", &[]), ("3.14", &["cerebrium/python"])]
    {
        assert_eq!(broken_rules("cerebrium", &format!("base = \"python:{version}-slim\"")), rules);
    }
}

#[test]
fn adding_python_packages() {
    insta::assert_snapshot!(
        "pip",
        imported(
            "[cerebrium.dependencies.pip]\ntorch = \"==2.8.0\"\nidna = \">=3\"\nnumpy = \"latest\"\n"
        )
    );
    let import = Import::new(&[
        ("cerebrium.toml", "[cerebrium.dependencies.paths]\npip = \"requirements.txt\"\n"),
        ("requirements.txt", "six==1.17.0\n"),
    ]);
    insta::assert_snapshot!("pip_file", import.imported("cerebrium.toml"));
}

#[test]
fn adding_apt_packages() {
    insta::assert_snapshot!(
        "apt",
        imported("[cerebrium.dependencies.apt]\nffmpeg = \"latest\"\nlibomp-dev = \"latest\"\n")
    );
    let import = Import::new(&[
        ("cerebrium.toml", "[cerebrium.dependencies.paths]\napt = \"lists/packages.txt\"\n"),
        ("lists/packages.txt", "ffmpeg\nlibomp-dev\n"),
    ]);
    insta::assert_snapshot!("apt_file", import.imported("cerebrium.toml"));
}

#[test]
fn conda_packages() {
    insta::assert_snapshot!(
        "conda",
        imported(
            "[cerebrium.dependencies.conda]\ncuda = \">=12.4\"\ncudatoolkit = \"12.4\"\nopencv = \"latest\"\n"
        )
    );
    let import = Import::new(&[
        ("cerebrium.toml", "[cerebrium.dependencies.paths]\nconda = \"conda.txt\"\n"),
        ("conda.txt", "opencv\ncudatoolkit=12.4\n"),
    ]);
    insta::assert_snapshot!("conda_file", import.imported("cerebrium.toml"));
}

#[test]
fn pre_build_commands() {
    insta::assert_snapshot!(imported(
        "[cerebrium.deployment]\npre_build_commands = [\n    # a tool\n    \
         \"curl -o /usr/local/bin/get -L 'https://downloads.example.com/get-1.4_linux_x86_64'\",\n    \
         \"chmod +x /usr/local/bin/get\"\n]\n"
    ));
}

#[test]
fn shell_commands() {
    insta::assert_snapshot!(imported(
        "[cerebrium.deployment]\nshell_commands = [\n    # after the packages\n    \
         \"python -m download_models\",\n    \"python -m compile_assets\"\n]\n"
    ));
}

#[test]
fn supported_base_images() {
    let images = ["debian:bookworm-slim", "nvidia/cuda:12.8.1-runtime-ubuntu22.04", "ubuntu:22.04"];
    for (name, image) in ["debian", "cuda", "ubuntu"].iter().zip(images) {
        let text = format!("[cerebrium.deployment]\ndocker_base_image_url = \"{image}\"\n");
        insta::assert_snapshot!(*name, imported(&text));
        assert!(broken_rules("cerebrium", &format!("base = \"{image}\"")).is_empty(), "{image}");
    }
    assert_eq!(broken_rules("cerebrium", "base = \"alpine:3.22\""), ["cerebrium/base"]);
}

#[test]
fn public_docker_hub_images_with_namespaces() {
    insta::assert_snapshot!(imported(
        "[cerebrium.deployment]\ndocker_base_image_url = \"acme/infinity:latest\"\n"
    ));
}

#[test]
fn public_aws_ecr_images() {
    insta::assert_snapshot!(imported(
        "[cerebrium.deployment]\ndocker_base_image_url = \"public.ecr.aws/lambda/python:3.11\"\n"
    ));
}

#[test]
fn basic_configuration() {
    insta::assert_snapshot!(imported(
        "[cerebrium.runtime.custom]\nentrypoint = [\"uvicorn\", \"main:app\", \"--port\", \"8080\"]\nport = 8080\n\
         healthcheck_endpoint = \"\" # TCP\nreadycheck_endpoint = \"\"\n"
    ));
}

/// The document repeats the key of the health check.
#[test]
fn self_contained_servers() {
    let text = "[cerebrium.runtime.custom]\nentrypoint = \"vllm serve acme/model --port 8000 --device cuda\"\n\
                port = 8000\nhealthcheck_endpoint = \"/health\"\nhealthcheck_endpoint = \"/ready\"\n\n\
                [cerebrium.dependencies.pip]\ntorch = \"latest\"\nvllm = \"latest\"\n";
    let import = toml(text);
    insta::assert_snapshot!(
        "repeated",
        output(import.command("init new --from app/cerebrium.toml"))
    );
    let ready =
        text.replace("healthcheck_endpoint = \"/ready\"", "readycheck_endpoint = \"/ready\"");
    insta::assert_snapshot!("server", imported(&ready));
}

/// The ports of the command and of the deployment must agree.
#[test]
fn important_notes() {
    let cmd = "cmd = \"uvicorn main:app --port 8000\"\nexpose = 8000\nport = ";
    assert_eq!(broken_rules("cerebrium", &format!("{cmd}8080")), ["cerebrium/port"]);
    assert!(broken_rules("cerebrium", &format!("{cmd}8000")).is_empty());
}

/// The steps of the Dockerfile have the order of the document, whatever that of the file.
#[test]
fn stage_2_image_creation() {
    let printed = imported(
        "[cerebrium.deployment]\npython_version = \"3.11\"\nshell_commands = [\"echo 6\"]\n\
         pre_build_commands = [\"echo 1\"]\ninclude = [\"main.py\"]\n\n\
         [cerebrium.dependencies.pip]\nsix = \"latest\"\n\n[cerebrium.dependencies.apt]\ntree = \"latest\"\n",
    );
    let dockerfile = printed.split_once("##### Dockerfile").expect("a Dockerfile").1;
    let places = ["echo 1", "tree", "six", "echo 6"].map(|step| dockerfile.find(step).expect(step));
    assert!(places.is_sorted(), "{dockerfile}");
    insta::assert_snapshot!(printed);
}
