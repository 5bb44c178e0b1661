//! Types of the OCI specifications: references, digests, platforms and compression. Values are valid by construction.

mod compression;
mod descriptor;
mod digest;
mod platform;
mod reference;

pub use compression::{Compression, CompressionAlgorithm};
pub use descriptor::Descriptor;
pub use digest::{Digest, DigestError};
pub use platform::{Platform, PlatformError};
pub use reference::{Reference, ReferenceError, Repository, Tag, refuse_scheme};
