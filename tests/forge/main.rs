//! The release's pull request, against a GitHub in this process that answers as GitHub does, and
//! fails where it is told to.

#[path = "../common/github/mod.rs"]
mod github;
#[path = "../common/registry/mod.rs"]
mod registry;

mod access;
mod bench;
mod faults;
mod flow;
mod objects;
mod project;
mod release;
mod rendered;
