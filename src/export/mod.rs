//! Exports a plan for other tools.

mod bake;

pub use bake::{Bake, BakeImage, CONTEXTS, bake};
