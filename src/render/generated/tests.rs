use std::path::Path;

use crate::matrix::parse;
use crate::render::{BuildContext, RenderError, Renderer, unused_contents};

const MATRIX: &str = r#"[image]
repository = "acme/app"
apt = ["curl", "ffmpeg=7:5.1.6-0+deb12u1"]
pip = { numpy = ">=1.26,<2; python_version<\"3.13\"", "uvicorn[standard]" = "latest", "-r" = "requirements.txt", "-c" = "constraints.txt" }
files = ["src", "a file.txt"]
pre_build_commands = ["curl -o /usr/local/bin/pget https://acme.example/pget", "--mount=x"]
shell_commands = ["python -m download_models", """
one
two"""]
env = { PATH = "/app/bin:$PATH", MODE = "a \"b\"" }
user = "1000"
workdir = "/app"
entrypoint = ["uvicorn", "main:app"]
cmd = "exec $0 --port 8000"
expose = [8000, "53/udp"]

[image.healthcheck]
run = "curl -f http://localhost:8000/health"
interval = "1m30s"

[axes]
python = ["3.11", { value = "3.13", pip = { numpy = "==2.1.0" } }]
gpu = [false, { value = true, pip = { torch = "2.8.0", "--extra-index-url" = "https://acme.example/cu128" }, apt = ["libgomp1"] }]
"#;

/// Renders the variants of a matrix with files in the folder of the matrix.
fn rendered(matrix: &str, files: &[(&str, &str)]) -> Result<Vec<BuildContext>, String> {
    let folder = tempfile::tempdir().expect("a folder");
    for (path, text) in files {
        let path = folder.path().join(path);
        fs_err::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs_err::write(path, text).expect("a file");
    }
    let path = folder.path().display().to_string();
    let shown = |text: String| text.replace(&format!("{path}/"), "").replace(&path, ".");
    let matrix = parse(&folder.path().join("matrix.toml"), matrix);
    let matrix = matrix.map_err(|error| shown(error.to_string()))?;
    let variants: Vec<_> = matrix.variants.iter().collect();
    let contexts = Renderer::new(&matrix).and_then(|mut renderer| renderer.render_all(&variants));
    contexts.map_err(|error: RenderError| shown(error.to_string()))
}

const FILES: [(&str, &str); 5] = [
    ("requirements.txt", "-r more/base.txt\nfastapi==0.115.0\n"),
    ("more/base.txt", "pydantic==2.9.0\n"),
    ("constraints.txt", "starlette<1\n"),
    ("src/main.py", ""),
    ("a file.txt", ""),
];

#[test]
fn a_matrix_without_a_template_has_dockerfiles() {
    let contexts = rendered(MATRIX, &FILES).expect("Dockerfiles");
    let files: Vec<&str> = contexts[0].files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(
        files,
        ["a file.txt", "constraints.txt", "more/base.txt", "requirements.txt", "src/main.py"]
    );
    insta::assert_snapshot!("3.11", contexts[0].dockerfile);
    insta::assert_snapshot!("3.13-gpu", contexts[3].dockerfile);
}

#[test]
fn variants_share_the_steps_that_they_have_in_common() {
    let contexts = rendered(MATRIX, &FILES).expect("Dockerfiles");
    let [cpu, gpu] = [&contexts[0], &contexts[1]].map(BuildContext::steps);
    let common = cpu.iter().filter(|step| gpu.contains(step)).count();
    // The base images, uv, the programs, two commands and the Debian packages of all images.
    assert_eq!(common, 7);
}

#[test]
fn every_line_has_its_place_in_the_matrix_file() {
    let contexts = rendered(MATRIX, &FILES).expect("Dockerfiles");
    let context = &contexts[3];
    let line = |text: &str| {
        let number = context.dockerfile.lines().position(|line| line.contains(text)).expect(text);
        let place = context.template_line(number + 1).expect(text);
        format!("{}:{}", Path::new(&*place.file).file_name().expect("a name").display(), place.line)
    };
    for (text, expected) in [
        ("ffmpeg", "matrix.toml:3"),
        ("numpy==2.1.0", "matrix.toml:22"),
        ("torch", "matrix.toml:23"),
        ("COPY --link src", "matrix.toml:5"),
        ("USER", "matrix.toml:11"),
        ("libgomp1", "matrix.toml:23"),
    ] {
        assert_eq!(line(text), expected, "{text}");
    }
}

#[test]
fn default_bases_follow_the_axis_python() {
    let base = |axes: &str| {
        let matrix = format!(
            "[image]\nrepository = \"acme/app\"\ntag = \"{{{{variant}}}}\"\n[axes]\n{axes}\n"
        );
        let contexts = rendered(&matrix, &[]).expect("Dockerfiles");
        contexts[0].dockerfile.clone()
    };
    assert_eq!(base("python = [\"3.12\"]"), "FROM python:3.12-slim-bookworm\n");
    assert_eq!(base("cuda = [\"12\"]"), "FROM debian:bookworm-slim\n");
}

#[test]
fn a_base_without_python_gets_one() {
    let matrix = r#"[image]
repository = "acme/app"
base = "ubuntu:{{ubuntu}}"
apt = "packages.txt"
pip = ["a @ git+https://acme.example/a@v1", "--find-links ./wheels"]
[axes]
ubuntu = ["24.04"]
[build]
ca_certificates = "auto"
secrets = { netrc = { env = "NETRC", optional = true }, token = { env = "TOKEN" } }
"#;
    let files = [("packages.txt", "# tools\ntree  jq # two\n"), ("wheels/a.whl", "")];
    let contexts = rendered(matrix, &files).expect("Dockerfiles");
    insta::assert_snapshot!(contexts[0].dockerfile);
}

#[test]
fn libraries_are_one_layer_for_all_versions_of_python() {
    let matrix = r#"[image]
repository = "acme/app"
pip = ["six==1.17.0"]
[axes]
python = ["3.11", { value = "3.13", pip = ["idna==3.10"] }]
gpu = [false, { value = true, libraries = { nvidia-nvtx-cu12 = "12.8.90" }, pip = ["torch==2.8.0"] }]
"#;
    let contexts = rendered(matrix, &[]).expect("Dockerfiles");
    insta::assert_snapshot!(contexts[3].dockerfile);
    let [old, plain, new] = [1, 2, 3].map(|at| contexts[at].layers());
    // The library, for both versions of Python.
    assert_eq!(old.iter().filter(|layer| new.contains(layer)).count(), 2, "{old:?} {new:?}");
    // The image with a GPU has all steps of the one without.
    assert!(plain.iter().all(|layer| new.contains(layer)));
    let alone =
        matrix.replace(", pip = [\"torch==2.8.0\"]", "").replace("pip = [\"six==1.17.0\"]", "");
    let contexts = rendered(&alone, &[]).expect("Dockerfiles");
    assert!(contexts[1].dockerfile.contains("COPY --link --from=libraries /out/ /\n"));
}

#[test]
fn conda_packages_have_an_environment_of_their_own() {
    let sum = "0".repeat(64);
    let tool = format!("{{ url = \"https://acme.example/m\", sha256 = \"{sum}\" }}");
    let matrix = format!(
        r#"[image]
repository = "acme/app"
base = "debian:bookworm-slim"
platforms = ["linux/amd64", "linux/arm64"]
conda = {{ "-c" = ["./channel", "conda-forge"], cuda = ">=11.7", cudatoolkit = "11.7", "-r" = "environment.yml" }}
pip = ["six==1.17.0"]
[axes]
opencv = [false, {{ value = true, conda = {{ opencv = "latest" }} }}]
[build.tools.micromamba]
"linux/amd64" = {tool}
"linux/arm64" = {tool}
"#
    );
    let files = [("channel/noarch/repodata.json", "{}"), ("environment.yml", "name: a\n")];
    let contexts = rendered(&matrix, &files).expect("Dockerfiles");
    insta::assert_snapshot!(contexts[1].dockerfile);
    let without = matrix.replace("\"linux/arm64\" = {", "\"linux/s390x\" = {");
    insta::assert_snapshot!(
        "without_micromamba",
        rendered(&without, &files).expect_err("an error")
    );
}

#[test]
fn templates_can_include_parts() {
    let matrix = r#"[image]
repository = "acme/app"
dockerfile = "Dockerfile.hbs"
pip = ["six==1.17.0"]
shell_commands = ["echo {{python}}"]
[axes]
python = ["3.11"]
"#;
    let template = "{{> package_tools}}\nFROM python:{{python}}\n  {{> packages}}\n{{#if python}}\n{{> shell_commands}}\n{{/if}}\n{{> apt}}\nUSER 1000\n";
    let contexts = rendered(matrix, &[("dockerfiles/Dockerfile.hbs", template)]);
    let contexts = contexts.expect("Dockerfiles");
    insta::assert_snapshot!(contexts[0].dockerfile);
    let own = [
        ("dockerfiles/Dockerfile.hbs", "FROM a:1\n{{> apt}}\n"),
        ("dockerfiles/partials/apt.hbs", "RUN own\n"),
    ];
    let contexts = rendered(matrix, &own).expect("Dockerfiles");
    assert_eq!(contexts[0].dockerfile, "FROM a:1\nRUN own\n");
}

#[test]
fn contents_that_no_image_has_are_found() {
    let unused = |image: &str, gpu: &str| {
        let folder = tempfile::tempdir().expect("a folder");
        let dockerfiles = folder.path().join("dockerfiles");
        fs_err::create_dir(&dockerfiles).expect("a folder");
        fs_err::write(dockerfiles.join("plain.hbs"), "FROM a:1\n").expect("a file");
        let parts = "FROM a:1\n{{#if gpu}}\n{{> apt}}\n{{/if}}\n";
        fs_err::write(dockerfiles.join("gpu.hbs"), parts).expect("a file");
        let text = format!(
            "[image]\nrepository = \"acme/app\"\n{image}\n[axes]\npython = [\"3.11\"]\n\
             gpu = [false, {{ value = true, {gpu} }}]\n"
        );
        let matrix = parse(&folder.path().join("matrix.toml"), &text).expect("a matrix");
        let variants: Vec<_> = matrix.variants.iter().collect();
        let contexts = Renderer::new(&matrix).and_then(|mut all| all.render_all(&variants));
        let contexts = contexts.expect("Dockerfiles");
        let found = unused_contents(&matrix, variants.iter().copied().zip(&contexts));
        // A selection can omit the images with these contents.
        let part = unused_contents(&matrix, [(variants[0], &contexts[0])]);
        assert!(part.is_empty(), "{part:?}");
        let shown = found
            .iter()
            .map(|found| found.warning().replace(&format!("{}/", folder.path().display()), ""));
        shown.collect::<Vec<_>>().join("\n")
    };
    let plain = "dockerfile = \"plain.hbs\"";
    let found = [
        unused(&format!("{plain}\nbase = \"a:2\"\npip = [\"six==1.17.0\"]"), ""),
        unused(plain, "apt = [\"tree\"]"),
        unused("dockerfile = \"gpu.hbs\"\nuser = \"1000\"\napt = [\"tree\"]", ""),
    ];
    insta::assert_snapshot!(found.join("\n\n"));
    // The other image has the packages.
    assert_eq!(unused("apt = [\"tree\"]", plain), "");
    assert_eq!(unused("dockerfile = \"gpu.hbs\"\napt = [\"tree\"]", ""), "");
    assert_eq!(unused("dockerfile = \"gpu.hbs\"", "apt = [\"tree\"]"), "");
}

#[test]
fn values_are_quoted_in_words_and_instructions() {
    let matrix = r##"[image]
repository = "acme/app"
base = "debian:bookworm-slim"
pip = ["a; python_version<\"3.13\" and 'x' != '$(id)'", "b #c", "d<<EOF"]
shell_commands = ["# a comment", "[\"a\"]", "cat <<EOF\nEOF", "a \\"]
env = { A = "x\\\" FROM b", B = "`id`" }
cmd = "echo \"it's\" \\"
[axes]
x = ["y"]
"##;
    let contexts = rendered(matrix, &[]).expect("Dockerfiles");
    insta::assert_snapshot!(contexts[0].dockerfile);
}

#[test]
fn errors_in_contents_have_a_location_and_a_hint() {
    let mut faults = Vec::new();
    for (image, files) in [
        ("pip = { numpy = true, \"--index-ulr\" = \"x\", torch = \"\" }", &[][..]),
        ("apt = { ffmpeg = \">=5\", \"a b\" = \"latest\" }", &[]),
        ("pip = [\"--extra-index-url https://me:secret@acme.example\"]", &[]),
        ("env = { \"A B\" = \"c\", TOKEN = \"ghp_16C7e42F292c6912E7710c838347Ae178B4a\" }", &[]),
        ("expose = [0, \"x/udp\"]\nhealthcheck = { run = \"a\", interval = \"5\" }", &[]),
        ("user = \"a b; c\"\nbase = \"a b\"", &[]),
        ("files = [\"../a\"]", &[]),
        ("files = [\"missing\"]", &[]),
        ("pip = \"requirement.txt\"", &[("requirements.txt", "")]),
        ("apt = \"packages.txt\"", &[("packages.txt", "curl\n  ;rm\n")]),
        ("base = \"{{x}}:{{variant}}:a b\"", &[]),
        ("pre_build_commands = [\"\"]\nworkdir = \"/a\\tb\"", &[]),
        ("pip = [\"a{{nothing}}\"]", &[]),
    ] {
        let matrix = format!("[image]\nrepository = \"acme/app\"\n{image}\n[axes]\nx = [\"y\"]\n");
        faults.push(rendered(&matrix, files).expect_err(image));
    }
    insta::assert_snapshot!(faults.join("\n\n"));
}
