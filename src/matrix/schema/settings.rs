//! The tables that describe images: `[image]`, a value of an axis, `[[set]]` and `[[extra]]`.
//!
//! All of them have the same settings, which `settings_tables!` lists once. To add a setting, add a line there, a field
//! to [`Settings`](super::super::settings::Settings), and its validation to `Checker::settings`.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::contents::{ExposeEntry, FilesEntry, HealthcheckEntry, PackagesEntry};
use super::{AliasEntry, AxisEntry, RunEntry, Variables, When};
use crate::image::CompressionAlgorithm;
use crate::matrix::by_type::by_type;
use crate::matrix::contracts::{BasetenTable, Contract, FalTable};
use crate::matrix::document::tables;
use crate::matrix::hosts::RegistryEntry;
use crate::matrix::spanned::{Span, Spanned};
use crate::matrix::value::Value;

/// Defines tables with keys of their own and the common settings.
// serde cannot combine `flatten` with `deny_unknown_fields`, and would lose the locations of flattened values.
macro_rules! settings_tables {
    (settings $settings:tt $($(#[$attribute:meta])* pub struct $table:ident $own:tt)+) => {
        setting_keys! { $settings }
        $(settings_table! { $settings $(#[$attribute])* pub struct $table $own })+
        tables!($($table),+);
    };
}

macro_rules! setting_keys {
    ({ $($(#[$doc:meta])* $key:ident: $type:ty,)+ }) => {
        /// The settings that a table has, as it has them.
        #[derive(Debug, Clone, Default)]
        pub(in crate::matrix) struct SettingKeys<'a> {
            $(pub(in crate::matrix) $key: Option<&'a Spanned<$type>>,)+
        }

        impl SettingKeys<'_> {
            /// Returns the keys that the table has, with the locations of their values.
            pub(in crate::matrix) fn written(&self) -> Vec<(&'static str, Span)> {
                let keys = [$((stringify!($key), self.$key.map(|value| value.span())),)+];
                keys.into_iter().filter_map(|(key, span)| Some((key, span?))).collect()
            }
        }
    };
}

macro_rules! settings_table {
    (
        { $($(#[$doc:meta])* $key:ident: $type:ty,)+ }
        $(#[$attribute:meta])* pub struct $table:ident { $($own:tt)* }
    ) => {
        #[derive(Debug, Deserialize, JsonSchema)]
        #[serde(remote = "Self", deny_unknown_fields)]
        $(#[$attribute])*
        pub struct $table {
            $($own)*
            $($(#[$doc])* pub $key: Option<Spanned<$type>>,)+
        }

        impl $table {
            pub(in crate::matrix) fn settings(&self) -> SettingKeys<'_> {
                SettingKeys { $($key: self.$key.as_ref(),)+ }
            }
        }
    };
}

settings_tables! {
    settings {
        /// The repository in the registry, such as `baseten/truss-{{job_type}}-base`. `[image]` must have one.
        repository: String,
        /// The version tag. Default: `{{variant}}-{{version}}`. For a value of an axis, only its part of `{{variant}}`: an
        /// empty string adds no part. The default is the string itself, the name of the axis for `true`, and no part for
        /// `false`.
        tag: String,
        /// The Dockerfile: a template in the folder of the templates, such as `{{job_type}}.Dockerfile.hbs`, or the text
        /// of a template, if it contains a line break. Without one, the
        /// Dockerfile is generated from `base`, `apt`, `pip` and the other contents.
        dockerfile: String,
        /// The stage of the Dockerfile that is the image. Default: the last.
        target: String,
        /// Build arguments, by the name of an `ARG` in the Dockerfile.
        args: IndexMap<Spanned<String>, Spanned<String>>,
        /// The folder that `COPY`, `ADD` and mounts read from, relative to this file. Its files are copied as they are.
        /// Default: the folder of the templates.
        context: String,
        /// The patterns of files that images do not get: an array, or the path of a file, relative to this file. Default:
        /// those of `<dockerfile>.dockerignore` beside the Dockerfile, or of `.dockerignore` in the context, or common
        /// files of development.
        dockerignore: DockerignoreEntry,
        /// The image that these images are copies of, such as `nvcr.io/nvidia/tritonserver@sha256:…` or an image with a tag,
        /// which `basegen.lock` pins. It is copied byte for byte, with all of its platforms, and not built: settings of
        /// builds do not go with it.
        mirror: String,
        /// The platforms to build for. Default: `linux/amd64`. A value of an axis limits the platforms of its images to
        /// these.
        platforms: Vec<Spanned<String>>,
        /// Labels of the images. `{{version}}` is not available here, because a new version of an unchanged image is a
        /// new tag on the same image.
        labels: IndexMap<Spanned<String>, Spanned<String>>,
        /// The compression of layers: an algorithm, or `{ algorithm = "zstd", level = 3 }`. Default: `zstd`.
        compression: CompressionEntry,
        /// Whether the layers of base images are compressed again, with the same compression. Default: `false`.
        force_compression: bool,
        /// The contracts of platforms that the images keep. Their rules are checked before a build and in each image.
        contracts: Vec<Contract>,
        /// The GPU architectures that all CUDA libraries of an image must support, such as `["80", "90"]`. Read from the
        /// `*.facts.toml` files that the image is built from.
        require_sm: Vec<Spanned<String>>,
        /// The GPU architectures that a release may lose that the release before has, such as `["50", "90a"]`.
        drop_sm: Vec<Spanned<String>>,
        /// The largest compressed size of an image for one platform, such as `2.6 GB`.
        max_size: String,
        /// The base image of a generated Dockerfile. Default: `python:{{python}}-slim-bookworm` if the matrix has an axis
        /// `python`, and `debian:bookworm-slim` otherwise.
        base: String,
        /// Commands that run before packages are installed. They are added to those of earlier tables.
        pre_build_commands: Vec<Spanned<String>>,
        /// Debian packages: a file, an array such as `["curl", "git"]`, or a table such as `{ ffmpeg = "latest" }`. They are
        /// merged with those of earlier tables by name.
        apt: PackagesEntry,
        /// Conda packages: an environment file, an array, or a table such as `{ cuda = ">=11.7", "-c" = "conda-forge" }`.
        /// They are merged with those of earlier tables by name.
        conda: PackagesEntry,
        /// Python packages that are the same for all versions of Python, such as the libraries of CUDA, written as in `pip`.
        /// They are one layer, which images of all versions share.
        libraries: PackagesEntry,
        /// Python packages: a requirements file, an array such as `["numpy>=1.26,<2", "-r requirements.txt"]`, or a table
        /// such as `{ torch = "==2.8.0" }`. They are merged with those of earlier tables by name.
        pip: PackagesEntry,
        /// Files of the build context: an array of paths, or a table of sources and their paths in the image. They are
        /// merged with those of earlier tables.
        files: FilesEntry,
        /// Commands that run after packages are installed and files are copied. They are added to those of earlier tables.
        shell_commands: Vec<Spanned<String>>,
        /// Environment variables. `$NAME` is the value of another variable. They are merged with those of earlier tables.
        env: IndexMap<Spanned<String>, Spanned<String>>,
        /// The user of containers: a name or a number, and perhaps a group.
        user: String,
        /// The working directory.
        workdir: String,
        /// The entrypoint: a string for the shell, or an array of a program and its arguments.
        entrypoint: RunEntry,
        /// The command: a string for the shell, or an array of a program and its arguments.
        cmd: RunEntry,
        /// The ports of the server in the image, such as `8080` or `["8080", "53/udp"]`.
        expose: ExposeEntry,
        /// The health check: a command, a table with `run` and intervals, or `false` for none.
        healthcheck: HealthcheckEntry,
    }

    /// `[image]`: the settings of all images.
    ///
    /// In names and labels, `{{NAME}}` is the value of the axis or the variable `NAME`, and `{{variant}}` is the tag parts
    /// of all axis values, joined by dashes. Tags can also contain `{{version}}`.
    #[schemars(extend("required" = ["repository"]))]
    pub struct ImageTable {
        /// The registry, such as `ghcr.io`, or an array of registries that all get the same images. A path after the host,
        /// as in `ghcr.io/acme`, comes before the repository. Default: Docker Hub.
        pub registry: Option<Spanned<RegistryEntry>>,
        /// Additional tags, such as `{{variant}}-latest`, that move with each release of the whole matrix. They can also
        /// contain `{{major}}`, `{{minor}}`, `{{git.sha}}`, `{{git.short_sha}}` and `{{date}}`.
        #[serde(default)]
        pub aliases: Vec<Spanned<AliasEntry>>,
        /// The folder of the templates and of the files that they copy, relative to this file.
        /// Default: `dockerfiles`.
        pub templates: Option<Spanned<String>>,
        /// The port of the server in the images. Rules compare it with their commands.
        #[schemars(with = "Option<u16>")]
        pub port: Option<Spanned<i64>>,
        /// Settings of Baseten.
        pub baseten: Option<BasetenTable>,
        /// Settings of fal.
        pub fal: Option<FalTable>,
    }

    /// A value of an axis, with its variables and settings.
    pub struct AxisValueTable {
        /// The value: a string or a boolean.
        pub value: Spanned<Value>,
        /// Variables of images with this value.
        #[serde(default)]
        pub variables: Variables,
    }

    /// `[[set]]`: variables and settings of some combinations.
    pub struct SetTable {
        /// The conditions of the combinations, by axis, or an array of alternatives.
        pub when: Spanned<When>,
        /// Variables of these combinations. They override those of axis values and of earlier `[[set]]` tables.
        #[serde(default)]
        pub variables: Variables,
    }

    /// `[[extra]]`: a combination to add to the product. Its values need not be listed by an axis.
    pub struct ExtraTable {
        /// A value for each axis.
        pub axes: Spanned<IndexMap<Spanned<String>, Spanned<AxisEntry>>>,
        /// Variables of this combination. They override all others.
        #[serde(default)]
        pub variables: Variables,
    }
}

/// The patterns of files that images do not get: a list, or the path of a file.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
pub enum DockerignoreEntry {
    /// The path of a file with patterns, relative to this file.
    File(String),
    /// Patterns, one a line of a `.dockerignore`.
    Patterns(Vec<Spanned<String>>),
}

/// An algorithm, or an algorithm with its level.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
pub enum CompressionEntry {
    /// An algorithm at the default level of the engine.
    Algorithm(CompressionAlgorithm),
    /// An algorithm at a given level.
    Table(CompressionTable),
}

/// A compression algorithm and its level.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct CompressionTable {
    /// The compression algorithm.
    pub algorithm: CompressionAlgorithm,
    /// The level: 0 to 22 for zstd, 0 to 9 for gzip and estargz. Default: that of the engine.
    #[schemars(with = "Option<u8>")]
    pub level: Option<i64>,
}

tables!(CompressionTable);

by_type!(CompressionEntry, "a string or a table with the key `algorithm`", {
    text: CompressionEntry::Algorithm,
    table: CompressionEntry::Table,
});
by_type!(DockerignoreEntry, "an array of patterns, or the path of a file", {
    text: DockerignoreEntry::File,
    list: DockerignoreEntry::Patterns,
});
