//! Releases, against a registry that fails where it is told to.

#[path = "../harness/mod.rs"]
mod harness;

mod checks;
mod conflicts;
mod faults;
mod limits;
mod mirrors;
mod order;
mod printed;
mod reading;
mod registries;
mod resuming;
mod staging;
mod vendors;
mod whole;
