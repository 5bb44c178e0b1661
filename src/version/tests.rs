//! Reading and editing the places of a version.

use std::path::Path;

use super::*;
use crate::error::Report;

mod next;

/// What is read from `text` in a file called `name` by the keys of `[version]` in `table`.
fn read_from(name: &str, text: &str, table: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    fs_err::write(folder.path().join(name), text).expect("a file");
    let table: VersionTable = toml::from_str(&format!("file = '{name}'\n{table}")).expect("keys");
    match read(&table, &Checkout::within(folder.path(), folder.path())) {
        Ok(version) => version.to_string(),
        Err(error) => {
            Report::from(error).to_string().replace(&format!("{}/", folder.path().display()), "")
        }
    }
}

#[test]
fn a_key_of_toml_or_json() {
    let project = "[project]\nname = 'truss'\nversion = \"0.13.0\"\n";
    assert_eq!(
        read_from("pyproject.toml", project, "key = 'project.version'\nprefix = 'v'"),
        "v0.13.0"
    );
    let package = r#"{"name": "truss", "version": "0.13.0"}"#;
    assert_eq!(read_from("package.json", package, "key = 'version'"), "0.13.0");
}

#[test]
fn an_assignment_in_source_code() {
    let constant = "constant = 'TRUSS_BASE_IMAGE_VERSION_TAG'";
    for (name, line) in [
        ("util.py", "TRUSS_BASE_IMAGE_VERSION_TAG = \"v0.13.0\""),
        ("util.py", "TRUSS_BASE_IMAGE_VERSION_TAG: str = 'v0.13.0'  # keep in step"),
        ("lib.rs", "pub(crate) const TRUSS_BASE_IMAGE_VERSION_TAG: &str = \"v0.13.0\"; // v1"),
        ("index.ts", "export const TRUSS_BASE_IMAGE_VERSION_TAG = 'v0.13.0' as const;"),
        ("release.env", "export TRUSS_BASE_IMAGE_VERSION_TAG=v0.13.0"),
        ("values.yaml", "TRUSS_BASE_IMAGE_VERSION_TAG: v0.13.0"),
        ("Makefile", "TRUSS_BASE_IMAGE_VERSION_TAG := v0.13.0"),
        ("Dockerfile", "ARG TRUSS_BASE_IMAGE_VERSION_TAG=v0.13.0"),
    ] {
        let text = format!("import os\r\n{line}\r\nX = 1\n");
        assert_eq!(read_from(name, &text, constant), "v0.13.0", "{line}");
    }
}

#[test]
fn a_file_of_its_own() {
    assert_eq!(read_from("VERSION", "\nv1.2.3\n\n", ""), "v1.2.3");
}

#[test]
fn what_is_unclear_is_refused() {
    let constant = "constant = 'TAG'";
    let twice = "TAG = 'v1'\nx = 1; TAG = 'v2'\n# TAG = 'v3'\n";
    insta::assert_snapshot!(read_from("util.py", twice, constant), @r#"
    error: `TAG` is assigned 3 times:
      util.py:1:1
      util.py:2:8
      util.py:3:3 (comment or docstring)

    hint: assign one literal text once, or replace `constant` with a `pattern` that matches once, such as `pattern = '^TAG = "(?P<version>[^"]*)"'`
    "#);
    insta::assert_snapshot!(read_from("util.py", "# TAG = 'v1'\n", constant), @r#"
    error: `TAG` is assigned only in a comment or docstring, at util.py:1:3

    hint: assign one literal text once, or replace `constant` with a `pattern` that matches once, such as `pattern = '^TAG = "(?P<version>[^"]*)"'`
    "#);
    insta::assert_snapshot!(read_from("util.py", "TAG = PREFIX + 'v1'\n", constant), @r#"
    error: the value of `TAG` at util.py:1:1 is not a single literal text

    hint: assign one literal text once, or replace `constant` with a `pattern` that matches once, such as `pattern = '^TAG = "(?P<version>[^"]*)"'`
    "#);
    insta::assert_snapshot!(read_from("util.py", "print(TAG)\n", constant), @"error: `util.py` has no assignment to `TAG`");
    insta::assert_snapshot!(read_from("util.py", "TAG = 'latest'\n", constant), @r"
    error: invalid version at `util.py:1`
      caused by: `latest` is not a version: expected one such as `v0.13.0` or `1.4.0rc1`
    ");
    insta::assert_snapshot!(read_from("a.toml", "version = 1\n", "key = 'version'"), @"error: `a.toml` has no text at the key `version`");
    insta::assert_snapshot!(read_from("a.toml", "version = '1'\n", ""), @"error: cannot find the version in `a.toml`: a TOML or JSON file requires `key` or `pattern`");
    insta::assert_snapshot!(read_from("VERSION", "1\n2\n", ""), @"error: cannot find the version in `VERSION`: it has several lines; set `constant` or `pattern`");
}

#[test]
fn a_second_assignment_is_found_wherever_it_is() {
    for (name, first, second) in [
        ("a.yaml", "TAG: v1", "a: {TAG: v1}"),
        ("a.yaml", "TAG: v1", "- TAG: v1"),
        ("a.yaml", "TAG: v1", "\"TAG\": v1"),
        ("a.py", "TAG = 'v1'", "x = 1; TAG = 'v1'"),
        ("a.py", "TAG = 'v1'", "A, TAG = 'v1', 'v1'"),
        ("a.py", "TAG = 'v1'", "if (TAG := 'v1'): pass"),
        ("a.ts", "const TAG = 'v1'", "export const A = 1, TAG = 'v1'"),
        ("a.sh", "TAG=v1", "[ x ] && TAG=v1"),
    ] {
        let told = read_from(name, &format!("{first}\n{second}\n"), "constant = 'TAG'");
        assert!(told.starts_with("error: `TAG` is assigned 2 times:\n"), "{second}: {told}");
    }
}

#[test]
fn a_version_that_lives_elsewhere_is_hinted_at() {
    let key = "key = 'project.version'";
    let dynamic = "[project]\ndynamic = ['version']\n";
    let told = [
        read_from("pyproject.toml", dynamic, key),
        read_from(
            "pyproject.toml",
            &format!("{dynamic}[tool.hatch.version]\npath = 'a.py'\n"),
            key,
        ),
        read_from(
            "pyproject.toml",
            &format!("{dynamic}[tool.setuptools.dynamic]\nversion = {{ attr = 'acme.VERSION' }}\n"),
            key,
        ),
    ];
    insta::assert_snapshot!(told.join("\n\n"), @r"
    error: `pyproject.toml` has no key `project.version`

    hint: `project.dynamic` lists `version`: set `file` to the file that the build backend reads, and `constant` or `pattern`

    error: `pyproject.toml` has no key `project.version`

    hint: `project.dynamic` lists `version`: set `file` to `a.py`, and `constant` or `pattern`

    error: `pyproject.toml` has no key `project.version`

    hint: `project.dynamic` lists `version`: set `file` to the module of `acme.VERSION`, and `constant` or `pattern`
    ");
    let package = "[package]\nname = 'a'\nversion.workspace = true\n";
    let root = "[workspace]\nmembers = ['a']\n[workspace.package]\nversion = '1.0.0'\n";
    let files = [("Cargo.toml", root), ("a/Cargo.toml", package)];
    let repository = Repository::new(&files, "file = 'a/Cargo.toml'\nkey = 'package.version'");
    insta::assert_snapshot!(repository.told("1.1.0"), @r"
    error: `a/Cargo.toml` has no text at the key `package.version`

    hint: the package inherits its version: set `file` to `Cargo.toml` and `key` to `workspace.package.version`
    ");
}

#[test]
fn both_kinds_of_version_are_versions() {
    for text in
        ["v0.2.2", "0.13.0", "1.4.0rc1", "1.0.0-rc.1", "2026.11", "v1.2.dev3", "release-1.2"]
    {
        assert!(text.parse::<Version>().is_ok(), "{text}");
    }
    for text in ["", "latest", "v", "1.0.0+cu128", "1.0 .0", "v1.0\n", "{{version}}"] {
        assert!(text.parse::<Version>().is_err(), "{text}");
    }
}

#[test]
fn what_no_tag_can_hold_is_a_version_all_the_same() {
    for (text, sign) in [("1!1.2.3", "`!`"), ("v1!2.0", "`!`"), ("1.2.3+cu128", "`+`")] {
        let error = text.parse::<Version>().expect_err(text).to_string();
        assert!(error.contains("cannot be part of a tag") && error.contains(sign), "{error}");
    }
}

#[test]
fn a_custom_version_is_any_tag() {
    assert!(Version::custom("my-test").is_ok());
    assert!(Version::custom("my test").is_err());
}

/// A folder with files, and the keys of `[version]`.
struct Repository {
    folder: tempfile::TempDir,
    table: VersionTable,
}

impl Repository {
    fn new(files: &[(&str, &str)], table: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = folder.path().join(path);
            fs_err::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs_err::write(path, text).expect("a file");
        }
        Self { folder, table: toml::from_str(table).expect("keys") }
    }

    fn checkout(&self) -> Checkout {
        Checkout::within(self.folder.path(), self.folder.path())
    }

    fn edits(&self, to: &str) -> Result<Vec<FileEdit>, VersionError> {
        edits(&self.table, &self.checkout(), &to.parse().expect("a version"))
    }

    /// The diff of the edits, or why there are none.
    fn told(&self, to: &str) -> String {
        let folder = format!("{}/", self.folder.path().display());
        match self.edits(to) {
            Ok(edits) if edits.is_empty() => "nothing to do".to_owned(),
            Ok(edits) => diff(&edits),
            Err(error) => Report::from(error).to_string().replace(&folder, ""),
        }
    }
}

const TRUSS: &str = "file = 'pyproject.toml'\nkey = 'project.version'\nprefix = 'v'\n\
    [[also]]\nfile = 'truss/util.py'\nconstant = 'TAG'\n\
    [[also]]\nfile = 'Cargo.toml'\nkey = 'package.version'\n\
    [[also]]\nfile = 'package.json'\nkey = 'version'\n\
    [[also]]\nfile = 'chart/values.yaml'\npattern = 'image: .*:(?P<version>\\S+)'\n\
    [[also]]\nfile = 'VERSION'\n";

fn truss() -> Repository {
    let files = [
        (
            "pyproject.toml",
            "[project]\r\nname = \"truss\"\r\nversion = '0.13.0' # keep\r\n\r\n[tool.x]\r\nversion = '0.13.0'",
        ),
        (
            "truss/util.py",
            "\"\"\"Docs.\n\nTAG is v0.1.0.\n\"\"\"\n# v0.2.0\nclass Tags:\n    TAG: str = \"v0.13.0\"  # in step\n",
        ),
        (
            "Cargo.toml",
            "[package]\nname    = \"truss\"\nversion = \"0.13.0\"   # rust\nedition = \"2024\"\n",
        ),
        (
            "package.json",
            "\u{feff}{\n    \"version\" :\"0.13.0\", \"engines\": { \"version\": \"0.13.0\" }\n}",
        ),
        (
            "chart/values.yaml",
            "# base: acme/base:v0.12.0\nimage: acme/base:v0.13.0\nother: v0.13.0\n",
        ),
        ("VERSION", "  0.13.0\n\n"),
    ];
    Repository::new(&files, TRUSS)
}

#[test]
fn every_place_is_edited_and_nothing_else() {
    insta::assert_snapshot!(truss().told("v0.14.0"));
}

#[test]
fn each_place_keeps_its_way_of_writing() {
    let repository = truss();
    let written = repository.edits("v0.14.0-rc.1").expect("edits");
    write(&repository.checkout(), &written).expect("written");
    let said = agreed(&repository.table, &repository.checkout()).expect("all the same");
    let said: Vec<String> =
        said.iter().map(|said| format!("{} {}", said.place(), said.text)).collect();
    insta::assert_snapshot!(said.join("\n"));
    // However it is new_version, it is there already.
    assert_eq!(repository.told("0.14.0rc1"), "nothing to do");
    let back = repository.edits("0.13.0").expect("edits");
    write(&repository.checkout(), &back).expect("written");
    assert_eq!(repository.told("0.13.0"), "nothing to do");
    let again = truss();
    for edit in back {
        let first = fs_err::read_to_string(again.folder.path().join(&edit.path)).expect("a file");
        assert_eq!(edit.after, first, "{}", edit.path.display());
    }
}

#[test]
fn one_place_that_is_unclear_stops_all() {
    let with = |path: &str, text: &str| {
        let repository = truss();
        fs_err::write(repository.folder.path().join(path), text).expect("written");
        repository.told("v0.14.0")
    };
    let told = [
        with("truss/util.py", "X = 1\n"),
        with("truss/util.py", "TAG = \"v0.13.0\"\nif x:\n    TAG = 'v0.13.0'\n"),
        with("truss/util.py", "# TAG = 'v0.13.0'\nprint(TAG)\n"),
        with(
            "truss/util.py",
            "'''\nTAG = 'v0.13.0'\n'''\ndef f():\n    \"\"\"Docs.\n\n    TAG = 'v1'\n    \"\"\"\n",
        ),
        with("truss/util.py", "TAG = f'v{X}'\n"),
        with("truss/util.py", "TAG = ('v0.13.0'\n       '.1')\n"),
        with("package.json", "{\"version\": \"0.13.0\",\n\"version\": \"0.13.0\"}"),
        with("package.json", "{\"version\": \"0.\\u00313.0\"}"),
        with("package.json", "{\"version\": 13}"),
        with("pyproject.toml", "[project]\ndynamic = ['version']\n"),
        with("pyproject.toml", "[project]\nversion = '1'\nversion = '2'\n"),
        with("chart/values.yaml", "image: a:v1\nimage: b:v1\n"),
        with("chart/values.yaml", "image: none\n"),
        with("VERSION", ""),
        with("Cargo.toml", "[package]\nversion = \"0.13.0+cu12\"\n"),
        with("Cargo.toml", "[package]\nversion.workspace = true\n"),
    ];
    insta::assert_snapshot!(told.join("\n\n"));
}

#[test]
fn a_place_that_cannot_say_it_stops_all() {
    insta::assert_snapshot!(truss().told("v0.14.0.post1"));
    insta::assert_snapshot!(truss().told("0.14.0-nightly.2"));
}

#[test]
fn places_that_disagree_are_named() {
    let repository = truss();
    let write = |path: &str, text: &str| {
        fs_err::write(repository.folder.path().join(path), text).expect("written");
    };
    write("VERSION", "0.12.0");
    let disagree = || {
        let error = agreed(&repository.table, &repository.checkout()).expect_err("they disagree");
        Report::from(error).to_string()
    };
    insta::assert_snapshot!(disagree());
    // All get the new one, whatever they say.
    assert_eq!(repository.edits("0.14.0").expect("edits").len(), 6);
}

#[test]
fn a_prefix_that_is_told_must_be_that_of_the_tags() {
    let says = |file: &str, text: &str, prefix: &str| {
        let key = if file == "Cargo.toml" { "key = 'version'" } else { "" };
        let table = format!("file = 'A'\n[[also]]\nfile = '{file}'\n{key}\n{prefix}");
        let repository = Repository::new(&[("A", "v1.2.3rc1"), (file, text)], &table);
        agreed(&repository.table, &repository.checkout()).is_ok()
    };
    assert!(says("B", "1.2.3-rc.1", ""));
    assert!(says("B", "1.2.3rc1", "prefix = 'v'"));
    assert!(!says("B", "1.2.3rc1", "prefix = 'w'"));
    // Letter for letter, unless the file has a grammar of its own.
    assert!(!says("B", "1.2.3-rc.1", "prefix = 'v'"));
    assert!(says("Cargo.toml", "version = '1.2.3-rc.1'", "prefix = 'v'"));
    assert!(!says("Cargo.toml", "version = '1.2.3-rc.1'", "prefix = 'w'"));
    assert!(says("B", "v1.2.3rc1", "prefix = ''"));
    assert!(!says("B", "v1.2.3-rc.1", "prefix = ''"));
}

#[test]
fn a_whole_tag_is_written_as_tags_have_it() {
    let files = [
        ("pyproject.toml", "[project]\nversion = '1.2.3'\n"),
        ("tag.rs", "pub const TAG: &str = \"v1.2.3-rc.1\";\n"),
    ];
    let table = "file = 'pyproject.toml'\nkey = 'project.version'\nprefix = 'v'\n\
        [[also]]\nfile = 'tag.rs'\nconstant = 'TAG'\nprefix = ";
    let told =
        |prefix: &str| Repository::new(&files, &format!("{table}'{prefix}'")).told("1.3.0rc2");
    insta::assert_snapshot!(told(""));
    insta::assert_snapshot!(told("w"));
}

#[test]
fn only_what_package_managers_read_has_their_grammar() {
    let files = [
        ("VERSION", "v1.2.3-rc.1"),
        ("pyproject.toml", "[project]\nversion = '1.2.3rc1'\n[tool.acme]\ntag = 'v1.2.3-rc.1'\n"),
    ];
    let table = "file = 'VERSION'\n[[also]]\nfile = 'pyproject.toml'\nkey = 'project.version'\n\
        [[also]]\nfile = 'pyproject.toml'\nkey = 'tool.acme.tag'\nprefix = ''\n";
    insta::assert_snapshot!(Repository::new(&files, table).told("1.2.3-rc.2"));
}

#[test]
fn one_file_may_have_several_places() {
    let files =
        [("pyproject.toml", "[project]\nversion = '1.0'\n[tool.poetry]\nversion = '1.0'\n")];
    let table = "file = 'pyproject.toml'\nkey = 'project.version'\n\
        [[also]]\nfile = './pyproject.toml'\nkey = 'tool.poetry.version'\n\
        [[also]]\nfile = 'pyproject.toml'\npattern = 'poetry\\]\\nversion = .(?<version>[^\"\\x27]*)'\n";
    insta::assert_snapshot!(Repository::new(&files, table).told("1.1"));
    let overlapping = "file = 'A'\n[[also]]\nfile = 'A'\npattern = 'v?(?<version>[0-9.]+)'\n";
    insta::assert_snapshot!(Repository::new(&[("A", "v1.0")], overlapping).told("1.1"));
}

#[test]
fn one_file_may_have_several_names() {
    let files = [("a.py", "A = '1.0.0'\nB = '1.0.0'\nC = '1.0.0'\n"), ("d/x", "")];
    let table = "file = './a.py'\nconstant = 'A'\n\
        [[also]]\nfile = 'd/../a.py'\nconstant = 'B'\n\
        [[also]]\nfile = 'b.py'\nconstant = 'C'\n";
    let repository = Repository::new(&files, table);
    std::os::unix::fs::symlink("a.py", repository.folder.path().join("b.py")).expect("a link");
    let edits = repository.edits("1.1.0").expect("edits");
    assert_eq!(edits.len(), 1);
    assert_eq!(edits[0].path, Path::new("a.py"));
    assert_eq!(edits[0].after, "A = '1.1.0'\nB = '1.1.0'\nC = '1.1.0'\n");
    let row = |name: &str| format!("[[package]]\nname = \"{name}\"\nversion = \"1.0.0\"\n");
    let manifest = |name: &str| format!("[package]\nname = \"{name}\"\nversion = \"1.0.0\"\n");
    let files = [
        ("Cargo.toml", manifest("one")),
        ("b/Cargo.toml", manifest("two")),
        ("Cargo.lock", row("one") + &row("two")),
    ];
    let files: Vec<(&str, &str)> =
        files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let table = "file = './Cargo.toml'\nkey = 'package.version'\n\
        [[also]]\nfile = 'b/Cargo.toml'\nkey = 'package.version'\n";
    let edits = Repository::new(&files, table).edits("1.1.0").expect("edits");
    assert_eq!(edits.len(), 3);
    assert!(edits.iter().all(|edit| !edit.after.contains("1.0.0")), "{edits:?}");
}

#[test]
fn folders_are_no_patterns() {
    let manifest = "[workspace]\nmembers = ['x*']\n[workspace.package]\nversion = '1.0.0'\n";
    let files = [
        ("w[1]/Cargo.toml", manifest),
        ("w[1]/x1/Cargo.toml", "[package]\nname = 'x1'\nversion.workspace = true\n"),
        ("w[1]/Cargo.lock", "[[package]]\nname = \"x1\"\nversion = \"1.0.0\"\n"),
    ];
    let table = "file = 'w[1]/Cargo.toml'\nkey = 'workspace.package.version'\n";
    assert_eq!(Repository::new(&files, table).edits("1.1.0").expect("edits").len(), 2);
}

#[test]
fn diffs_have_short_names_and_new_files() {
    let edit = |path: &str, before: &str| FileEdit {
        path: path.into(),
        before: before.to_owned(),
        after: "new\n".to_owned(),
    };
    let told = diff(&[edit("./a/../b", "old\n"), edit("c", "")]);
    assert_eq!(
        told,
        "--- a/b\n+++ b/b\n@@ -1 +1 @@\n-old\n+new\n--- /dev/null\n+++ b/c\n@@ -0,0 +1 @@\n+new\n"
    );
}

#[test]
fn errors_know_their_line() {
    let line = |name: &str, text: &str, key: &str| {
        let repository = Repository::new(&[(name, text)], &format!("file = '{name}'\n{key}"));
        read(&repository.table, &repository.checkout()).expect_err("a mistake").line()
    };
    assert_eq!(line("a.py", "X = 1\n# TAG = 'v1'\n", "constant = 'TAG'"), 2);
    assert_eq!(line("a.toml", "a = 1\nb = ]\n", "key = 'a'"), 2);
    assert_eq!(line("a.json", "{\n\"a\": 1,\n]", "key = 'a'"), 3);
}

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
    insta::assert_snapshot!(repository.told("0.14.0-rc.1"));
    fs_err::write(repository.folder.path().join("uv.lock"), "[[package]\n").expect("written");
    insta::assert_snapshot!(repository.told("0.14.0-rc.1"));
}

#[test]
fn a_workspace_takes_its_members_along() {
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
    insta::assert_snapshot!(repository.told("0.14.0"));
}

/// Three packages of a workspace, each with a library; they require each other by path and version.
fn workspace(root: &str, version: &str) -> Vec<(String, String)> {
    let package = |name: &str, rest: &str| {
        let text = format!("[package]\nname = \"{name}\"\n{version}\nedition = \"2021\"\n{rest}");
        (format!("crates/{name}/Cargo.toml"), text)
    };
    let library = |name: &str| (format!("crates/{name}/src/lib.rs"), String::new());
    vec![
        (
            "Cargo.toml".to_owned(),
            format!(
                "{root}[workspace.dependencies]\none = {{ path = \"crates/one\", version = \"1.2.3\" }}\n"
            ),
        ),
        package("one", ""),
        package("two", "[dependencies]\none.workspace = true\n"),
        package(
            "three",
            "[dependencies]\none = { version = \"=1.2.3\", path = \"../one\" } # exact\n[target.'cfg(unix)'.dev-dependencies.one]\npath = \"../one\"\nversion = '^1.2.3'\n",
        ),
        library("one"),
        library("two"),
        library("three"),
    ]
}

fn cargo(folder: &Path, arguments: &[&str]) -> Result<(), String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = std::process::Command::new(cargo);
    command.args(arguments).arg("--offline").current_dir(folder);
    command.env("CARGO_HOME", folder.join("cargo-home"));
    let output = command.output().expect("cargo runs");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(told) }
}

#[test]
fn a_workspace_passes_locked_after_its_version_was_raised() {
    let root = "[workspace]\nresolver = \"2\"\nmembers = [\"crates/*\"]\n";
    let shared = format!("{root}[workspace.package]\nversion = \"1.2.3\"\n");
    for (root, version, table) in [
        (
            shared.as_str(),
            "version.workspace = true",
            "file = 'Cargo.toml'\nkey = 'workspace.package.version'\n",
        ),
        (root, "version = \"1.2.3\"", "file = 'crates/one/Cargo.toml'\nkey = 'package.version'\n"),
    ] {
        let files = workspace(root, version);
        let files: Vec<(&str, &str)> =
            files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let repository = Repository::new(&files, table);
        let folder = repository.folder.path();
        let metadata = ["metadata", "--format-version", "1", "--locked"];
        cargo(folder, &["generate-lockfile"]).expect("a lock file");
        cargo(folder, &metadata).expect("it is in step");
        for to in ["1.2.4", "2.0.0-rc.1", "2.0.0"] {
            let edits = repository.edits(to).expect("edits");
            write(&repository.checkout(), &edits).expect("written");
            let all: String = edits.iter().map(|edit| edit.after.as_str()).collect();
            assert!(
                all.contains(&format!("version = \"={to}\", path = \"../one\" }} # exact")),
                "{all}"
            );
            cargo(folder, &metadata).unwrap_or_else(|told| panic!("{to}: {told}"));
        }
    }
}

#[test]
fn a_requirement_that_does_not_allow_the_version_is_refused() {
    let files = [
        (
            "Cargo.toml",
            "[package]\nname = 'one'\nversion = '1.2.3'\n[workspace]\nmembers = ['two']\n",
        ),
        (
            "two/Cargo.toml",
            "[package]\nname = 'two'\n\n[dependencies]\none = { path = '..', version = '1.2' }\n",
        ),
    ];
    let repository = Repository::new(&files, "file = 'Cargo.toml'\nkey = 'package.version'\n");
    assert_eq!(repository.edits("1.3.0").expect("edits").len(), 1);
    insta::assert_snapshot!(repository.told("2.0.0"), @r#"
    error: the requirement `1.2` at `two/Cargo.toml:5` does not allow 2.0.0

    hint: require the present version, such as `version = "1.2.3"`; basegen then edits the requirement too
    "#);
}
