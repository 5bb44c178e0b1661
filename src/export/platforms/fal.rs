//! An app for fal, in Python.
//!
//! References: <https://docs.fal.ai/documentation/development/use-custom-container-image>,
//! <https://docs.fal.ai/documentation/development/private-registries>

use std::fmt::Write as _;

use super::{Configuration, PublishedImage, RegistryKind, Server, port_warning, quoted};

/// The machine for images with CUDA.
const GPU_MACHINE: &str = "GPU-A100";

/// Returns a module with an app on the image, or with a function that runs the server in it.
#[must_use]
pub fn fal(image: &PublishedImage<'_>, server: Option<&Server>) -> Configuration {
    let mut text = format!("# {}\n", image.reference);
    if let Some(python) = image.python {
        let _ = writeln!(
            text,
            "# Deploy it with Python {python}: fal pickles the app on your machine, and loads it in the image."
        );
    }
    let registries = image.auth.map(|_| registry(image)).unwrap_or_default();
    if registries.contains("os.environ") {
        text.push_str("import os\n");
    }
    if server.is_some() {
        text.push_str("import subprocess\n");
    }
    if text.contains("\nimport ") {
        text.push('\n');
    }
    let mut dockerfile = vec![format!("FROM {}", image.reference.pinned(image.digest))];
    if !image.keeps_fal {
        dockerfile.push(
            "# Keep this last: the runtime of fal needs its versions of some packages.".to_owned(),
        );
        dockerfile.push("RUN python3 -m pip install --no-cache-dir fal".to_owned());
    }
    let dockerfile = quoted_lines(&dockerfile);
    let _ = writeln!(
        text,
        "import fal\nfrom fal.container import ContainerImage\n\n\
         image = ContainerImage.from_dockerfile_str(\n{dockerfile}{registries})\n"
    );
    let machine = image.has_gpu.then(|| quoted(GPU_MACHINE));
    match server {
        None => text.push_str(&app(machine)),
        Some(server) => text.push_str(&function(machine, server)),
    }
    let warnings = server.and_then(port_warning).into_iter().collect();
    Configuration { text, warnings }
}

/// Returns adjacent string literals, one for each line of a file, as the first argument of a call.
fn quoted_lines(lines: &[String]) -> String {
    let mut text = String::new();
    for line in lines {
        // The escape of a line break is not among those that `quoted` shares with other languages.
        let literal = quoted(line);
        let _ = writeln!(text, "    {}\\n\"", literal.strip_suffix('"').expect("a quoted string"));
    }
    text.insert(text.len() - 1, ',');
    text
}

/// Returns the argument with the credentials of the registry. fal resolves values with `$` from its secrets.
fn registry(image: &PublishedImage<'_>) -> String {
    let host = image.reference.repository.registry();
    let environment = |name: &str| format!("os.environ[{}]", quoted(name));
    let (comment, username, password) = match image.registry {
        RegistryKind::Aws { .. } => (
            // The token lasts for twelve hours, too short for a secret.
            "Set it to the output of `aws ecr get-login-password`.",
            quoted("AWS"),
            environment("ECR_PASSWORD"),
        ),
        RegistryKind::Google => (
            "A secret of fal: the Base64 of the JSON key of a service account.",
            quoted("_json_key_base64"),
            quoted("$GOOGLE_AR_JSON_BASE64"),
        ),
        RegistryKind::Other => {
            ("A secret of fal.", environment("REGISTRY_USERNAME"), quoted("$REGISTRY_PASSWORD"))
        }
    };
    let host = if host == "docker.io" { "https://index.docker.io/v1/" } else { host };
    format!(
        "    registries={{\n        {}: {{\n            \"username\": {username},\n            \
         # {comment}\n            \"password\": {password},\n        }},\n    }},\n",
        quoted(host)
    )
}

fn app(machine: Option<String>) -> String {
    let machine = machine.map(|machine| format!("    machine_type = {machine}\n"));
    format!(
        "\nclass Model(fal.App):\n{}    image = image\n\n    def setup(self):\n        pass\n\n    \
         @fal.endpoint(\"/\")\n    def predict(self) -> dict:\n        return {{}}\n",
        machine.unwrap_or_default()
    )
}

fn function(machine: Option<String>, server: &Server) -> String {
    let machine = machine.map(|machine| format!("    machine_type={machine},\n"));
    let command = quoted(server.start_command.as_deref().unwrap_or_default());
    format!(
        "\n@fal.function(\n{}    image=image,\n    exposed_port={},\n)\ndef serve():\n    \
         subprocess.run({command}, shell=True, check=True)\n",
        machine.unwrap_or_default(),
        server.port
    )
}
