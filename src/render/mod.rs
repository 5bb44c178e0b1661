//! Templates into Dockerfiles and the files that they copy.

mod context;

pub use context::{BuildContext, ContextFile, DOCKERFILE};
