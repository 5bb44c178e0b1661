//! Release pull requests, against an in-process GitHub with fault injection.

#[path = "../harness/mod.rs"]
mod harness;

mod access;
mod contract;
mod faults;
mod flow;
mod objects;
