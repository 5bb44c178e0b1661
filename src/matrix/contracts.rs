//! The contracts of platforms, and their settings in `[image]`.
//!
//! [`crate::contracts`] knows the rules.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;

use super::document::tables;
use super::spanned::Spanned;

/// The uid of the user `app`, which Baseten creates.
pub const BASETEN_USER_ID: u32 = 60000;

/// A named set of rules that images keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Contract {
    /// Base images and custom servers of Baseten.
    Baseten,
    /// Images that Baseten runs without a build: `no_build`.
    BasetenNoBuild,
    /// Base images of containers on fal.
    Fal,
    /// Base images of apps on Cerebrium.
    Cerebrium,
    /// Rules for every Dockerfile. All other contracts but `baseten-no-build` contain them.
    Lint,
}

impl Contract {
    pub const ALL: [Self; 5] =
        [Self::Baseten, Self::BasetenNoBuild, Self::Fal, Self::Cerebrium, Self::Lint];
}

impl fmt::Display for Contract {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Baseten => "baseten",
            Self::BasetenNoBuild => "baseten-no-build",
            Self::Fal => "fal",
            Self::Cerebrium => "cerebrium",
            Self::Lint => "lint",
        })
    }
}

/// `[image.baseten]`: settings of Baseten.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct BasetenTable {
    /// The `run_as_user_id` of deployments: the uid of a user of the image, neither 0 nor 60000. Default: Baseten
    /// creates the user `app` with the uid 60000.
    #[schemars(with = "Option<u32>")]
    pub run_as_user_id: Option<Spanned<i64>>,
}

/// `[image.fal]`: settings of fal.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct FalTable {
    /// The release of the `fal` package that apps use, such as `1.83.0`. Default: the newest that basegen knows.
    pub version: Option<Spanned<String>>,
}

tables!(BasetenTable, FalTable);

/// The settings that rules compare images with.
#[derive(Debug, Clone, Default)]
pub struct ContractSettings {
    /// The port of the server in the image.
    pub port: Option<Spanned<u16>>,
    /// The user that Baseten runs the image as, if it is not the platform's own.
    pub run_as_user_id: Option<u32>,
    /// The release of the `fal` package.
    pub fal_version: Option<Spanned<String>>,
}
