//! What tests have in common: servers that run in this process, projects to run commands in, and clients of the library.
//!
//! - [`registry`] and [`github`] are servers which fail where a test says so; [`auth`] has registries that ask for credentials.
//! - [`project`] is a folder with a small matrix, [`release_project`] one with a registry and a GitHub, [`page`] a page of the documentation.
//! - [`variants`] has the fingerprints and staging tags of a matrix.
//! - [`machine`] publishes releases through the library, [`pull_request`] proposes them, [`registry_client`] is the bare client.
//! - [`testbed`] is the real engine and registry, [`workflows`] a runner of GitHub's workflows, [`pypi`] has packages from PyPI, [`conda`] a channel.
//!
//! A test binary includes it with `#[path = "../harness/mod.rs"] mod harness;`.

#![allow(dead_code, unused_imports, reason = "each test binary uses another part of it")]

pub mod auth;
pub(crate) mod conda;
pub mod digest_registry;
pub mod github;
pub mod machine;
pub(crate) mod page;
pub mod project;
pub mod pull_request;
pub(crate) mod pypi;
pub mod registry;
pub mod registry_client;
pub mod release_project;
pub mod testbed;
pub mod variants;
pub mod workflows;
