//! The workflows and the action, run outside of GitHub: every `run:` step as the runner would run
//! it, against a registry and a GitHub in this process.

#[path = "../harness/mod.rs"]
mod harness;

mod expressions;
mod installing;
mod releasing;
mod structure;
