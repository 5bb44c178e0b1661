//! basegen builds and publishes families of base images: a matrix of Python versions, GPU support and any other axis.
//! It renders a Dockerfile for each combination, builds them on BuildKit, runs checks in each image, and publishes all
//! images under one version.
//!
//! # Data flow
//!
//! Each stage passes one typed value to the next:
//!
//! ```text
//! matrix.toml → Matrix → Selected → Plan { Target… } → BuildContext → BuildJob → BuiltImage → Published
//! ```
//!
//! The [`Plan`](plan::Plan) is data: the value that is printed is the value that is built. While the engine works, it
//! sends [`Event`](event::Event)s to listeners; only [`report`] writes to a terminal.
//!
//! # Modules
//!
//! | layer | modules |
//! | --- | --- |
//! | arguments and text | [`cli`] |
//! | operations: one file per command, callable as a library | [`ops`] |
//! | effects and formats | [`engine`], [`publish`], [`registry`], [`forge`], [`verify`], [`export`], [`init`] |
//! | pure functions from values to values | [`image`], [`matrix`], [`version`], [`render`], [`contracts`], [`plan`] |
//! | progress, errors, files | [`event`], [`report`], [`error`], [`files`] |
//!
//! `tests/architecture.rs` lists the imports that each module is allowed. `ARCHITECTURE.md` has the glossary, and a table of
//! the files to open for each change.
//!
//! # Where to start
//!
//! Read [`matrix`] for the model of variants, [`plan`] for names and fingerprints, then [`ops::plan`], the simplest
//! operation. [`engine`] builds, and [`publish`] contains the protocol of a release.
//!
//! # Example
//!
//! Plan the images of a matrix:
//!
//! ```
//! use std::path::Path;
//!
//! use basegen::matrix::{self, Selection};
//! use basegen::plan::{Plan, PlanRequest};
//!
//! let text = r#"
//!     image = { repository = "acme/base", tag = "{{variant}}", dockerfile = "Dockerfile.hbs", platforms = ["linux/amd64"] }
//!     axes = { python = ["3.12", "3.13"], gpu = [false, true] }
//! "#;
//! let matrix = matrix::parse(Path::new("matrix.toml"), text).expect("a valid matrix");
//! let selected = matrix.select(&Selection::default()).expect("all variants");
//! let plan = Plan::new(&matrix, &selected, PlanRequest::default()).expect("a plan");
//! let images: Vec<String> = plan.targets.iter().map(|target| target.reference.to_string()).collect();
//! assert_eq!(images, ["acme/base:3.12", "acme/base:3.12-gpu", "acme/base:3.13", "acme/base:3.13-gpu"]);
//! ```

pub mod cli;
pub mod contracts;
pub mod engine;
pub mod error;
pub mod event;
pub mod export;
pub mod files;
pub mod forge;
mod git;
pub mod image;
pub mod init;
pub mod matrix;
pub mod ops;
pub mod plan;
pub mod publish;
pub mod registry;
pub mod render;
pub mod report;
pub mod verify;
pub mod version;
