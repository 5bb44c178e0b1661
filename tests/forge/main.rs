//! The release's pull request, against a GitHub in this process that answers as GitHub does, and
//! fails where it is told to.

#[path = "../common/registry/mod.rs"]
mod registry;

mod access;
mod bench;
mod faults;
mod flow;
mod github;
mod project;
mod release;
