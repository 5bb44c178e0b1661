//! A plan for other tools to build.

mod bake;

pub use bake::{Bake, BakeImage, BakeSecret, CONTEXTS, Folders, SecretSource, bake};
