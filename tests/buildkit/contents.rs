//! Images without a Dockerfile, built and run.

use std::path::Path;
use std::process::Command;

use basegen::image::Reference;

use crate::harness::project::write;
use crate::harness::{conda, testbed};

/// Returns a call of the command that trusts the certificates of the test bed, and prints no colours.
fn basegen(folder: &Path) -> Command {
    let mut command = testbed::basegen(folder);
    if let Some(certificates) = std::env::var_os("BASEGEN_TESTBED_CA") {
        command.env("SSL_CERT_FILE", certificates);
    }
    command.env("NO_COLOR", "1");
    command
}

/// Pushes the images of a matrix to the test bed's registry, and returns their names.
fn pushed(folder: &Path, repository: &str) -> Vec<Reference> {
    let registry = testbed::registry();
    let push = ["--push", "--registry", &registry, "--repository", repository];
    let output = basegen(folder).args(push).output().expect("the command runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).expect("UTF-8");
    let names = printed.lines().map(|line| line.split_once('@').expect("a digest").0);
    names.map(|name| name.parse().expect("a reference")).collect()
}

/// Returns the output of a shell in a container of `image`.
fn shell(image: &Reference, script: &str) -> String {
    let arguments = ["run", "--rm", "--entrypoint", "/bin/sh", &image.to_string(), "-c", script];
    let output = testbed::docker_command(&arguments).output().expect("docker runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn images_without_a_dockerfile_have_debian_conda_and_python_packages() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let unique = testbed::unique();
    let (url, sum) = conda::serve(conda::micromamba(folder));
    conda::channel(&folder.join("channel"), "greeting", "1.2");
    write(folder, "VERSION", "v1\n");
    let matrix = format!(
        r#"version.file = "VERSION"
axes.word = ["one", {{ value = "two", pip = {{ idna = "==3.10" }} }}]
build = {{ ca_certificates = "auto", tools.micromamba."linux/amd64" = {{ url = "{url}", sha256 = "{sum}" }} }}
[image]
base = "python:3.11-slim-bookworm"
repository = "basegen-test/contents"
contracts = ["lint"]
pre_build_commands = ["echo {{{{word}}}} {unique} >/word"]
apt = ["tree"]
conda = {{ "-c" = "./channel", greeting = ">=1,<2" }}
pip = {{ six = "==1.17.0; python_version<\"4\"" }}
"#
    );
    write(folder, "matrix.toml", &matrix);
    let images = pushed(folder, &format!("basegen-test/contents-{unique}"));
    let script = "command -v tree && greeting && python -c 'import six; print(six.__version__)'";
    assert_eq!(shell(&images[0], script), "/usr/bin/tree\ngreeting 1.2\n1.17.0");
    assert_eq!(shell(&images[1], "python -c 'import idna; print(idna.__version__)'"), "3.10");
    // The first command differs, so both images run the steps after it. Equal packages are still equal layers.
    let mut layers = Vec::new();
    for image in &images {
        layers.push(testbed::layers(&testbed::manifest(image).await.1));
    }
    let [one, two] = &layers[..] else { panic!("two images") };
    assert_eq!(two.len(), one.len() + 1);
    if testbed::has_graph_driver().await {
        // Layers of a graph driver contain the times of deleted files, and of folders with mounted files.
        return;
    }
    let own = one.iter().zip(two).position(|(one, two)| one != two).expect("an own layer");
    assert_eq!(one[own + 1..], two[own + 1..one.len()], "{layers:#?}");
}

/// Images of two versions of Python have the same layer of libraries, and packages that need them use them.
#[tokio::test(flavor = "multi_thread")]
async fn libraries_are_in_one_layer_for_all_versions_of_python() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let unique = testbed::unique();
    write(folder, "VERSION", "v1\n");
    let matrix = format!(
        r#"version.file = "VERSION"
axes.python = ["3.11", "3.13"]
[image]
repository = "basegen-test/libraries"
pre_build_commands = ["echo {{{{python}}}} {unique} >/word"]
libraries = ["six==1.17.0"]
pip = ["python-dateutil==2.9.0.post0"]
[build]
ca_certificates = "auto"
"#
    );
    write(folder, "matrix.toml", &matrix);
    let images = pushed(folder, &format!("basegen-test/libraries-{unique}"));
    let script = "python -m pip freeze --all | grep -i '^six\\|dateutil'; python -m pip check; \
                  python -c 'import six, os; print(os.path.realpath(six.__file__))'; ls -A /tmp /opt/libraries";
    let shown: Vec<String> = images.iter().map(|image| shell(image, script)).collect();
    assert_eq!(shown[0], shown[1]);
    insta::assert_snapshot!(shown[0]);
    let mut libraries = Vec::new();
    for image in &images {
        let mut layers = testbed::layers(&testbed::manifest(image).await.1);
        // The last two layers are the links to the libraries and the other packages.
        libraries.push(layers.swap_remove(layers.len() - 3));
    }
    assert_eq!(libraries[0], libraries[1]);

    // A library that differs between versions of Python is refused.
    write(folder, "matrix.toml", &matrix.replace("six==1.17.0", "markupsafe==3.0.3"));
    let output = basegen(folder).output().expect("the command runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("not the same for all versions of Python: /out/opt/libraries/markupsafe-3.0.3.dist-info/WHEEL"), "{errors}");
}

#[test]
fn python_and_tools_are_installed_on_a_base_without_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let unique = testbed::unique();
    write(folder, "VERSION", "v1\n");
    write(folder, "app/main.py", "import six\nprint('served', six.__version__)\n");
    write(folder, "requirements.txt", "-r more.txt\n");
    write(folder, "more.txt", "six==1.17.0\n");
    write(folder, "packages.txt", "tree # shows folders\n");
    let matrix = format!(
        r#"[image]
repository = "basegen-test/contents"
base = "debian:bookworm-slim"
pre_build_commands = ["curl --version >/curl", """
echo {unique}
echo "it's a \\"script\\"" >/script"""]
apt = "packages.txt"
pip = "requirements.txt"
workdir = "/srv"
files = ["app"]
env = {{ QUOTED = "a \"b\" \\$HOME", HERE = "/srv:$PATH" }}
shell_commands = ["python3 app/main.py >/served"]
user = "1000"
entrypoint = ["cat"]
cmd = ["/served"]
expose = 8000
healthcheck = "true"
[axes]
x = ["y"]
[version]
file = "VERSION"
[build]
ca_certificates = "auto"
"#
    );
    write(folder, "matrix.toml", &matrix);
    let images = pushed(folder, &format!("basegen-test/contents-{unique}"));
    let started = testbed::docker_command(&["run", "--rm", &images[0].to_string()]).output();
    assert_eq!(String::from_utf8_lossy(&started.expect("docker runs").stdout), "served 1.17.0\n");
    let script = "cat /script; echo \"$QUOTED\"; echo \"${HERE%%:*}\"; id -u; command -v tree; pwd; ls -A /tmp /run/context 2>&1 || true";
    insta::assert_snapshot!(shell(&images[0], script));
}
