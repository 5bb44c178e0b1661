//! The engine's client against a real engine and a real registry.

mod bed;
mod building;
mod destinations;
mod failing;
mod many;
mod stopping;
