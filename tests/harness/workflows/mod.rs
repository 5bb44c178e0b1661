//! Runs the workflows of this repository outside of GitHub.
//!
//! [`runner`] executes workflows, with the [`actions`] and [`expressions`] that they use. [`repository`] is the repository that they run in.

pub mod actions;
pub mod expressions;
pub mod repository;
pub mod runner;

use std::path::{Path, PathBuf};

use serde_json::Value;

/// The workflows that the tests run. [`PINS`] requires the network.
pub const WORKFLOWS: [&str; 3] = [CI, RELEASE, BINARIES];
pub const CI: &str = ".github/workflows/ci.yml";
pub const RELEASE: &str = ".github/workflows/release.yml";
pub const BINARIES: &str = ".github/workflows/binaries.yml";
pub const PINS: &str = ".github/workflows/pins.yml";

/// Returns the path of a file of this repository.
pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Parses a YAML file of this repository.
pub fn yaml(name: &str) -> Value {
    let text = fs_err::read_to_string(path(name)).expect("a file");
    parse(&text)
}

pub fn parse(text: &str) -> Value {
    serde_saphyr::from_str(text).expect("YAML")
}

/// Returns the entries of a mapping, or none for another value.
pub fn entries(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(key, value)| (key.as_str(), value))
}

/// Returns the items of a list, or none for another value.
pub fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
