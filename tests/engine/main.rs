//! The engine's client against a real engine and a real registry.

#[path = "../common/registry/mod.rs"]
mod fake;
#[path = "../common/github/mod.rs"]
mod github;

mod addresses;
mod bed;
mod building;
mod command;
mod credentials;
mod destinations;
mod export;
mod failing;
mod images;
mod init;
mod losing;
mod many;
mod plain_http;
mod platforms;
mod releasing;
mod secrets;
mod sharing;
mod stopping;
mod truss;
mod verifying;
