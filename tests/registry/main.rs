//! The client of registries against one in this process, which fails where it is told to.
//!
//! The tests for the faults that the client has to bear begin with their subject: waiting,
//! breaking, lying, sending elsewhere, refusing. Who it is to registries that ask is `auth`.

mod access;
mod auth;
mod auth_check;
mod auth_door;
mod auth_ecr;
mod auth_ways;
mod bed;
mod breaking;
mod connections;
mod elsewhere;
#[path = "../common/registry/mod.rs"]
mod fake;
mod lying;
mod pushing;
mod reading;
mod refusing;
mod secrets;
mod waiting;
