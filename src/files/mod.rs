//! Files that a checkout names.
//!
//! A checkout may come from anyone. [`Checkout`] resolves the paths that it names, follows their links and refuses
//! those that lead out of the repository; [`Allowed`] has the exceptions of `--allow`. [`read`] and [`read_text`] read
//! regular files up to a limit, so that neither a pipe nor a device can hold a run up.

mod bounded;
mod checkout;
mod replace;

pub use bounded::{MAX_PROJECT_FILE, MAX_TEXT, ReadError, read, read_stream, read_text};
pub use checkout::{Access, Allowed, Checkout, Entitlement, EntitlementError, Outside};
pub(crate) use replace::{create_beside, replace};
