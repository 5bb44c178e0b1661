//! Variables of files.

use crate::error::Report;
use crate::matrix::{Matrix, load};

/// Loads a matrix with axes `python` and `distro` and `more`, beside files with these texts.
fn loaded(more: &str, files: &[(&str, &str)]) -> Result<Matrix, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let matrix = format!(
        "[image]\nrepository = \"acme/python\"\ndockerfile = \"Dockerfile.hbs\"\n\
         [axes]\npython = [\"3.13\", \"3.14\"]\ndistro = [\"slim\", \"alpine\"]\n{more}"
    );
    for (path, text) in files.iter().copied().chain([("images/matrix.toml", matrix.as_str())]) {
        let path = folder.path().join(path);
        fs_err::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs_err::write(path, text).expect("a file");
    }
    fs_err::create_dir(folder.path().join(".git")).expect("a folder");
    load(&folder.path().join("images/matrix.toml")).map_err(|error| {
        let shown = Report::from(error).to_string();
        let above = folder.path().parent().expect("a folder").display().to_string();
        shown.replace(&format!("{}/images/", folder.path().display()), "").replace(&above, "")
    })
}

/// Lists the variables of all variants with the lines that they come from.
fn listed(matrix: &Matrix) -> String {
    let mut lines = Vec::new();
    for variant in &matrix.variants {
        for (name, fact) in matrix.facts(variant) {
            let source = format!("{:?}", fact.source);
            let source = source.split_once("path: ").map_or(source.as_str(), |(_, rest)| {
                rest.rsplit_once("images/").map_or(rest, |(_, path)| path)
            });
            lines.push(format!("{} {name} {} {source}", variant.id, fact.value));
        }
    }
    lines.join("\n")
}

const VERSIONS: &str = r#"{
  "3.13": {
    "version": "3.13.9",
    "checksums": { "source": { "sha256": "aa11" }, "windows-amd64": null },
    "variants": ["slim", "alpine3.22"],
    "this": "reserved", "GPG_KEY": "no name", "distro": "an axis"
  },
  "3.14": { "version": "3.14.0", "checksums": { "source": { "sha256": "bb22" } }, "build": 7 },
  "3.15-rc": { "version": 3.15 }
}
"#;

#[test]
fn entries_of_the_table_at_the_key_are_variables() {
    let from = "[variables.from]\nfile = \"versions.json\"\nkey = \"{{python}}\"\n";
    let more = format!("{from}[variables]\nbuild = 1\n");
    let matrix = loaded(&more, &[("images/versions.json", VERSIONS)]).expect("a matrix");
    insta::assert_snapshot!(listed(&matrix));
    let names = matrix.known_names();
    assert_eq!(names, ["build", "checksums", "distro", "python", "variants", "version"]);
}

#[test]
fn every_table_of_variables_can_have_files() {
    let more = r#"
[variables.tools]
uv = "0.8"
GH_CLI = "none"
[[variables.from]]
file = "../versions.toml"
[[variables.from]]
file = "../versions.toml"
key = "nested"
as = "tools"
[[variables.from]]
file = "distros.yaml"
key = "releases.alpine.\"{{python}}\".image"
as = "alpine_image"
[[set]]
when = { distro = "alpine" }
[set.variables]
release = "default"
other = "default"
[set.variables.from]
file = "distros.yaml"
key = "releases.alpine.{{python}}"
[image.labels]
minor = "{{minor}} {{alpine_image}}"
"#;
    let distros = "releases:\n  alpine:\n    3.13: no table\n    \"3.14\": {release: a, image: 'alpine:3.22'}\n";
    let versions = ("versions.toml", "minor = 3\nnested = { GH_CLI = \"2.83\" }\n");
    let error = loaded(more, &[versions, ("images/distros.yaml", distros)]).expect_err("no table");
    insta::assert_snapshot!(error);
    let distros = distros.replace("no table", "{image: x}");
    let matrix = loaded(more, &[versions, ("images/distros.yaml", &distros)]).expect("a matrix");
    insta::assert_snapshot!(listed(&matrix));
}

#[test]
fn faults_of_a_file_have_their_place_in_it() {
    let from = "[variables.from]\nfile = \"v.json\"\nkey = \"{{python}}\"\n";
    let all = [
        "{",
        "{\n  \"3.13\": {},\n  \"3.14\": {},\n  \"3.13\": {}\n}\n",
        "{\n  \"3.13\": {},\n  \"3.114\": {}\n}\n",
        "{\n  \"3.13\": \"3.13.9\",\n  \"3.14\": {}\n}\n",
        "{\n  \"3.13\": {\n    \"a\": \"x; y\",\n    \"b\": [1, 1.5],\n    \"c\": { \"$\": 1 }\n  },\n  \"3.14\": {}\n}\n",
    ]
    .map(|text| loaded(from, &[("images/v.json", text)]).expect_err(text));
    insta::assert_snapshot!(all.join("\n\n"));
}

#[test]
fn faults_of_a_from_table_have_their_place_in_the_matrix() {
    let all = [
        "file = \"v.json\"\n",
        "file = \"../../v.json\"\n",
        "file = \"/etc/v.json\"\n",
        "file = \"versions\"\n",
        "key = \"{{python}}\"\n",
        "file = \"w.json\"\nkey = \"a.{{pyton}}\"\nas = \"A\"\n",
        "file = \"w.json\"\nas = \"distro\"\n",
        "file = \"w.json\"\nkey = \"{{distro}\"\nkeys = \"\"\n",
        "file = \"w.json\"\nkey = \"{{distro}\"\n",
    ]
    .map(|table| {
        let from = format!("[variables.from]\n{table}");
        loaded(&from, &[("images/w.json", "{}")]).expect_err(table)
    });
    insta::assert_snapshot!(all.join("\n\n"));
}
