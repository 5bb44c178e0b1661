//! Truss' `config.yaml`.
//!
//! Reference: <https://docs.baseten.co/reference/truss-configuration>

use std::path::Path;

use super::ImportedImage;
use super::literal::command;
use super::node::{Key, Node, Value};
use super::read::{Notes, path, requirements_file, slug};
use super::template::{
    Base, COMMAND, Parts, base, is_python, package, requirement, start, variable,
};
use crate::matrix::{AuthMethodName, refuse_credential, registry_host};

/// What decides how a model is served, and is in no base image.
const SERVING: &str = "configures how the model is served, not its image";

/// What Truss puts on top of a base image.
const MODEL: &str = "belongs to the model, which Truss adds to a base image";

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

/// Reads the entries of a configuration.
pub(super) fn read(table: &[(Key, Node)], imported: &mut ImportedImage) {
    if let Some(name) = table.iter().find(|(key, _)| key.name == "model_name")
        && let Some(text) = name.1.text()
    {
        imported.name = slug(text);
    }
    let mut reader =
        Reader { notes: Notes::default(), imported, parts: Parts::new(), requirements: Vec::new() };
    // Other keys depend on the base image.
    let is_base = |entry: &&(Key, Node)| entry.0.name == "base_image";
    for (key, node) in table.iter().filter(is_base).chain(table.iter().filter(|e| !is_base(e))) {
        reader.entry(key, node);
    }
    let Reader { notes, imported, mut parts, requirements } = reader;
    if !requirements.is_empty() {
        parts.requirements.push(requirements_file(imported, &requirements));
    }
    imported.gpu = parts.gpu;
    imported.template = parts.template();
    imported.findings = notes.findings();
}

struct Reader<'a> {
    notes: Notes,
    imported: &'a mut ImportedImage,
    parts: Parts,
    requirements: Vec<String>,
}

impl Reader<'_> {
    fn entry(&mut self, key: &Key, node: &Node) {
        let (name, line) = (key.name.as_str(), key.line);
        match name {
            "model_name" => {
                if self.notes.text(name, line, node).is_some() {
                    self.notes.import(name, line, "the name of the image");
                }
            }
            "python_version" => self.python(key, node),
            "requirements" => {
                let to = "requirements.txt";
                self.requirements = self.notes.items(name, line, node, to, requirement);
            }
            "requirements_file" => self.requirements_file(key, node),
            "system_packages" => {
                let to = "a step that installs Debian packages";
                self.parts.packages = self.notes.items(name, line, node, to, package);
            }
            "build_commands" => {
                let to = "`RUN`, after the requirements";
                self.parts.after = self.notes.items(name, line, node, to, command);
            }
            "environment_variables" => self.environment(key, node),
            "base_image" => self.table(key, node, Self::base_image),
            "docker_server" => self.table(key, node, Self::server),
            "resources" => self.table(key, node, Self::resource),
            "secrets" => self.secrets(key, node),
            "live_reload" if !node.is_true() => {
                self.notes.skip(name, line, "it is off");
            }
            "live_reload" => {
                let reason = "runs a process of Truss; the matrix of basegen's repository has an axis for it";
                self.notes.skip(name, line, reason);
            }
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
            | "examples_filename" => {
                self.notes.skip_all(name, line, node, MODEL);
            }
            "spec_version"
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
            | "environment" => self.notes.skip_all(name, line, node, SERVING),
            _ => self.notes.skip_all(name, line, node, "basegen does not know this key"),
        }
    }

    /// Reads the entries of a table, which are named with the table.
    fn table(&mut self, key: &Key, node: &Node, entry: fn(&mut Self, &Key, &Node)) {
        let Value::Table(entries) = &node.value else {
            let reason = if node.is_empty() { "it is empty" } else { "it is not a table" };
            self.notes.skip(&key.name, key.line, reason);
            return;
        };
        let within = self.notes.within.clone();
        self.notes.within = format!("{within}{}.", key.name);
        for (key, node) in entries {
            entry(self, key, node);
        }
        self.notes.within = within;
    }

    /// `py310`, and `3.10` as people write it too.
    fn python(&mut self, key: &Key, node: &Node) {
        let Some(text) = self.notes.text(&key.name, key.line, node) else { return };
        let version = match text.strip_prefix("py") {
            Some(digits) if digits.len() > 1 && digits.bytes().all(|b| b.is_ascii_digit()) => {
                format!("{}.{}", &digits[..1], &digits[1..])
            }
            _ => text.to_owned(),
        };
        if !is_python(&version) {
            let reason = format!("`{}` is not a Python version", text.escape_debug());
            self.notes.skip(&key.name, key.line, reason);
        } else if self.parts.base == Parts::new().base {
            self.notes.import(&key.name, key.line, format!("axis `python`: {version}"));
            self.imported.pythons = vec![version];
        } else {
            self.notes.skip(&key.name, key.line, "the base image has its own Python");
        }
    }

    fn requirements_file(&mut self, key: &Key, node: &Node) {
        let Some(text) = self.notes.text(&key.name, key.line, node) else { return };
        match path(text) {
            Ok(from) => {
                let to = format!("{}/{from}", self.imported.name);
                let reason = "a project file; export its requirements as a list for pip";
                let is_list = Path::new(&from).extension().is_some_and(|ending| ending == "txt");
                if !is_list {
                    self.notes.skip(&key.name, key.line, format!("`{from}` is {reason}"));
                    return;
                }
                self.notes.import(&key.name, key.line, format!("dockerfiles/{to}, a copy"));
                self.imported.copies.push((from, to.clone()));
                self.imported.lists.push((key.line, to.clone()));
                self.parts.requirements.push(to);
            }
            Err(reason) => self.notes.skip(&key.name, key.line, reason),
        }
    }

    fn environment(&mut self, key: &Key, node: &Node) {
        self.table(key, node, |reader, key, node| {
            let name = key.name.as_str();
            let is_reserved = RESERVED.contains(&name)
                || name.ends_with("_SERVICE_HOST")
                || name.contains("_SERVICE_PORT");
            if is_reserved {
                let reason = "Baseten sets it, and ignores the configured value";
                reader.notes.skip(name, key.line, reason);
                return;
            }
            let Some(text) = reader.notes.text(name, key.line, node) else { return };
            match variable(name, text) {
                Ok(pair) => {
                    reader.notes.import(name, key.line, "`ENV`");
                    reader.parts.environment.push(pair);
                }
                Err(reason) => {
                    reader.notes.skip(name, key.line, reason);
                }
            }
        });
    }

    fn base_image(&mut self, key: &Key, node: &Node) {
        let (name, line) = (key.name.as_str(), key.line);
        match name {
            "image" => match self.notes.text(name, line, node).map(base) {
                Some(Ok((image, python))) => self.base(key, image, python),
                Some(Err(reason)) => self.notes.skip(name, line, reason),
                None => {}
            },
            "python_executable_path" => self.executable(key, node),
            "docker_auth" => self.login(key, node),
            _ => self.notes.skip_all(name, line, node, "basegen does not know this key"),
        }
    }

    fn base(&mut self, key: &Key, image: String, python: Option<String>) {
        self.notes.import(&key.name, key.line, format!("`FROM {image}`"));
        let executable = match &self.parts.base {
            Base::WithPython { python, .. } if python != "python" => python.clone(),
            _ if python.is_some() => "python".to_owned(),
            _ => "python3".to_owned(),
        };
        self.parts.base = Base::WithPython { image, python: executable };
        self.imported.pythons = python.into_iter().collect();
    }

    fn executable(&mut self, key: &Key, node: &Node) {
        let Some(text) = self.notes.text(&key.name, key.line, node) else { return };
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
        if !text.starts_with('/') || !text.chars().all(is_plain) {
            self.notes.skip(
                &key.name,
                key.line,
                format!("`{}` is not a path", text.escape_debug()),
            );
        } else if let Base::WithPython { python, .. } = &mut self.parts.base {
            text.clone_into(python);
            self.notes.import(&key.name, key.line, "the Python that installs requirements");
        }
    }

    fn server(&mut self, key: &Key, node: &Node) {
        let (name, line) = (key.name.as_str(), key.line);
        match name {
            "start_command" | "server_port" | "run_as_user_id" => {
                if let Some(text) = self.notes.text(name, line, node) {
                    self.running(name, line, text);
                }
            }
            "no_build" if node.is_true() => {
                let reason = "requires an unmodified image, but basegen builds a new one: mirror the image instead";
                self.notes.skip(name, line, reason);
            }
            _ => self.notes.skip_all(name, line, node, SERVING),
        }
    }

    /// Imports the command, the port and the user of containers.
    fn running(&mut self, name: &str, line: usize, text: &str) {
        match name {
            "start_command" => match start(text) {
                Ok(start) => {
                    self.notes.import(name, line, COMMAND);
                    self.parts.start = Some(start);
                }
                Err(reason) => self.notes.skip(name, line, reason),
            },
            "server_port" => match text.parse() {
                Ok(port) => {
                    self.notes.import(name, line, format!("`EXPOSE {port}`"));
                    self.parts.port = Some(port);
                }
                Err(_) => self.notes.skip(name, line, "it is not a port"),
            },
            _ => match text.parse() {
                Ok(0 | 60000) | Err(_) => {
                    self.notes.skip(name, line, "Baseten does not allow this user");
                }
                Ok(user) => {
                    self.notes.import(name, line, format!("`USER {user}`"));
                    self.parts.user = Some(user);
                }
            },
        }
    }

    fn resource(&mut self, key: &Key, node: &Node) {
        let wants = match key.name.as_str() {
            "accelerator" if node.is_empty() => false,
            "accelerator" => {
                if self.notes.text(&key.name, key.line, node).is_none() {
                    return;
                }
                true
            }
            "use_gpu" => node.is_true(),
            _ => {
                self.notes.skip_all(&key.name, key.line, node, SERVING);
                return;
            }
        };
        if !wants {
            self.notes.skip(&key.name, key.line, "no GPU is requested");
        } else if self.parts.base.is_debian_python() {
            self.notes.import(&key.name, key.line, "axis `gpu`");
            self.parts.gpu = true;
        } else {
            self.notes.skip(
                &key.name,
                key.line,
                "the base image is not modified: choose one that has CUDA",
            );
        }
    }

    /// How the base image's registry is logged in to: basegen has the same keys.
    fn login(&mut self, key: &Key, node: &Node) {
        let Value::Table(entries) = &node.value else {
            self.notes.skip_all(&key.name, key.line, node, "it is not a table");
            return;
        };
        let value = |name: &str| {
            let found = entries.iter().find(|(key, _)| key.name == name);
            found.and_then(|(_, node)| node.text()).unwrap_or_default()
        };
        let host = registry_host(value("registry"));
        let method = method(value("auth_method"), host, value);
        let host = host.unwrap_or_default();
        let mut keys = Vec::new();
        for (entry, node) in entries {
            let (name, line) = (entry.name.as_str(), entry.line);
            let path = format!("{}.{name}", key.name);
            let text = method.and_then(|method| login_key(method, name, node));
            match text {
                Err(reason) => self.notes.skip_all(&path, line, node, reason),
                Ok(_) if name == "registry" => {
                    self.notes.import(&path, line, format!("`[registries.\"{host}\"]`"));
                }
                Ok(text) => {
                    let to = format!("`{name}` of `[registries.\"{host}\"]`");
                    self.notes.import(&path, line, to);
                    keys.push((name.to_owned(), text.to_owned()));
                }
            }
        }
        if method.is_ok() {
            self.imported.registries.push((host.to_owned(), keys));
        }
    }

    /// The names of secrets, and never their values.
    fn secrets(&mut self, key: &Key, node: &Node) {
        self.table(key, node, |reader, key, node| {
            let name = key.name.as_str();
            if name.starts_with("DOCKER_REGISTRY_") {
                let to =
                    "basegen reads the credential of the registry from a variable of that name";
                reader.notes.import(name, key.line, to);
            } else if node.is_empty() {
                let reason = "is for the running container; build steps use `[build.secrets]`";
                reader.notes.skip(name, key.line, reason);
            } else {
                let reason = "has a value, which is not imported: do not commit secrets";
                reader.notes.skip(name, key.line, reason);
            }
        });
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
        _ => Err("basegen does not know this key"),
    }
}
