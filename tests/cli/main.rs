//! Whole commands: what is typed, what is printed, how it ends. None of these needs an engine.

#[path = "../common/registry/mod.rs"]
mod fake;
mod project;
mod registry;

mod bump;
mod changed;
mod check;
mod credentials;
mod disk;
mod engine;
mod explain;
mod export;
mod hostile;
mod init;
mod jobs;
mod names;
mod outside;
mod plan;
mod quiet;
mod refusals;
mod released;
mod render;
mod since;
mod state;
mod untrusted;
mod update;
