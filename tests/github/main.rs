//! The release's pull request, against a GitHub in this process that answers as GitHub does, and
//! fails where it is told to.

#[path = "../harness/mod.rs"]
mod harness;

mod access;
mod contract;
mod faults;
mod flow;
mod objects;
