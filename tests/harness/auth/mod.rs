//! Registries that require credentials, and every source of credentials for them.

pub mod cloud;
pub mod credential_cases;
pub mod ecr;
pub mod proxy;
