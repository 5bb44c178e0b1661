//! The examples of `docs/platforms.md`. [`crate::documents`] tests its tables.
//!
//! The tests in `tests/buildkit/platform_packages.rs` load them with the platforms' own packages.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::harness::page::{Example, Section};
use crate::harness::project::{Project, basegen, stdout};

/// The matrix for sections that have only a template, and the template for sections that have only a matrix.
const MATRIX: &str = "\
[image]
repository = \"acme/base\"
dockerfile = \"base.Dockerfile.hbs\"
platforms = [\"linux/amd64\"]
[axes]
python = [\"3.11\", \"3.12\"]
[version]
file = \"VERSION\"
";
const TEMPLATE: &str = "FROM python:{{python}}-slim-bookworm\n";

/// Files that templates copy.
const COPIED: [&str; 6] = [
    "config/settings.json",
    "config/settings.yaml",
    "main.py",
    "requirements.txt",
    "server.py",
    "src/model.py",
];

/// The tables and keys that Cerebrium documents.
const CEREBRIUM_KEYS: [(&str, &[&str]); 4] = [
    ("deployment", &["name", "docker_base_image_url", "python_version"]),
    ("hardware", &["compute", "gpu_count", "cpu", "memory"]),
    ("dependencies", &["pip", "apt", "conda"]),
    ("runtime", &["custom"]),
];

fn sections() -> Vec<Section> {
    Section::read_page("platforms.md")
}

/// Returns the output of a Python script, which must succeed.
fn python(folder: &Path, script: &str) -> String {
    let mut command = Command::new("python3");
    command.args(["-c", script]).current_dir(folder);
    stdout(command)
}

#[test]
fn matrices_and_templates_render_without_errors() {
    let (mut rendered, mut failures) = (0, Vec::new());
    for section in sections() {
        let matrices: Vec<&Example> = section.examples_named("matrix.toml").collect();
        let template = "dockerfiles/base.Dockerfile.hbs";
        let templates: Vec<&Example> = section.examples_named(template).collect();
        if matrices.is_empty() && templates.is_empty() {
            continue;
        }
        assert!(matrices.len() < 2 && templates.len() < 2, "{}", section.heading);
        let project = Project::new();
        let text = |examples: &[&Example], usual: &str| {
            examples.first().map_or(usual.to_owned(), |example| example.text.clone())
        };
        project.write("matrix.toml", &text(&matrices, MATRIX));
        project.write(template, &text(&templates, TEMPLATE));
        for file in COPIED {
            project.write(&format!("dockerfiles/{file}"), "\n");
        }
        let dockerfiles = stdout(project.basegen("render"));
        assert!(dockerfiles.contains("FROM "), "{}", section.heading);
        // Warnings are allowed, errors are not.
        let lint = project.basegen("lint").output().expect("the command runs");
        let found = String::from_utf8_lossy(&lint.stdout).into_owned();
        if !lint.status.success() {
            failures.push(format!("{}: {found}", section.heading));
        }
        rendered += 1;
    }
    assert!(rendered > 20, "{rendered}");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn each_example_is_a_file_of_its_language() {
    let folder = tempfile::tempdir().expect("a folder");
    for section in sections() {
        for example in &section.examples {
            let (file, heading) = (example.file.as_deref().unwrap_or_default(), &section.heading);
            match (example.language.as_str(), file) {
                ("toml", "matrix.toml") | ("dockerfile", "dockerfiles/base.Dockerfile.hbs") => {}
                ("toml", "cerebrium.toml") => assert_cerebrium_keys(&example.text),
                ("yaml", "config.yaml") => assert_baseten_config(&example.text),
                ("python", name) if Path::new(name).extension().is_some_and(|end| end == "py") => {
                    fs_err::write(folder.path().join("example.py"), &example.text).expect("a file");
                    python(
                        folder.path(),
                        "compile(open('example.py').read(), 'example.py', 'exec')",
                    );
                }
                ("sh", "") => assert_options_exist(&example.text),
                (language, _) => panic!("{heading}: an example in {language} names no file"),
            }
        }
    }
}

fn assert_cerebrium_keys(text: &str) {
    let file: toml::Table = text.parse().expect("TOML");
    assert_eq!(file.len(), 1, "{text}");
    for (table, keys) in file["cerebrium"].as_table().expect("a table") {
        let known = CEREBRIUM_KEYS.iter().find(|(name, _)| name == table);
        let (_, known) = known.unwrap_or_else(|| panic!("unknown table `{table}`"));
        for key in keys.as_table().expect("a table").keys() {
            assert!(known.contains(&key.as_str()), "unknown key `{table}.{key}`");
        }
    }
    let image = file["cerebrium"]["deployment"]["docker_base_image_url"].as_str();
    assert!(image.is_some_and(|image| image.contains("@sha256:")), "{text}");
    if let Some(runtime) = file["cerebrium"].get("runtime") {
        let custom = &runtime["custom"];
        let entrypoint = custom["entrypoint"].as_str().expect("a command");
        assert!(entrypoint.ends_with(&format!("--port {}", custom["port"])), "{text}");
    }
}

fn assert_baseten_config(text: &str) {
    let file: Value = serde_saphyr::from_str(text).expect("YAML");
    let image = file["base_image"]["image"].as_str().expect("an image");
    assert!(image.contains("@sha256:"), "{image}");
    let server = &file["docker_server"];
    if server.is_object() {
        let no_build = server["no_build"] == true;
        assert!(no_build || server["server_port"] != 8080, "{text}");
        assert!(no_build || server["start_command"].is_string(), "{text}");
    }
}

/// Asserts that the options of each command exist.
fn assert_options_exist(text: &str) {
    for line in text.lines() {
        let call = line.split('#').next().unwrap_or_default().trim();
        let arguments = call.strip_prefix("basegen").expect("a call of basegen");
        stdout(basegen(&format!("{arguments} --help")));
    }
}

/// Returns the only example with this file name.
fn example(name: &str) -> String {
    let sections = sections();
    let mut found = sections.iter().flat_map(|section| section.examples_named(name));
    let text = found.next().expect("an example").text.clone();
    assert!(found.next().is_none(), "{name}");
    text
}

#[test]
fn logs_contain_the_id_of_the_request() {
    let folder = tempfile::tempdir().expect("a folder");
    fs_err::write(folder.path().join("request_log.py"), example("request_log.py")).expect("a file");
    let script = r#"
import asyncio, logging
from request_log import RequestIds

async def app(scope, receive, send):
    await asyncio.sleep(0.01)
    logging.getLogger("server").info("hello %s", scope["path"])

async def main():
    header = lambda value: [(b"host", b"a"), (b"x-baseten-request-id", value)]
    scopes = [{"path": "/a", "headers": header(b"1")}, {"path": "/b", "headers": header(b"2")}, {"path": "/c"}]
    await asyncio.gather(*(RequestIds(app)(scope, None, None) for scope in scopes))

asyncio.run(main())
"#;
    let printed = python(folder.path(), script);
    let lines: Vec<Value> =
        printed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let found: BTreeSet<(&str, Option<&str>)> = lines
        .iter()
        .map(|line| (line["message"].as_str().unwrap_or_default(), line["request_id"].as_str()))
        .collect();
    let expected = [("hello /a", Some("1")), ("hello /b", Some("2")), ("hello /c", None)];
    assert_eq!(found, BTreeSet::from(expected));
}

#[test]
fn secrets_are_read_from_their_files() {
    let folder = tempfile::tempdir().expect("a folder");
    fs_err::write(folder.path().join("example.py"), example("secret.py")).expect("a file");
    fs_err::write(folder.path().join("token"), "value\n").expect("a file");
    let script = "from example import secret; print(secret('token', '.'))";
    assert_eq!(python(folder.path(), script), "value\n");
}

#[test]
fn labels_and_settings_come_from_variables() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["deployment.py", "settings.py"] {
        fs_err::write(folder.path().join(name), example(name)).expect("a file");
    }
    let script = "
import os
os.environ.update(BT_MODEL_ID='m', MAX_CONCURRENCY='16')
import deployment, settings
print(deployment.labels(), settings.max_concurrency)
";
    let printed = python(folder.path(), script);
    assert_eq!(printed, "{'model': 'm', 'deployment': 'local'} 16\n");
}
