//! Exports a plan for other tools.

mod bake;
pub mod platforms;

pub use bake::{Bake, BakeImage, CONTEXTS, bake};
