//! Servers, projects and clients that the test binaries share.
//!
//! - [`registry`] and [`github`] are in-process servers with fault injection. [`auth`] has registries that require credentials.
//! - [`project`] is a folder with a small matrix, [`release_project`] one with a registry and a GitHub, [`page`] a page of the documentation.
//! - [`variants`] computes the fingerprints and staging tags of a matrix.
//! - [`machine`] publishes releases through the library, [`pull_request`] opens their pull requests, [`registry_client`] is the bare client.
//! - [`testbed`] connects to the real engine and registry, [`workflows`] runs GitHub workflows, [`pypi`] installs packages from PyPI, [`conda`]
//!   writes a conda channel.
//! - [`events`] records the events of a run.
//!
//! A test binary includes it with `#[path = "../harness/mod.rs"] mod harness;`.

#![allow(dead_code, unused_imports, reason = "each test binary uses a different part of it")]

pub mod auth;
pub(crate) mod conda;
pub mod events;
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
