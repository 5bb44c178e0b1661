//! Registries that ask for credentials, and every source of credentials for them.

pub mod cloud;
pub mod door;
pub mod ecr;
pub mod ways;
