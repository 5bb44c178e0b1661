//! Imports Truss' `config.yaml`.
//!
//! Its keys are described at <https://docs.baseten.co/reference/truss-configuration>.

use std::path::Path;

use super::ImportedImage;
use super::node::{Node, Value};
use super::reader::{Leaf, Reader, leaves};
use super::template::{Base, base, is_python, package, requirement, variable};
use crate::matrix::{AuthMethodName, refuse_credential, registry_host};

/// The reason to skip keys that no base image has.
const SERVING: &str = "configures how the model is served, not its image";

/// The reason to skip keys of the layers that Truss adds to a base image.
const MODEL: &str = "belongs to the model, which Truss adds to a base image";

const UNKNOWN: &str = "basegen does not know this key";

/// Variables that Baseten sets itself, whatever an image says.
const RESERVED: [&str; 4] = ["PORT", "HOST", "HOSTNAME", "PATH"];

/// The ways to log in that basegen has under the same names.
const METHODS: [AuthMethodName; 5] = [
    AuthMethodName::AwsIam,
    AuthMethodName::AwsOidc,
    AuthMethodName::GcpServiceAccountJson,
    AuthMethodName::GcpOidc,
    AuthMethodName::RegistrySecret,
];

pub(super) fn read(root: &Node, imported: &mut ImportedImage) {
    let mut reader = Reader::new(imported);
    let mut leaves = leaves(root);
    // Other keys depend on the name and on the base image.
    leaves.sort_by_key(|leaf| match leaf.path.as_slice() {
        ["model_name"] => 0,
        ["base_image", "image"] => 1,
        ["base_image", ..] => 2,
        _ => 3,
    });
    let (login, rest): (Vec<_>, Vec<_>) =
        leaves.into_iter().partition(|leaf| leaf.path.starts_with(&["base_image", "docker_auth"]));
    if let Some(node) = root.get("base_image").and_then(|image| image.get("docker_auth")) {
        registry_login(&mut reader, node, &login);
    }
    for leaf in &rest {
        read_leaf(&mut reader, leaf);
    }
    reader.finish();
}

fn read_leaf(reader: &mut Reader<'_>, leaf: &Leaf<'_>) {
    match *leaf.path.as_slice() {
        ["model_name"] => reader.name(leaf),
        ["python_version"] => python(reader, leaf),
        ["requirements"] => {
            reader.requirements = reader.items(leaf, "requirements.txt", requirement);
        }
        ["requirements_file"] => {
            let is_list = |text: &str| Path::new(text).extension().is_none_or(|e| e == "txt");
            match leaf.node.text().filter(|text| !is_list(text)) {
                Some(text) => reader.skip(
                    leaf,
                    format!(
                        "`{}` is a project file; export its requirements as a list for pip",
                        text.escape_debug()
                    ),
                ),
                None => reader.requirements_file(leaf),
            }
        }
        ["system_packages"] => {
            let to = "a step that installs Debian packages";
            reader.parts.packages = reader.items(leaf, to, package);
        }
        ["build_commands"] => {
            reader.parts.after = reader.commands(leaf, "`RUN`, after the requirements");
        }
        ["base_image", "image"] => base_image(reader, leaf),
        ["base_image", "python_executable_path"] => executable(reader, leaf),
        ["docker_server", "start_command"] => reader.start(leaf),
        ["docker_server", "server_port"] => reader.port(leaf),
        ["docker_server", "run_as_user_id"] => user(reader, leaf),
        ["docker_server", "no_build"] if leaf.node.is_true() => reader.skip(
            leaf,
            "requires an unmodified image, but basegen builds a new one: mirror the image instead",
        ),
        ["resources", "accelerator"] if leaf.node.text().is_none() && !leaf.node.is_empty() => {
            reader.skip(leaf, "it is not a text");
        }
        ["resources", "accelerator"] => reader.gpu(leaf, !leaf.node.is_empty()),
        ["resources", "use_gpu"] => reader.gpu(leaf, leaf.node.is_true()),
        ["environment_variables", name] => environment(reader, leaf, name),
        ["secrets", name, ..] => secret(reader, leaf, name),
        ["live_reload"] if !leaf.node.is_true() => reader.skip(leaf, "it is off"),
        ["live_reload"] => reader.skip(
            leaf,
            "runs a process of Truss; the matrix of basegen's repository has an axis for it",
        ),
        ["base_image" | "docker_server" | "environment_variables" | "resources" | "secrets"] => {
            let is_empty = leaf.node.is_empty();
            reader.skip(leaf, if is_empty { "it is empty" } else { "it is not a table" });
        }
        ["model_name" | "python_version" | "requirements_file" | "environment_variables", ..]
        | ["base_image", "image" | "python_executable_path", ..] => {
            reader.skip(leaf, "it is not a text");
        }
        [
            "external_package_dirs"
            | "bundled_packages_dir"
            | "data_dir"
            | "external_data"
            | "model_cache"
            | "weights"
            | "hf_cache"
            | "model_module_dir"
            | "model_class_filename"
            | "model_class_name"
            | "examples_filename",
            ..,
        ] => reader.skip(leaf, MODEL),
        [
            "docker_server"
            | "resources"
            | "spec_version"
            | "runtime"
            | "model_metadata"
            | "model_framework"
            | "model_type"
            | "input_type"
            | "description"
            | "apply_library_patches"
            | "train"
            | "build"
            | "trt_llm"
            | "training_checkpoints"
            | "use_local_src"
            | "cache_internal"
            | "environment",
            ..,
        ] => reader.skip(leaf, SERVING),
        _ => reader.skip(leaf, UNKNOWN),
    }
}

/// Reads `py310`, or `3.10` as people also write it.
fn python(reader: &mut Reader<'_>, leaf: &Leaf<'_>) {
    let Some(text) = reader.parse(leaf, |text| Ok(text.to_owned())) else { return };
    let version = match text.strip_prefix("py") {
        Some(digits) if digits.len() > 1 && digits.bytes().all(|b| b.is_ascii_digit()) => {
            format!("{}.{}", &digits[..1], &digits[1..])
        }
        _ => text,
    };
    if is_python(&version) && reader.parts.base != Base::default() {
        reader.skip(leaf, "the base image has its own Python");
    } else {
        reader.python(leaf, &version);
    }
}

fn environment(reader: &mut Reader<'_>, leaf: &Leaf<'_>, name: &str) {
    let is_reserved = RESERVED.contains(&name)
        || name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT");
    if is_reserved {
        reader.skip(leaf, "Baseten sets it, and ignores the configured value");
    } else if let Some(pair) = reader.take(leaf, "`ENV`", |text| variable(name, text)) {
        reader.parts.environment.push(pair);
    }
}

fn base_image(reader: &mut Reader<'_>, leaf: &Leaf<'_>) {
    let Some((image, version)) = reader.parse(leaf, base) else { return };
    reader.import(leaf, format!("`FROM {image}`"));
    let python = if version.is_some() { "python" } else { "python3" }.to_owned();
    reader.parts.base = Base::WithPython { image, python };
    reader.imported.pythons = version.into_iter().collect();
}

fn executable(reader: &mut Reader<'_>, leaf: &Leaf<'_>) {
    let to = "the Python that installs requirements";
    let path = reader.take(leaf, to, |text| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
        if text.starts_with('/') && text.chars().all(is_plain) {
            Ok(text.to_owned())
        } else {
            Err(format!("`{}` is not a path", text.escape_debug()))
        }
    });
    if let (Some(path), Base::WithPython { python, .. }) = (path, &mut reader.parts.base) {
        *python = path;
    }
}

fn user(reader: &mut Reader<'_>, leaf: &Leaf<'_>) {
    let user = reader.parse(leaf, |text| match text.parse::<u32>() {
        Ok(0 | 60000) | Err(_) => Err("Baseten does not allow this user".to_owned()),
        Ok(user) => Ok(user),
    });
    if let Some(user) = user {
        reader.import(leaf, format!("`USER {user}`"));
        reader.parts.user = Some(user);
    }
}

/// Skips a secret: only names are read, never values.
fn secret(reader: &mut Reader<'_>, leaf: &Leaf<'_>, name: &str) {
    if name.starts_with("DOCKER_REGISTRY_") {
        let to = "basegen reads the credential of the registry from a variable of that name";
        reader.import(leaf, to);
    } else if leaf.node.is_empty() {
        reader.skip(leaf, "is for the running container; build steps use `[build.secrets]`");
    } else {
        reader.skip(leaf, "has a value, which is not imported: do not commit secrets");
    }
}

/// Imports the login at the base image's registry. The matrix has the same keys.
fn registry_login(reader: &mut Reader<'_>, node: &Node, leaves: &[Leaf<'_>]) {
    let value = |name: &str| node.get(name).and_then(Node::text).unwrap_or_default();
    let host = registry_host(value("registry"));
    let method = if matches!(node.value, Value::Table(_)) {
        method(value("auth_method"), host, value)
    } else {
        Err("it is not a table")
    };
    let host = host.unwrap_or_default();
    let mut keys = Vec::new();
    for leaf in leaves {
        let name = leaf.path.last().copied().unwrap_or_default();
        match method.and_then(|method| login_key(method, name, leaf.node)) {
            Err(reason) => reader.skip(leaf, reason),
            Ok(_) if name == "registry" => {
                reader.import(leaf, format!("`[registries.\"{host}\"]`"));
            }
            Ok(text) => {
                reader.import(leaf, format!("`{name}` of `[registries.\"{host}\"]`"));
                keys.push((name.to_owned(), text.to_owned()));
            }
        }
    }
    if method.is_ok() {
        reader.imported.registries.push((host.to_owned(), keys));
    }
}

/// Returns the method of the login at `host`, or why basegen does not support it.
fn method<'a>(
    name: &str,
    host: Option<&str>,
    value: impl Fn(&str) -> &'a str,
) -> Result<AuthMethodName, &'static str> {
    let lacks = |key: &str| refuse_credential(key, value(key)).is_some();
    // Truss accepts lower case.
    let name = name.to_ascii_uppercase();
    match METHODS.into_iter().find(|method| method.name() == name) {
        None => {
            Err("basegen does not support this method: docs/registries.md lists the supported ones")
        }
        Some(_) if host.is_none() => Err("`registry` is not the host of a registry"),
        Some(AuthMethodName::RegistrySecret) if lacks("secret_name") => Err(
            "`secret_name` is not the name of a secret; without it, basegen reads `DOCKER_REGISTRY_<host>`",
        ),
        Some(AuthMethodName::AwsOidc) if lacks("aws_oidc_role_arn") => {
            Err("`aws_oidc_role_arn` is not the ARN of a role")
        }
        Some(AuthMethodName::GcpOidc)
            if lacks("gcp_oidc_service_account") || lacks("gcp_oidc_workload_id_provider") =>
        {
            Err("`gcp_oidc_service_account` or `gcp_oidc_workload_id_provider` is invalid")
        }
        Some(method) => Ok(method),
    }
}

/// Converts a key of `docker_auth` to the matrix, or returns the reason why it is skipped.
fn login_key<'n>(
    method: AuthMethodName,
    name: &str,
    node: &'n Node,
) -> Result<&'n str, &'static str> {
    let text = node.text().unwrap_or_default();
    match name {
        "registry" => Ok(text),
        "auth_method" => Ok(method.name()),
        _ if METHODS.iter().any(|method| method.keys().contains(&name)) => {
            if !method.keys().contains(&name) {
                Err("this `auth_method` does not need it")
            } else if refuse_credential(name, text).is_some() {
                Err("it is not the name of a secret")
            } else {
                Ok(text)
            }
        }
        _ => Err(UNKNOWN),
    }
}
