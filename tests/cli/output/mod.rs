//! Output of all commands: `--quiet`, and output that cannot be written.

mod full_disk;
mod quiet;
