//! Registries: for now, who we are to them.

mod credentials;

pub use credentials::{Credential, Credentials, CredentialsError, DockerConfig};
