//! The engine's client against a real engine and a real registry.

mod addresses;
mod bed;
mod building;
mod command;
mod credentials;
mod destinations;
mod failing;
mod images;
mod many;
mod stopping;
mod verifying;
