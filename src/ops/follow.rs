//! `[version.follows]`: the version of the product, with which that of the images agrees whenever they change.

use std::fmt;

use super::ArgumentError;
use crate::error::Report;
use crate::matrix::{Matrix, VersionTable};
use crate::version::{self, Level, Version, VersionOccurrence};

/// The argument of `bump` and `release` for the version of the product.
pub const FOLLOW: &str = "follow";

/// The version of the product.
#[derive(Debug)]
pub struct Product(VersionOccurrence);

impl Product {
    #[must_use]
    pub fn new(place: VersionOccurrence) -> Self {
        Self(place)
    }

    /// Returns true if `images` is the same version.
    #[must_use]
    pub fn agrees_with(&self, images: &VersionOccurrence) -> bool {
        images.number == self.0.number
    }

    /// Returns true if `images` is a higher version.
    #[must_use]
    pub fn is_below(&self, images: &VersionOccurrence) -> bool {
        images.number > self.0.number
    }

    /// Returns the version of the product as `images` writes it, for `command`. Fails if it is lower.
    pub(super) fn version(
        &self,
        command: &'static str,
        images: &VersionOccurrence,
    ) -> Result<Version, Report> {
        if self.is_below(images) {
            let reason = format!(
                "the images already have the higher version {}; that of the product is {self}",
                images.version
            );
            return Err(ArgumentError::new(command, FOLLOW, &reason).into());
        }
        Ok(version::target(images, &self.0.number.to_string(), false)?)
    }
}

/// `0.15.2 in pyproject.toml:3`
impl fmt::Display for Product {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} in {}", self.0.number, self.0.place())
    }
}

/// Returns the product that `to`, the argument of `command`, refers to. Returns `None` if it is another argument, and refuses
/// levels for images that follow a product.
pub(super) fn product(
    command: &'static str,
    to: &str,
    matrix: &Matrix,
    table: &VersionTable,
) -> Result<Option<Product>, Report> {
    let refuse = |reason: &str| ArgumentError::new(command, to, &reason);
    match &table.follows {
        None if to == FOLLOW => {
            let reason =
                "the matrix has no `[version.follows]`, which names the version of a product";
            Err(refuse(reason).into())
        }
        Some(place) if to == FOLLOW => Ok(Some(Product(version::locate(place, &matrix.checkout)?))),
        Some(place) if to.parse::<Level>().is_ok() => {
            let file = place.file.get_ref();
            let reason = format!(
                "the images have the version of `{file}`: bump that, then run `basegen {command} {FOLLOW}`"
            );
            Err(refuse(&reason).into())
        }
        _ => Ok(None),
    }
}
