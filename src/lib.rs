//! basegen generates, builds and publishes matrices of base images.

pub mod cli;
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
