//! Reading and editing the places of a version.

use std::path::Path;

use super::*;
use crate::error::Report;

mod locks;
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
fn ambiguous_places_are_refused() {
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
fn a_second_assignment_is_found_anywhere() {
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
        let message = read_from(name, &format!("{first}\n{second}\n"), "constant = 'TAG'");
        assert!(message.starts_with("error: `TAG` is assigned 2 times:\n"), "{second}: {message}");
    }
}

#[test]
fn the_hint_names_the_file_of_a_dynamic_or_inherited_version() {
    let dynamic = read_from(
        "pyproject.toml",
        "[project]\ndynamic = ['version']\n",
        "key = 'project.version'",
    );
    insta::assert_snapshot!(dynamic, @r"
    error: `pyproject.toml` has no key `project.version`

    hint: if `project.dynamic` lists `version`, set `file` to the file that the build backend reads, and `constant` or `pattern`
    ");
    let package = "[package]\nname = 'a'\nversion.workspace = true\n";
    insta::assert_snapshot!(read_from("Cargo.toml", package, "key = 'package.version'"), @r"
    error: `Cargo.toml` has no text at the key `package.version`

    hint: if the package inherits its version, set `file` to the `Cargo.toml` of the workspace, and `key` to `workspace.package.version`
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
fn versions_that_no_tag_can_contain_have_their_own_error() {
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
    fn outcome(&self, to: &str) -> String {
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
    insta::assert_snapshot!(truss().outcome("v0.14.0"));
}

#[test]
fn each_place_keeps_its_notation() {
    let repository = truss();
    let written = repository.edits("v0.14.0-rc.1").expect("edits");
    write(&repository.checkout(), &written).expect("written");
    let occurrences = agreed(&repository.table, &repository.checkout()).expect("all the same");
    let occurrences: Vec<String> =
        occurrences.iter().map(|one| format!("{} {}", one.place(), one.text)).collect();
    insta::assert_snapshot!(occurrences.join("\n"));
    // However it is new_version, it is there already.
    assert_eq!(repository.outcome("0.14.0rc1"), "nothing to do");
    let back = repository.edits("0.13.0").expect("edits");
    write(&repository.checkout(), &back).expect("written");
    assert_eq!(repository.outcome("0.13.0"), "nothing to do");
    let again = truss();
    for edit in back {
        let first = fs_err::read_to_string(again.folder.path().join(&edit.path)).expect("a file");
        assert_eq!(edit.after, first, "{}", edit.path.display());
    }
}

#[test]
fn an_ambiguous_place_stops_all() {
    let with = |path: &str, text: &str| {
        let repository = truss();
        fs_err::write(repository.folder.path().join(path), text).expect("written");
        repository.outcome("v0.14.0")
    };
    let message = [
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
    insta::assert_snapshot!(message.join("\n\n"));
}

#[test]
fn a_place_that_cannot_express_the_version_stops_all() {
    insta::assert_snapshot!(truss().outcome("v0.14.0.post1"));
    insta::assert_snapshot!(truss().outcome("0.14.0-nightly.2"));
}

#[test]
fn places_with_different_versions_are_listed() {
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
fn the_prefix_of_a_place_must_agree_with_the_tags() {
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
fn a_place_with_a_prefix_contains_the_text_of_tags() {
    let files = [
        ("pyproject.toml", "[project]\nversion = '1.2.3'\n"),
        ("tag.rs", "pub const TAG: &str = \"v1.2.3-rc.1\";\n"),
    ];
    let table = "file = 'pyproject.toml'\nkey = 'project.version'\nprefix = 'v'\n\
        [[also]]\nfile = 'tag.rs'\nconstant = 'TAG'\nprefix = ";
    let message =
        |prefix: &str| Repository::new(&files, &format!("{table}'{prefix}'")).outcome("1.3.0rc2");
    insta::assert_snapshot!(message(""));
    insta::assert_snapshot!(message("w"));
}

#[test]
fn only_version_keys_of_manifests_require_a_grammar() {
    let files = [
        ("VERSION", "v1.2.3-rc.1"),
        ("pyproject.toml", "[project]\nversion = '1.2.3rc1'\n[tool.acme]\ntag = 'v1.2.3-rc.1'\n"),
    ];
    let table = "file = 'VERSION'\n[[also]]\nfile = 'pyproject.toml'\nkey = 'project.version'\n\
        [[also]]\nfile = 'pyproject.toml'\nkey = 'tool.acme.tag'\nprefix = ''\n";
    insta::assert_snapshot!(Repository::new(&files, table).outcome("1.2.3-rc.2"));
}

#[test]
fn one_file_may_have_several_places() {
    let files =
        [("pyproject.toml", "[project]\nversion = '1.0'\n[tool.poetry]\nversion = '1.0'\n")];
    let table = "file = 'pyproject.toml'\nkey = 'project.version'\n\
        [[also]]\nfile = './pyproject.toml'\nkey = 'tool.poetry.version'\n\
        [[also]]\nfile = 'pyproject.toml'\npattern = 'poetry\\]\\nversion = .(?<version>[^\"\\x27]*)'\n";
    insta::assert_snapshot!(Repository::new(&files, table).outcome("1.1"));
    let overlapping = "file = 'A'\n[[also]]\nfile = 'A'\npattern = 'v?(?<version>[0-9.]+)'\n";
    insta::assert_snapshot!(Repository::new(&[("A", "v1.0")], overlapping).outcome("1.1"));
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
    let message = diff(&[edit("./a/../b", "old\n"), edit("c", "")]);
    assert_eq!(
        message,
        "--- a/b\n+++ b/b\n@@ -1 +1 @@\n-old\n+new\n--- /dev/null\n+++ b/c\n@@ -0,0 +1 @@\n+new\n"
    );
}

#[test]
fn errors_contain_their_line() {
    let line = |name: &str, text: &str, key: &str| {
        let repository = Repository::new(&[(name, text)], &format!("file = '{name}'\n{key}"));
        read(&repository.table, &repository.checkout()).expect_err("a mistake").line()
    };
    assert_eq!(line("a.py", "X = 1\n# TAG = 'v1'\n", "constant = 'TAG'"), 2);
    assert_eq!(line("a.toml", "a = 1\nb = ]\n", "key = 'a'"), 2);
    assert_eq!(line("a.json", "{\n\"a\": 1,\n]", "key = 'a'"), 3);
}
