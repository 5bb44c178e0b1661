//! Files that `basegen init` refuses, and keys that it leaves out.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use insta_cmd::assert_cmd_snapshot;

use super::{files_below, folder, images_of, read, run};
use crate::harness::project::{stdout, write};

/// Returns the texts of all files below a folder.
fn texts_below(folder: &Path, path: &str) -> String {
    files_below(folder, path).iter().map(|file| read(folder, file)).collect()
}

#[test]
fn unsafe_values_are_left_out() {
    let folder = folder();
    write(
        folder.path(),
        "app/config.yaml",
        "python_version: 'py3$(id)'\n\
         requirements:\n  - \"a\\nRUN id\"\n  - -e .\n  - --index-url https://me:secret@example.org\n  - ok>=1;python_version<'4'\n\
         system_packages: ['curl; id', '$(id)', '-o', 'a b', 'ok=1:2~3']\n\
         environment_variables:\n  \"A B\": 1\n  \"X=1\\nRUN\": 1\n  Q: \"a\\nRUN id\"\n  RTL: \"\\u202e\"\n  OK: '`id` $(id) \"q\" {{x}} \\'\n\
         base_image: {image: \"a\\nRUN id\", python_executable_path: '/bin/python; id'}\n\
         docker_server: {server_port: 99999, run_as_user_id: 0, start_command: \"\\u202e\"}\n\
         build_commands: ['{{x}} $(ok) \\', '[\"a\"]', \"\\u202e\", {a: 1}]\n\
         requirements_file: ../../etc/passwd\n\
         secrets: {token: hunter2}\n\
         unheard_of: {a: [1], b: 2}\n",
    );
    assert_cmd_snapshot!(run(folder.path(), "init new --from app/config.yaml"));
    let rendered = stdout(run(folder.path(), "render -f new/matrix.toml --python 3.11"));
    insta::assert_snapshot!(rendered);
    let written = texts_below(folder.path(), "new");
    assert!(!written.contains("hunter2") && !written.contains("secret@"), "{written}");
}

#[test]
fn credentials_are_left_out() {
    let folder = folder();
    write(
        folder.path(),
        "app/config.yaml",
        "python_version: py311\n\
         environment_variables:\n  HF_TOKEN: sekret-1\n  DB: postgres://me:sekret-2@h/x\n  EMPTY_TOKEN: ''\n  HF_HUB_ENABLE_HF_TRANSFER: '1'\n\
         build_commands:\n  - pip install git+https://me:sekret-3@example.org/x\n  - curl 'https://example.org/x?X-Amz-Signature=sekret-4' -o x\n  - git clone https://example.org/x\n\
         docker_server: {start_command: 'serve --auth https://sekret-5@example.org'}\n",
    );
    write(
        folder.path(),
        "other/cerebrium.toml",
        "[cerebrium.deployment]\nname = \"other\"\nshell_commands = [\"curl https://sekret-6@example.org\", \"true\"]\n\
         [cerebrium.runtime.custom]\nentrypoint = [\"serve\", \"https://sekret-7@example.org\"]\n",
    );
    let arguments = "init new --from app/config.yaml --from other/cerebrium.toml";
    assert_cmd_snapshot!(run(folder.path(), arguments));
    let written = texts_below(folder.path(), "new");
    assert!(!written.contains("sekret"), "{written}");
    assert!(written.contains("git clone") && written.contains("EMPTY_TOKEN"), "{written}");
}

#[test]
fn unreadable_files_are_named() {
    let folder = folder();
    let named = |name: &str| folder.path().join(name);
    fs_err::create_dir(named("folder")).expect("a folder");
    fs_err::write(named("bytes"), b"FROM a\n\xff\n").expect("a file");
    fs_err::write(named("wide.yaml"), b"\xff\xfea\0").expect("a file");
    std::os::unix::fs::symlink("loop", named("loop")).expect("a link");
    for name in ["none", "folder", "bytes", "wide.yaml", "loop", "file1.py/Dockerfile"] {
        let mut command = run(folder.path(), &format!("init new --from {name}"));
        let output = command.output().expect("basegen runs");
        let printed = String::from_utf8_lossy(&output.stderr);
        let first = printed.lines().next().unwrap_or_default();
        assert!(first.starts_with(&format!("error: failed to read `{name}`")), "{printed}");
        assert_eq!(output.status.code(), Some(1), "{printed}");
    }
    // A file that a Dockerfile copies.
    let dockerfile = "FROM python:3.11\nCOPY data /data\n";
    write(folder.path(), "a/Dockerfile", dockerfile);
    let name = std::ffi::OsStr::from_bytes(b"x\xff");
    fs_err::create_dir(named("a/data")).expect("a folder");
    fs_err::write(named("a/data").join(name), "").expect("a file");
    assert_cmd_snapshot!(run(folder.path(), "init new --from a/Dockerfile"));
    assert!(!named("new").exists());
}

#[test]
fn named_contexts_and_urls_of_images_are_refused() {
    let folder = folder();
    let dockerfile = "FROM python:3.11\nRUN true\nCOPY --from=library /x /x\n";
    write(folder.path(), "app/Dockerfile", dockerfile);
    assert_cmd_snapshot!(run(folder.path(), "init new --from app/Dockerfile"));
    write(folder.path(), "app/Dockerfile", "FROM https://ghcr.io/acme/python:3.11\n");
    assert_cmd_snapshot!(run(folder.path(), "init new --from app/Dockerfile"));
    assert!(!folder.path().join("new").exists());
    let url = "https://ghcr.io/acme/base:1";
    let truss = format!("base_image:\n  image: {url}\n");
    write(folder.path(), "t/config.yaml", &truss);
    let printed = stdout(run(folder.path(), "init new --dry-run --from t/config.yaml"));
    assert!(printed.contains(&format!("`{url}` has `https://` before the name")), "{printed}");
}

/// Imports files: each has a name for its folder and its snapshot, the name of the file, and a text. Each is refused with an
/// error, and nothing is written.
fn assert_refused(folder: &Path, cases: &[(&str, &str, &str)]) {
    for (name, file, text) in cases {
        write(folder, &format!("{name}/{file}"), text);
        let arguments = format!("init new --from {name}/{file}");
        assert_cmd_snapshot!(*name, run(folder, &arguments));
        assert!(!folder.join("new").exists());
    }
}

#[test]
fn configurations_that_cannot_be_read_are_refused() {
    let cases = [
        ("unclosed_list", "config.yaml", "a: [\n"),
        ("no_table", "config.yaml", "- a\n"),
        ("missing_packages", "config.yaml", "requirements_file: missing.txt\n"),
        ("no_table_of_cerebrium", "cerebrium.toml", "[tool]\n"),
        (
            "repeated_key",
            "cerebrium.toml",
            "[cerebrium.runtime.custom]\nhealthcheck_endpoint = \"/a\"\nhealthcheck_endpoint = \"/b\"\n",
        ),
    ];
    assert_refused(folder().path(), &cases);
}

#[test]
fn dockerfiles_that_cannot_be_read_are_refused() {
    let folder = folder();
    let link = folder.path().join("link_out_of_the_context/link");
    fs_err::create_dir(link.parent().expect("a parent")).expect("a folder");
    std::os::unix::fs::symlink("/etc/passwd", link).expect("a link");
    let cases = [
        ("unknown_instruction", "Dockerfile", "FROM a\nRUNN b\n"),
        ("variable_as_a_path", "Dockerfile", "FROM a\nADD $X /\n"),
        ("missing_file", "Dockerfile", "FROM a\nCOPY missing *.none /\n"),
        ("wildcard_without_a_match", "Dockerfile", "FROM a\nCOPY *.none /\n"),
        ("link_out_of_the_context", "Dockerfile", "FROM a\nCOPY link /\n"),
    ];
    assert_refused(folder.path(), &cases);
}

/// An app is not run, so its Dockerfile must be in its file.
#[test]
fn fal_apps_without_a_readable_image_are_refused() {
    let cases = [
        (
            "computed_dockerfile",
            "app.py",
            "image = ContainerImage.from_dockerfile_str(os.environ['DOCKERFILE'])\n",
        ),
        (
            "computed_url_in_a_dockerfile",
            "app.py",
            "url = File.from_path('a').url\ntext = f'''\nFROM a\nADD {url} /\n'''\n\
             image = ContainerImage.from_dockerfile_str(text)\n",
        ),
        (
            "dockerfile_of_another_file",
            "app.py",
            "from images import text\n\nimage = ContainerImage.from_dockerfile_str(text)\n",
        ),
        (
            "unknown_instruction_in_an_app",
            "app.py",
            "image = ContainerImage.from_dockerfile_str('''\nFROM a\nRUNN b\n''')\n",
        ),
        (
            "missing_context",
            "app.py",
            "image = ContainerImage.from_dockerfile_str(\n    'FROM a',\n    context_dir='none',\n)\n",
        ),
        (
            "two_images_of_one_name",
            "app.py",
            "class App(fal.App):\n    image = ContainerImage.from_dockerfile_str('FROM a')\n\n\
             class Other(fal.App):\n    name = 'app'\n    image = ContainerImage.from_dockerfile_str('FROM b')\n",
        ),
        ("no_image", "app.py", "image = 'no image'\n"),
        ("unclosed_string", "app.py", "image = '''no end\n"),
    ];
    assert_refused(folder().path(), &cases);
}

#[test]
fn two_files_of_one_name_are_refused() {
    let folder = folder();
    write(folder.path(), "x/one/config.yaml", "python_version: py311\n");
    write(folder.path(), "y/one/config.yaml", "python_version: py311\n");
    let arguments = "init new --from x/one/config.yaml --from y/one/config.yaml";
    assert_cmd_snapshot!(run(folder.path(), arguments));
    assert!(!folder.path().join("new").exists());
}

#[test]
fn missing_files_and_folders_are_refused() {
    let folder = folder();
    assert_cmd_snapshot!(run(folder.path(), "init new --from none.yaml"));
    assert_cmd_snapshot!(run(folder.path(), "init new --from src/Dockerfile --context none"));
    assert!(!folder.path().join("new").exists());
}

#[test]
fn strict_imports_leave_nothing_out() {
    let folder = folder();
    let truss = "python_versoin: py311\nrequirments: [six]\nresources: {cpu: 1}\n\
                 docker_server: {start_comand: serve}\nbase_image: {docker_auth: {registri: ghcr.io}}\n";
    write(folder.path(), "a/config.yaml", truss);
    assert_cmd_snapshot!(run(folder.path(), "init new --strict --from a/config.yaml"));
    assert!(!folder.path().join("new").exists());
    write(folder.path(), "b/config.yaml", "python_version: py311\nresources: {cpu: 1}\n");
    stdout(run(folder.path(), "init new --strict --from b/config.yaml"));
}

#[test]
fn duplicate_keys_are_shown_with_both_lines() {
    let folder = folder();
    let truss = "requirements: [a]\npython_version: py311\nrequirements: [b]\n";
    write(folder.path(), "a/config.yaml", truss);
    assert_cmd_snapshot!(run(folder.path(), "init new --from a/config.yaml"));
}

#[test]
fn different_credentials_for_one_registry_are_refused() {
    let folder = folder();
    let mut arguments = "init new".to_owned();
    for (name, secret) in [("a", "one"), ("b", "two")] {
        let login = format!(
            "base_image:\n  image: ghcr.io/acme/base:1\n  \
             docker_auth: {{auth_method: REGISTRY_SECRET, registry: ghcr.io, secret_name: {secret}}}\n"
        );
        write(folder.path(), &format!("{name}/config.yaml"), &login);
        let _ = write!(arguments, " --from {name}/config.yaml");
    }
    assert_cmd_snapshot!(run(folder.path(), &arguments));
    assert!(!folder.path().join("new").exists());
}

#[test]
fn unsupported_logins_are_left_out() {
    let folder = folder();
    let logins = [
        "{auth_method: registry_secret, registry: ghcr.io}",
        "{auth_method: REGISTRY_SECRET, registry: ghcr.io, secret_name: DOCKER_REGISTRY_ghcr.io}",
        "{auth_method: GCP_SERVICE_ACCOUNT_JSON, registry: us-docker.pkg.dev, secret_name: gcp, \
         aws_access_key_id_secret_name: aws_access_key_id, \
         aws_secret_access_key_secret_name: aws_secret_access_key}",
        "{auth_method: AWS_IAM, registry: reg}",
        "{auth_method: aws_iam, registry: 1.dkr.ecr.us-east-1.amazonaws.com, secret_name: null, \
         aws_access_key_id_secret_name: 1/2, aws_secret_access_key_secret_name: AKIAIOSFODNN7EXAMPLE}",
        "{auth_method: GCP_SERVICE_ACCOUNT_JSON, registry: 'https://index.docker.io/v1/'}",
        "{auth_method: AWS_SSO, registry: 1.dkr.ecr.us-east-1.amazonaws.com}",
        "{auth_method: AWS_OIDC, registry: 2.dkr.ecr.us-east-1.amazonaws.com}",
        "{auth_method: AWS_OIDC, registry: 210987654321.dkr.ecr.us-east-1.amazonaws.com, \
         aws_oidc_role_arn: 'arn:aws:iam::210987654321:role/publisher', aws_oidc_region: us-east-1}",
        "{auth_method: GCP_OIDC, registry: gcr.io, \
         gcp_oidc_service_account: publisher@acme.iam.gserviceaccount.com, \
         gcp_oidc_workload_id_provider: projects/1/locations/global/workloadIdentityPools/a/providers/b}",
    ];
    let mut arguments = "init new".to_owned();
    for (number, login) in logins.iter().enumerate() {
        let text = format!("base_image:\n  image: acme/base:1\n  docker_auth: {login}\n");
        write(folder.path(), &format!("m{number}/config.yaml"), &text);
        let _ = write!(arguments, " --from m{number}/config.yaml");
    }
    let printed = stdout(run(folder.path(), &arguments));
    assert!(!printed.contains("AKIA"), "{printed}");
    insta::assert_snapshot!(printed);
    let matrix = read(folder.path(), "new/matrix.toml");
    insta::assert_snapshot!(matrix.split_once("[registries").map_or("", |(_, rest)| rest));
    stdout(run(folder.path(), "plan --offline -f new/matrix.toml"));
}

#[test]
fn values_of_other_types_are_left_out() {
    let folder = folder();
    write(
        folder.path(),
        "app/cerebrium.toml",
        "[cerebrium.deployment]\nname = [\"a\"]\npython_version = [3.11]\ndocker_base_image_url = [\"a\"]\n\
         [cerebrium.hardware]\ncompute = [\"A10\"]\n\
         [cerebrium.dependencies.pip]\ntorch = \"2.0.0\"\nsix = 1.16\nidna = \"~=3.0\"\nflag = true\n\
         x = \"git+https://a.example/x\"\ny = \"@ git+https://a.example/y\"\nnumpy = [\"==1.0\"]\n\
         [cerebrium.dependencies.apt]\nfoo = false\nffmpeg = \"7:5.1\"\n\
         [cerebrium.dependencies.paths]\npip = [\"requirements.txt\"]\n",
    );
    assert_cmd_snapshot!(run(folder.path(), "init new --from app/cerebrium.toml"));
    insta::assert_snapshot!(images_of(&read(folder.path(), "new/matrix.toml")));
    write(
        folder.path(),
        "model/config.yaml",
        "model_name: [a]\npython_version:\nrequirements_file: [a.txt]\n\
         environment_variables: {A: [1], B: {c: d}, C: null, D: ''}\n\
         base_image: {image: [a], python_executable_path: {a: b}}\n\
         docker_server: {start_command: [a, b], server_port: [80], run_as_user_id: null}\n\
         resources: {accelerator: [T4]}\n",
    );
    assert_cmd_snapshot!(run(folder.path(), "init other --from model/config.yaml"));
    insta::assert_snapshot!(images_of(&read(folder.path(), "other/matrix.toml")));
}

#[test]
fn the_option_for_the_matrix_file_is_refused() {
    let folder = folder();
    for arguments in ["init -f x.toml", "-f x.toml init"] {
        assert_cmd_snapshot!(run(folder.path(), arguments));
    }
}
