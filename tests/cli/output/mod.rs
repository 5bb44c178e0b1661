//! What commands print, and what happens when they cannot.

mod full_disk;
mod quiet;
