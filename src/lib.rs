//! basegen generates, builds and publishes matrices of base images.

pub mod cli;
pub mod engine;
pub mod error;
pub mod event;
pub mod image;
<<<<<<< HEAD
pub mod matrix;
pub mod plan;
=======
pub mod registry;
>>>>>>> engine
pub mod render;
pub mod report;
pub mod version;
