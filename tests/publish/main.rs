//! Releases, against a registry that fails where it is told to.

#[path = "../harness/mod.rs"]
mod harness;

mod checks;
mod conflicts;
mod faults;
mod limits;
mod order;
mod reading;
mod resuming;
mod staging;
mod vendors;
mod whole;
