//! Tests of [`basegen::registry`] with a registry in this process that injects faults.

#[path = "../harness/mod.rs"]
mod harness;

mod access;
mod cloud_credentials;
mod connections;
mod credentials;
mod invalid_responses;
mod pushing;
mod rate_limits;
mod reading;
mod redirects;
mod retries;
mod secrets;
mod tokens;
