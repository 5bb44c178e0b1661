//! Exports a plan for other tools.

mod bake;

pub use bake::{Bake, BakeImage, BakeSecret, CONTEXTS, Folders, SecretSource, bake};
