//! The `basegen` command.

fn main() {}
