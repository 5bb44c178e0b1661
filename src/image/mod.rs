//! Types of the OCI specifications: references, digests, platforms, compression and sizes. Values are valid by construction.

mod compression;
mod descriptor;
mod digest;
mod namespace;
mod platform;
mod reference;
mod size;

pub use compression::{Compression, CompressionAlgorithm};
pub use descriptor::Descriptor;
pub use digest::{Digest, DigestError};
pub use namespace::Namespace;
pub use platform::{Platform, PlatformError};
pub use reference::{Reference, ReferenceError, Repository, Tag, refuse_scheme};
pub use size::{Size, SizeError};
