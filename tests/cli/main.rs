//! Commands without an engine: their arguments, output, exit code and files.
//!
//! Each command has a folder. [`output`] and [`security`] test all of them.

#[path = "../harness/mod.rs"]
mod harness;

mod auth;
mod build;
mod bump;
mod changed;
mod check;
mod contents;
mod documents;
mod examples;
mod explain;
mod export;
mod gpu;
mod graph;
mod init;
mod lint;
mod merge;
mod output;
mod plan;
mod platforms;
mod prune;
mod registries;
mod release;
mod render;
mod security;
mod update;
mod use_image;
mod variables;
