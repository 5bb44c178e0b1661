//! The engine's client against a real engine and a real registry.

#[path = "../harness/mod.rs"]
mod harness;

mod addresses;
mod building;
mod clients;
mod command;
mod contents;
mod contracts;
mod credentials;
mod destinations;
mod dockerignore;
mod early;
mod examples;
mod export;
mod failing;
mod graph;
mod images;
mod init;
mod losing;
mod many;
mod plain_http;
mod platforms;
mod registries;
mod releasing;
mod secrets;
mod sharing;
mod stopping;
mod torch;
mod truss_models;
mod truss_repository;
mod verifying;
