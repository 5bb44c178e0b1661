//! The workflows and the action, run outside of GitHub: every `run:` step as the runner would run
//! it, against a registry and a GitHub in this process.

#[path = "../common/registry/mod.rs"]
mod fake;
#[path = "../common/github/mod.rs"]
mod github;

mod actions;
mod bed;
mod expressions;
mod installing;
mod releasing;
mod runner;
mod structure;

use std::path::{Path, PathBuf};

use serde_json::Value;

/// The workflows of this repository.
const WORKFLOWS: [&str; 3] = [CI, RELEASE, BINARIES];
const CI: &str = ".github/workflows/ci.yml";
const RELEASE: &str = ".github/workflows/release.yml";
const BINARIES: &str = ".github/workflows/binaries.yml";

/// A file of this repository.
fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// A YAML file of this repository.
fn yaml(name: &str) -> Value {
    let text = fs_err::read_to_string(path(name)).expect("a file");
    parse(&text)
}

fn parse(text: &str) -> Value {
    serde_saphyr::from_str(text).expect("YAML")
}

/// The entries of a mapping.
fn entries(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(key, value)| (key.as_str(), value))
}

/// The items of a list.
fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
