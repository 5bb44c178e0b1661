//! `basegen use`: prints configurations for published images.

use basegen::image::Digest;
use insta::assert_snapshot;
use serde_json::json;

use crate::harness::project::{MATRIX, Project, output};
use crate::harness::registry::{Access, Account, FakeRegistry};

const OCI_IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const SERVER: &str = "acme/server-base";
const GPU_TAG: &str = "3.11-gpu-v1.2.3";

/// A project and the registry of its images.
struct Published {
    registry: FakeRegistry,
    project: Project,
}

impl Published {
    fn new() -> Self {
        let registry = FakeRegistry::start_blocking();
        let project = Project::new();
        let image = format!("[image]\nregistry = \"{}\"\n", registry.host());
        project.write("matrix.toml", &MATRIX.replace("[image]\n", &image));
        Self { registry, project }
    }

    /// Publishes an image with a configuration, and returns its digest.
    fn publish(&self, tag: &str, container: &serde_json::Value) -> Digest {
        let config = json!({ "os": "linux", "architecture": "amd64", "config": container });
        self.registry.add_image(SERVER, tag, &config)
    }

    /// Returns the output of `basegen use` and its exit code, without the port of the registry.
    fn used(&self, arguments: &str, variables: &[(&str, &str)]) -> String {
        let mut command = self.project.basegen(&format!("use {arguments}"));
        command.envs(variables.iter().copied());
        output(command).replace(&self.registry.host(), "REGISTRY")
    }
}

#[test]
fn reads_the_image_configuration_from_the_registry() {
    let published = Published::new();
    published.publish(
        GPU_TAG,
        &json!({
            "User": "1000",
            "Entrypoint": ["python", "-m", "server"],
            "Cmd": ["--model", "it's"],
            "ExposedPorts": { "8000/tcp": {} },
        }),
    );
    assert_snapshot!("baseten", published.used("3.11-gpu-server --for baseten --server", &[]));
    assert_snapshot!("cerebrium", published.used("3.11-gpu-server --for cerebrium --server", &[]));
    assert_snapshot!("fal", published.used("3.11-gpu-server --for fal", &[]));
}

#[test]
fn prints_the_digest_of_an_index() {
    let published = Published::new();
    let image = published.publish("3.11-v1.2.3", &json!({ "Env": ["NVIDIA_VISIBLE_DEVICES=all"] }));
    let manifests = json!([{
        "mediaType": OCI_IMAGE, "digest": image, "size": 1,
        "platform": { "os": "linux", "architecture": "amd64" },
    }]);
    let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests });
    published.registry.add_manifest(SERVER, "3.11-v1.2.3", OCI_INDEX, index.to_string());
    let used = published.used("3.11-server --for baseten", &[]);
    assert!(used.contains(&format!("@{}\"", Digest::of(index.to_string().as_bytes()))), "{used}");
    // The image requires GPUs, although the matrix does not.
    assert!(used.contains("accelerator:"), "{used}");
}

#[test]
fn a_private_registry_needs_a_secret() {
    let published = Published::new();
    published.publish(GPU_TAG, &json!({}));
    let account = Account::new("user", "canary-password");
    published.registry.set_access(Access::Bearer(account.clone()));
    let name = format!("DOCKER_REGISTRY_{}", published.registry.host());
    // `user:canary-password`
    let variables = [(name.as_str(), "dXNlcjpjYW5hcnktcGFzc3dvcmQ=")];
    let used = published.used("3.11-gpu-server --for baseten", &variables);
    assert_snapshot!("private", used);
    let fal = published.used("3.11-gpu-server --for fal", &variables);
    assert!(fal.contains("\"password\": \"$REGISTRY_PASSWORD\""), "{fal}");
    for output in [&used, &fal] {
        assert!(!output.contains("canary") && !output.contains("dXNlcj"), "{output}");
    }
    let public = Account { allows_anonymous_pull: true, ..account };
    published.registry.set_access(Access::Bearer(public));
    let used = published.used("3.11-gpu-server --for baseten", &variables);
    assert!(!used.contains("secrets:"), "{used}");
    let forced = published.used("3.11-gpu-server --for baseten --auth-method registry_secret", &[]);
    assert!(forced.contains("DOCKER_REGISTRY_REGISTRY"), "{forced}");
}

#[test]
fn errors_have_hints() {
    let published = Published::new();
    published.publish(GPU_TAG, &json!({ "Cmd": ["python3"], "ExposedPorts": {} }));
    for (name, arguments) in [
        ("not_published", "3.11-server --for fal"),
        ("unknown_variant", "3.12-server --for fal"),
        ("several_variants", "3.11-gpu --for fal"),
        ("no_port", "3.11-gpu-server --for fal --server"),
        ("no_command", "3.11-gpu-server --for fal --port 8000"),
        ("other_platform", "3.11-gpu-server --for fal --no-build"),
        ("other_registry", "3.11-gpu-server --for baseten --auth-method AWS_IAM"),
        ("no_platform", "3.11-gpu-server"),
    ] {
        assert_snapshot!(name, published.used(arguments, &[]));
    }
    let unmodified = published.used("3.11-gpu-server --for baseten --no-build --port 8080", &[]);
    assert_snapshot!("unmodified", unmodified);
}

#[test]
fn the_option_version_tag_selects_another_version() {
    let published = Published::new();
    let digest = published.publish("3.9-v1.0.0", &json!({}));
    let used = published.used("3.9-server --for cerebrium --version-tag v1.0.0", &[]);
    assert!(used.contains(&digest.to_string()), "{used}");
    assert_snapshot!("python_3_9", used);
}

#[test]
fn accepts_the_id_or_the_tag_part_of_a_variant() {
    let published = Published::new();
    published.publish(GPU_TAG, &json!({}));
    let path = published.project.path().join("matrix.toml");
    let matrix = fs_err::read_to_string(path).expect("the matrix");
    let one = matrix.replace(", { value = \"training\", tag = \"\" }", "");
    published.project.write("matrix.toml", &one);
    let by_name = published.used("3.11-gpu --for fal", &[]);
    assert!(by_name.ends_with("exit code 0"), "{by_name}");
    assert_eq!(by_name, published.used("3.11-gpu-server --for fal", &[]));
}

#[test]
fn broken_rules_of_the_platform_are_warnings() {
    let published = Published::new();
    published.publish(GPU_TAG, &json!({ "User": "1000" }));
    let template = "FROM python:{{python}}-alpine\n{{#if gpu}}\nENV PORT=80\n{{/if}}\n\
                    COPY {{job_type}}.txt /\nUSER 1000\n";
    published.project.write("dockerfiles/Dockerfile.hbs", template);
    assert_snapshot!("broken_baseten", published.used("3.11-gpu-server --for baseten", &[]));
    let unmodified = published.used("3.11-gpu-server --for baseten --no-build --port 8080", &[]);
    assert_snapshot!("broken_unmodified", unmodified);
    // The Dockerfile of another version is unknown.
    published.publish("3.11-gpu-v1.0.0", &json!({}));
    let other = published.used("3.11-gpu-server --for baseten --version-tag v1.0.0", &[]);
    assert!(!other.contains("warning"), "{other}");
}

#[test]
fn the_matrix_configures_the_server() {
    let published = Published::new();
    published.publish(GPU_TAG, &json!({ "User": "server" }));
    let path = published.project.path().join("matrix.toml");
    let matrix = fs_err::read_to_string(path).expect("the matrix");
    let settings =
        "contracts = [\"fal\"]\nport = 9000\n[image.baseten]\nrun_as_user_id = 1000\n[axes]";
    published.project.write("matrix.toml", &matrix.replace("[axes]", settings));
    let arguments = "3.11-gpu-server --for baseten --start-command serve";
    assert_snapshot!("settings", published.used(arguments, &[]));
    let fal = published.used("3.11-gpu-server --for fal", &[]);
    assert!(!fal.contains("pip install"), "{fal}");
}
