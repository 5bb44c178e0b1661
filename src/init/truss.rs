//! Imports Truss' `config.yaml`.
//!
//! Its keys are described at <https://docs.baseten.co/reference/truss-configuration>.

use std::path::Path;

use super::base::base;
use super::credentials::refuse_in_requirement;
use super::reader::{Action, Keys, Leaf, Reader, escaped, unknown_key};
use super::{Login, Python};
use crate::matrix::{AuthMethodName, Node, refuse_credential, registry_host};

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

const SERVING: Action =
    |reader, leaf| reader.skip(leaf, "configures how the model is served, not its image");

const MODEL: Action =
    |reader, leaf| reader.skip(leaf, "belongs to the model, which Truss adds to a base image");

/// The keys in the order in which they are read: the name and the base image come first.
pub(super) const KEYS: &Keys = &[
    (&["model_name"], |reader, leaf| reader.name(leaf)),
    (&["base_image", "image"], base_image),
    (&["docker_server", "no_build"], no_build),
    (&["base_image", "python_executable_path"], |reader, leaf| {
        reader.leave_out(leaf, "packages are installed for the `python3` on the image's PATH");
    }),
    (&["base_image", "docker_auth", "*"], login),
    (&["python_version"], python),
    (&["requirements"], |reader, leaf| reader.items(leaf, "pip", requirement)),
    (&["requirements_file"], requirements_file),
    (&["system_packages"], |reader, leaf| {
        reader.items(leaf, "apt", |package| Ok(escaped(package)));
    }),
    (&["build_commands"], |reader, leaf| reader.commands(leaf, "shell_commands")),
    (&["environment_variables", "*"], environment),
    (&["docker_server", "start_command"], |reader, leaf| {
        if is_built(reader, leaf) {
            reader.start(leaf);
        }
    }),
    (&["docker_server", "server_port"], |reader, leaf| {
        if is_built(reader, leaf) {
            reader.port(leaf);
        }
    }),
    (&["docker_server", "run_as_user_id"], user),
    (&["resources", "accelerator"], |reader, leaf| match leaf.node.text() {
        None if !leaf.node.is_empty() => reader.leave_out(leaf, "it is not a text"),
        _ => reader.gpu(leaf, !leaf.node.is_empty()),
    }),
    (&["resources", "use_gpu"], |reader, leaf| reader.gpu(leaf, leaf.node.is_true())),
    (&["secrets", "*", "**"], secret),
    (&["live_reload"], |reader, leaf| {
        if leaf.node.is_true() {
            let reason =
                "runs a process of Truss; the matrix of basegen's repository has an axis for it";
            reader.leave_out(leaf, reason);
        } else {
            reader.skip(leaf, "it is off");
        }
    }),
    (&["external_package_dirs", "**"], MODEL),
    (&["bundled_packages_dir", "**"], MODEL),
    (&["data_dir", "**"], MODEL),
    (&["external_data", "**"], MODEL),
    (&["model_cache", "**"], MODEL),
    (&["weights", "**"], MODEL),
    (&["hf_cache", "**"], MODEL),
    (&["model_module_dir", "**"], MODEL),
    (&["model_class_filename", "**"], MODEL),
    (&["model_class_name", "**"], MODEL),
    (&["examples_filename", "**"], MODEL),
    (&["docker_server", "predict_endpoint"], SERVING),
    (&["docker_server", "readiness_endpoint"], SERVING),
    (&["docker_server", "liveness_endpoint"], SERVING),
    (&["resources", "cpu"], SERVING),
    (&["resources", "memory"], SERVING),
    (&["resources", "node_count"], SERVING),
    (&["resources", "instance_type"], SERVING),
    (&["spec_version", "**"], SERVING),
    (&["runtime", "**"], SERVING),
    (&["model_metadata", "**"], SERVING),
    (&["model_framework", "**"], SERVING),
    (&["model_type", "**"], SERVING),
    (&["input_type", "**"], SERVING),
    (&["description", "**"], SERVING),
    (&["apply_library_patches", "**"], SERVING),
    (&["train", "**"], SERVING),
    (&["build", "**"], SERVING),
    (&["trt_llm", "**"], SERVING),
    (&["training_checkpoints", "**"], SERVING),
    (&["use_local_src", "**"], SERVING),
    (&["cache_internal", "**"], SERVING),
    (&["environment", "**"], SERVING),
];

/// Reads `py310`, or `3.10` as people also write it.
fn python(reader: &mut Reader<'_>, leaf: &Leaf<'_>) {
    let Some(text) = reader.text(leaf) else { return };
    let version = match text.strip_prefix("py") {
        Some(digits) if digits.len() > 1 && digits.bytes().all(|b| b.is_ascii_digit()) => {
            format!("{}.{}", &digits[..1], &digits[1..])
        }
        _ => text.to_owned(),
    };
    reader.python(leaf, &version);
}

fn requirement(text: &str) -> Result<String, String> {
    refuse_in_requirement(text)?;
    Ok(escaped(text.trim()))
}

fn requirements_file(reader: &mut Reader<'_>, leaf: &Leaf<'_>) {
    let is_list = |text: &str| Path::new(text).extension().is_none_or(|e| e == "txt" || e == "in");
    if let Some(text) = leaf.node.text().filter(|text| !is_list(text)) {
        let text = text.escape_debug();
        let reason =
            format!("`{text}` is a project file; export its requirements as a list for pip");
        reader.leave_out(leaf, reason);
    } else if let Some(file) = reader.package_file(leaf) {
        reader.push(leaf, "pip", format!("-r {file}"));
    }
}

fn environment(reader: &mut Reader<'_>, leaf: &Leaf<'_>) {
    let name = leaf.name();
    let is_reserved = RESERVED.contains(&name)
        || name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT");
    if is_reserved {
        reader.skip(leaf, "Baseten sets it, and ignores the configured value");
    } else if is_built(reader, leaf) {
        reader.variable(leaf, leaf.name());
    }
}

fn base_image(reader: &mut Reader<'_>, leaf: &Leaf<'_>) {
    let Some(text) = reader.text(leaf) else { return };
    match base(text) {
        Ok((image, version)) => {
            let server = reader.root.get("docker_server");
            if server.and_then(|server| server.get("no_build")).is_some_and(Node::is_true) {
                reader.imported.settings.remove("base");
                reader.set(leaf, "mirror", image);
            } else {
                reader.set(leaf, "base", image);
            }
            reader.imported.python = version.map_or(Python::OfBase, Python::Version);
        }
        Err(reason) => reader.leave_out(leaf, reason),
    }
}

/// Reads whether the image is a copy of its base image.
fn no_build(reader: &mut Reader<'_>, leaf: &Leaf<'_>) {
    if !leaf.node.is_true() {
        reader.skip(leaf, "it is off");
    } else if reader.is_mirrored() {
        reader.import(leaf, "`mirror`");
    } else {
        reader.leave_out(leaf, "it requires `base_image.image`");
    }
}

/// Returns true if the image is built, and so can have a setting of its container. Otherwise reports that `leaf` stays.
fn is_built(reader: &mut Reader<'_>, leaf: &Leaf<'_>) -> bool {
    let is_mirrored = reader.is_mirrored();
    if is_mirrored {
        reader.skip(leaf, "configures the container of an image that stays as it is");
    }
    !is_mirrored
}

fn user(reader: &mut Reader<'_>, leaf: &Leaf<'_>) {
    if !is_built(reader, leaf) {
        return;
    }
    let Some(text) = reader.text(leaf) else { return };
    match text.parse::<u32>() {
        Ok(0 | 60000) | Err(_) => reader.leave_out(leaf, "Baseten does not allow this user"),
        Ok(user) => reader.set(leaf, "user", user.to_string()),
    }
}

/// Reads the name of a secret, never its value.
fn secret(reader: &mut Reader<'_>, leaf: &Leaf<'_>) {
    let name = leaf.path[1];
    let is_of_registry = name.starts_with("DOCKER_REGISTRY_")
        || reader.imported.logins.iter().any(|login| reads(login, name));
    if is_of_registry {
        let to = "basegen reads the credential of the registry from a variable of that name";
        reader.import(leaf, to);
    } else if leaf.node.is_empty() {
        reader.skip(leaf, "is for the running container; build steps use `[build.secrets]`");
    } else {
        reader.leave_out(leaf, "has a value, which is not imported: do not commit secrets");
    }
}

/// Returns true if the login reads the secret `name`.
fn reads(login: &Login, name: &str) -> bool {
    let value =
        |key: &str| login.keys.iter().find(|(set, _)| set == key).map(|(_, value)| &**value);
    let method = METHODS.into_iter().find(|method| value("auth_method") == Some(method.name()));
    method.is_some_and(|method| {
        let mut secrets = method.keys().iter().filter(|key| key.ends_with("secret_name"));
        secrets.any(|key| value(key).or(method.default_variable(key)) == Some(name))
    })
}

/// Imports a key of the login at the base image's registry. The matrix file has the same keys.
fn login(reader: &mut Reader<'_>, leaf: &Leaf<'_>) {
    let login = reader.root.get("base_image").and_then(|image| image.get("docker_auth"));
    let value = |name: &str| login.and_then(|login| login.get(name)?.text()).unwrap_or_default();
    let host = registry_host(value("registry"));
    let method = method(value("auth_method"), host, value);
    let host = host.unwrap_or_default();
    let name = leaf.name();
    match method.map_err(str::to_owned).and_then(|method| login_key(method, name, leaf.node)) {
        Err(reason) => reader.leave_out(leaf, reason),
        Ok(text) => {
            reader.import(leaf, format!("`[registries.\"{host}\"]`"));
            let logins = &mut reader.imported.logins;
            if logins.is_empty() {
                logins.push(Login { host: host.to_owned(), line: leaf.line, keys: Vec::new() });
            }
            if let (Some(login), true) = (logins.last_mut(), name != "registry") {
                login.keys.push((name.to_owned(), text.to_owned()));
            }
        }
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

/// Converts a key of `docker_auth` to the matrix file, or returns the reason why it is left out.
fn login_key<'n>(method: AuthMethodName, name: &str, node: &'n Node) -> Result<&'n str, String> {
    let text = node.text().unwrap_or_default();
    match name {
        "registry" => Ok(text),
        "auth_method" => Ok(method.name()),
        _ if method.keys().contains(&name) => match refuse_credential(name, text) {
            Some(_) => Err("it is not the name of a secret".to_owned()),
            None => Ok(text),
        },
        _ if METHODS.iter().any(|method| method.keys().contains(&name)) => {
            Err("this `auth_method` does not need it".to_owned())
        }
        _ => {
            Err(unknown_key(name, method.keys().iter().copied().chain(["registry", "auth_method"])))
        }
    }
}
