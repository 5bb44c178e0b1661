//! What files, names and answers of others cannot do: read or write outside of the repository, exhaust the machine, get
//! credentials, or control a terminal.

mod credentials;
mod escapes;
mod limits;
mod paths;
