//! Hostile files, names and responses. They cannot read or write outside of the repository, exhaust the machine, get
//! credentials, or control a terminal.

mod credentials;
mod escapes;
mod limits;
mod paths;
