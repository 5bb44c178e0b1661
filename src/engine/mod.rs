//! Building: the engine's door, what goes in and what comes out.

mod job;

pub use job::{BuildJob, BuiltImage, Destination, Secret};
