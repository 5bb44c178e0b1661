//! Releases, against a registry that fails where it is told to.

#[path = "../common/registry/mod.rs"]
mod fake;

mod bench;
mod checks;
mod conflicts;
mod faults;
mod order;
mod reading;
mod resuming;
mod staging;
mod vendors;
mod whole;
