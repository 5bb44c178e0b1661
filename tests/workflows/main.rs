//! The workflows and the action. The tests execute every `run:` step like GitHub's runner, against an in-process registry and GitHub.

#[path = "../harness/mod.rs"]
mod harness;

mod expressions;
mod installing;
mod releasing;
mod structure;
