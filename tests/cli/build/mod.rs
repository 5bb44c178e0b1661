//! `basegen` without a command: building and publishing images.

mod engine;
mod errors;
mod lock;
mod names;
