//! Builds, checks and releases with the engine and the registry of the test bed.

#[path = "../harness/mod.rs"]
mod harness;

mod addresses;
mod arm64;
mod builds;
mod cancellation;
mod checks;
mod command;
mod contents;
mod contracts;
mod credentials;
mod destinations;
mod dockerignore;
mod early_compression;
mod examples;
mod export;
mod failures;
mod faults;
mod graph;
mod images;
mod init;
mod many_builds;
mod plain_http;
mod platform_packages;
mod platforms;
mod registries;
mod releases;
mod secrets;
mod shared_steps;
mod torch;
mod truss_models;
mod truss_repository;
