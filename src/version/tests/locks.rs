//! Tests of the edits of lock files.

use super::*;

#[test]
fn lock_files_follow_their_packages() {
    let lock = "version = 4\n\n[[package]]\nname = \"other\"\nversion = \"0.13.0\"\nsource = \"registry+x\"\ndependencies = [\n \"truss 0.13.0\",\n \"truss 0.13.0 (registry+x)\",\n]\n\n\
        [[package]]\nname = \"truss\"\nversion = \"0.13.0\"\n\n[[package]]\nname = \"truss\"\nversion = \"0.13.0\"\nsource = \"registry+x\"\n";
    let uv = "[[package]]\nname = \"truss-base\"\nversion = \"0.13.0\"\nsource = { editable = \"python\" }\n\n\
        [[package]]\nname = \"truss-base\"\nversion = \"0.13.0\"\nsource = { registry = \"x\" }\n";
    let npm = "{\n  \"name\": \"truss\",\n  \"version\": \"0.13.0\",\n  \"packages\": {\n    \"\": {\n      \"version\": \"0.13.0\"\n    },\n    \"node_modules/x\": {\n      \"version\": \"0.13.0\"\n    }\n  }\n}\n";
    let files = [
        ("rust/Cargo.toml", "[package]\nname = \"truss\"\nversion = \"0.13.0\"\n"),
        ("Cargo.lock", lock),
        ("python/pyproject.toml", "[project]\nname = \"Truss_Base\"\nversion = \"0.13.0\"\n"),
        ("uv.lock", uv),
        ("package.json", "{ \"version\": \"0.13.0\" }\n"),
        ("package-lock.json", npm),
    ];
    let table = "file = 'rust/Cargo.toml'\nkey = 'package.version'\n\
        [[also]]\nfile = 'python/pyproject.toml'\nkey = 'project.version'\n\
        [[also]]\nfile = 'package.json'\nkey = 'version'\n";
    let repository = Repository::new(&files, table);
    insta::assert_snapshot!(repository.outcome("0.14.0-rc.1"));
    fs_err::write(repository.folder.path().join("uv.lock"), "[[package]\n").expect("written");
    insta::assert_snapshot!(repository.outcome("0.14.0-rc.1"));
}

#[test]
fn members_of_a_workspace_get_its_version() {
    let member = |name: &str, version: &str| format!("[package]\nname = \"{name}\"\n{version}\n");
    let row = |name: &str| format!("[[package]]\nname = \"{name}\"\nversion = \"0.13.0\"\n");
    let lock = ["root", "one", "two", "own", "near", "far", "named", "beside", "tool", "nested"]
        .map(row)
        .join("\n");
    let root = format!(
        "{}[workspace]\nmembers = [\"crates/*\"]\n[workspace.package]\nversion = \"0.13.0\"\n",
        member("root", "version = { workspace = true }")
    );
    let root = root.replace("\"]", "\", \"../named\"]\nexclude = [\"tools\"]");
    let depends = "[target.'cfg(unix)'.dev-dependencies]\nnear = { path = '../../near' }\n\
        tool = { path = '../../tools/tool' }\nnested = { path = '../../nested' }\nbeside = { path = '../../../beside' }";
    let files = [
        ("rust/Cargo.toml", root.as_str()),
        (
            "rust/crates/one/Cargo.toml",
            &member("one", &format!("version.workspace = true\n{depends}")),
        ),
        (
            "rust/near/Cargo.toml",
            &member("near", "version.workspace = true\n[dependencies.far]\npath = '../far'"),
        ),
        ("rust/far/Cargo.toml", &member("far", "version.workspace = true")),
        ("beside/Cargo.toml", &member("beside", "version.workspace = true")),
        ("named/Cargo.toml", &member("named", "version.workspace = true")),
        ("rust/tools/tool/Cargo.toml", &member("tool", "version.workspace = true")),
        ("rust/nested/Cargo.toml", &member("nested", "version.workspace = true\n[workspace]")),
        ("rust/crates/two/Cargo.toml", &member("two", "version.workspace = true")),
        ("rust/crates/own/Cargo.toml", &member("own", "version = \"0.13.0\"")),
        ("rust/Cargo.lock", &lock),
    ];
    let repository =
        Repository::new(&files, "file = 'rust/Cargo.toml'\nkey = 'workspace.package.version'\n");
    insta::assert_snapshot!(repository.outcome("0.14.0"));
}

#[test]
fn cargo_accepts_the_lock_file_after_a_bump() {
    let package = |name: &str, rest: &str| {
        let head = format!("[package]\nname = \"{name}\"\nversion.workspace = true\n");
        (format!("crates/{name}/Cargo.toml"), format!("{head}edition = \"2021\"\n{rest}"))
    };
    let library = |name: &str| (format!("crates/{name}/src/lib.rs"), String::new());
    let files = [
        (
            "Cargo.toml".to_owned(),
            "[workspace]\nresolver = \"2\"\nmembers = [\"crates/*\"]\n\
             [workspace.package]\nversion = \"1.2.3\"\n\
             [workspace.dependencies.one]\npath = \"crates/one\"\nversion = \"1.2.3\"\n"
                .to_owned(),
        ),
        package("one", ""),
        package("two", "[dependencies]\none.workspace = true\n"),
        library("one"),
        library("two"),
    ];
    let files: Vec<(&str, &str)> =
        files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let table = "file = 'Cargo.toml'\nkey = 'workspace.package.version'\n\
        [[also]]\nfile = 'Cargo.toml'\nkey = 'workspace.dependencies.one.version'\n";
    let repository = Repository::new(&files, table);
    let folder = repository.folder.path();
    let metadata = ["metadata", "--format-version", "1", "--locked"];
    cargo(folder, &["generate-lockfile"]).expect("a lock file");
    cargo(folder, &metadata).expect("a current lock file");
    for to in ["1.2.4", "2.0.0-rc.1", "2.0.0"] {
        let edits = repository.edits(to).expect("edits");
        write(&repository.checkout(), &edits).expect("written");
        cargo(folder, &metadata).unwrap_or_else(|message| panic!("{to}: {message}"));
    }
}

fn cargo(folder: &Path, arguments: &[&str]) -> Result<(), String> {
    let mut command = std::process::Command::new(env!("CARGO"));
    command.args(arguments).arg("--offline").current_dir(folder);
    command.env("CARGO_HOME", folder.join("cargo-home"));
    let output = command.output().expect("cargo runs");
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(message) }
}
