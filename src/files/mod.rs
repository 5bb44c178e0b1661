//! Access to the files of a checkout, which may be untrusted.
//!
//! [`Checkout`] resolves paths with their links, and refuses those that lead out of the repository. [`Allowed`]
//! contains the exceptions of `--allow`. [`read`] and [`read_text`] read regular files up to a limit, so that pipes and
//! devices cannot block a run. [`IgnoreRules`] and [`Wildcard`] match the paths of build contexts.

mod bounded;
mod checkout;
mod ignore;
mod outside;
mod replace;
mod wildcard;

pub use bounded::{MAX_PROJECT_FILE, MAX_TEXT, ReadError, read, read_stream, read_text};
pub use checkout::{Allowed, Checkout, Entitlement, EntitlementError};
pub use ignore::{IgnoreError, IgnoreRule, IgnoreRules, Inherited};
pub use outside::{Access, Outside};
pub(crate) use replace::{create, create_beside, link, replace};
pub use wildcard::Wildcard;
