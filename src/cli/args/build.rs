//! The arguments of the main call. Other commands share some of them.

use std::path::PathBuf;

use crate::engine::{EngineRequest, TlsFiles};
use crate::ops::Context;
use clap::builder::PossibleValuesParser;
use clap::{ArgAction, Args, ValueEnum};

#[derive(Debug, Args)]
pub(in crate::cli) struct BuildArgs {
    #[command(flatten)]
    pub(in crate::cli) selection: SelectionArgs,
    #[command(flatten)]
    pub(in crate::cli) naming: NamingArgs,
    #[command(flatten)]
    pub(in crate::cli) output: OutputArgs,
    #[command(flatten)]
    pub(in crate::cli) running: RunningArgs,
    #[command(flatten)]
    pub(in crate::cli) engine: EngineArgs,
}

/// The variants; an axis without an argument selects all of its values.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Selecting variants")]
pub(in crate::cli) struct SelectionArgs {
    /// Python version or range (repeatable)
    ///
    /// For example `3.11` or `>=3.10,<3.13`.
    #[arg(long, alias = "python-version", value_name = "VERSION")]
    pub(in crate::cli) python: Vec<String>,
    /// Only variants with GPU support
    #[arg(long)]
    pub(in crate::cli) gpu: bool,
    /// Only variants without GPU support
    #[arg(long)]
    pub(in crate::cli) no_gpu: bool,
    /// The older spelling of --gpu and --no-gpu
    #[arg(long, value_name = "y|n|both", value_parser = switch_values(), hide = true,
        num_args = 0..=1, default_missing_value = "y", conflicts_with_all = ["gpu", "no_gpu"])]
    pub(in crate::cli) use_gpu: Option<String>,
    /// Only variants with live reload
    ///
    /// `n` selects those without it, `both` all of them.
    #[arg(
        long, value_name = "y|n|both", value_parser = switch_values(),
        num_args = 0..=1, default_missing_value = "y", hide_possible_values = true
    )]
    pub(in crate::cli) live_reload: Option<String>,
    /// Only variants without live reload
    #[arg(long)]
    pub(in crate::cli) no_live_reload: bool,
    /// Job type, such as `server` (repeatable)
    #[arg(long, value_name = "TYPE")]
    pub(in crate::cli) job_type: Vec<String>,
    /// Only variants with this value (repeatable)
    ///
    /// Works with any axis: `cuda=12.8`, `python=3.11,3.13`, `torch>=2.4`, `distro=slim-*`.
    #[arg(long, value_name = "AXIS=VALUE")]
    pub(in crate::cli) only: Vec<String>,
    /// No variants with these values (repeatable)
    ///
    /// Conditions on several axes exclude the variants that meet all of them. Values of one axis are
    /// alternatives: `gpu=true,python=3.9,3.10`.
    #[arg(long, value_name = "AXIS=VALUE")]
    pub(in crate::cli) exclude: Vec<String>,
    /// Only variants with these ids (repeatable)
    ///
    /// `basegen plan` lists the ids. Commas join several.
    #[arg(long, value_name = "ID")]
    pub(in crate::cli) variant: Vec<String>,
}

fn switch_values() -> PossibleValuesParser {
    PossibleValuesParser::new(["y", "n", "both"])
}

/// The names of the images.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Naming images")]
pub(in crate::cli) struct NamingArgs {
    /// Version in tags [default: that of `[version]`]
    ///
    /// Without a value, that of `[version]`.
    #[arg(long, value_name = "VERSION")]
    #[expect(clippy::option_option, reason = "the flag may be given without a value")]
    pub(in crate::cli) version_tag: Option<Option<String>>,
    /// Registry [default: those of the matrix]
    ///
    /// Repeatable, or several joined by commas: all get the same images.
    #[arg(long, value_name = "HOST[:PORT][/PATH]", value_delimiter = ',')]
    pub(in crate::cli) registry: Vec<String>,
    /// Repository [default: that of the matrix]
    ///
    /// `{{axis}}` inserts the value of an axis.
    #[arg(long, value_name = "REPOSITORY")]
    pub(in crate::cli) repository: Option<String>,
    /// Tag of each image [default: that of the matrix]
    ///
    /// For images that are not a release, such as those of a pull request: `pr-12-{{variant}}`. It
    /// can contain the placeholders of aliases, such as `{{git.short_sha}}`. No alias moves, and no
    /// release set is written.
    #[arg(long, value_name = "TEMPLATE")]
    pub(in crate::cli) tag: Option<String>,
    /// Platforms [default: those of the matrix]
    ///
    /// Repeatable, or several joined by commas. Images that stay in the engine are by default only
    /// for its own platform.
    #[arg(long, value_name = "OS/ARCH", value_delimiter = ',')]
    pub(in crate::cli) platform: Vec<String>,
}

impl NamingArgs {
    /// Returns the version that replaces that of the matrix.
    pub(in crate::cli) fn custom_version(&self) -> Option<&str> {
        self.version_tag.as_ref()?.as_deref()
    }
}

/// The destination of the images: the engine by default.
#[derive(Debug, Default, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[command(next_help_heading = "Output")]
pub(in crate::cli) struct OutputArgs {
    /// Push the images to their registry
    #[arg(long, conflicts_with = "output", overrides_with = "no_push", group = "to_registry")]
    pub(in crate::cli) push: bool,
    /// After the push, open or update a pull request for the release
    ///
    /// It contains the version, the lock file and generated files, as with `basegen release --pr`.
    #[arg(long, requires = "push")]
    pub(in crate::cli) pr: bool,
    /// Do not push; this is the default
    #[arg(long, overrides_with = "push", hide = true)]
    pub(in crate::cli) no_push: bool,
    /// Write an OCI image layout to a folder
    #[arg(short, long, value_name = "oci:DIR")]
    pub(in crate::cli) output: Option<String>,
    /// Rebuild images that exist
    #[arg(long)]
    pub(in crate::cli) force: bool,
    /// Move tags that point to other images
    ///
    /// Without it, a version that is published with different content is an error. With `--stage`, `merge`
    /// moves the tags.
    #[arg(long, requires = "to_registry")]
    pub(in crate::cli) overwrite: bool,
    /// List the images and build nothing
    #[arg(long, overrides_with = "no_dry_run")]
    pub(in crate::cli) dry_run: bool,
    /// Build; this is the default
    #[arg(long, overrides_with = "dry_run", hide = true)]
    pub(in crate::cli) no_dry_run: bool,
    /// Write images, tags and digests to FILE as JSON
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) metadata_file: Option<PathBuf>,
    /// Push by digest and set no tags; `merge` sets them
    ///
    /// For jobs that each build a part of the images. The images are built, checked and pushed.
    #[arg(long, conflicts_with_all = ["push", "output", "dry_run"], group = "to_registry")]
    pub(in crate::cli) stage: bool,
    /// With --stage, build the images for this platform only
    ///
    /// Other jobs stage the other platforms, each on a machine that needs no emulation. `merge` joins
    /// them into one image.
    // `requires` does not apply next to options that exclude the required one.
    #[arg(long, value_name = "OS/ARCH", requires = "stage", conflicts_with_all = ["push", "output", "dry_run"])]
    pub(in crate::cli) only_platform: Option<String>,
    /// Ignored, for older scripts: basegen never logs in
    #[arg(long, hide = true, overrides_with = "no_skip_login")]
    pub(in crate::cli) skip_login: bool,
    /// Ignored, for older scripts: their default
    #[arg(long, hide = true, overrides_with = "skip_login")]
    pub(in crate::cli) no_skip_login: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Running builds")]
pub(in crate::cli) struct RunningArgs {
    /// Concurrent builds
    #[arg(short, long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=512))]
    pub(in crate::cli) jobs: u16,
    /// Continue after failures; this is the default
    #[arg(long, overrides_with = "fail_fast")]
    pub(in crate::cli) keep_going: bool,
    /// Stop all builds when one fails
    #[arg(long, overrides_with = "keep_going")]
    pub(in crate::cli) fail_fast: bool,
    /// Do not use the build cache
    #[arg(long)]
    pub(in crate::cli) no_cache: bool,
    /// Build secret, such as `id=NAME,env=VARIABLE`
    ///
    /// Or `id=NAME,src=FILE`. Repeatable.
    #[arg(long, value_name = "SECRET")]
    pub(in crate::cli) secret: Vec<String>,
    /// Certificates (PEM) that build steps trust
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) ca_certificates: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) display: ProgressArgs,
}

/// The display of a run.
#[derive(Debug, Args)]
pub(in crate::cli) struct ProgressArgs {
    /// Progress display
    #[arg(long, value_enum, default_value_t = Progress::Auto, action = ArgAction::Set)]
    pub(in crate::cli) progress: Progress,
    /// Folder for the logs [default: a new one]
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) log_dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Progress {
    /// Live table on a terminal, groups under GitHub Actions, lines elsewhere
    Auto,
    /// Live table
    Tty,
    /// Lines
    Plain,
    /// One event a line
    Json,
    /// GitHub's groups and annotations
    Github,
}

/// The engine: that of Docker's settings by default.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Engine")]
pub(in crate::cli) struct EngineArgs {
    /// buildkitd to use instead of Docker
    ///
    /// `unix:///path` or `tcp://host:port`.
    #[arg(long, value_name = "URL")]
    pub(in crate::cli) builder: Option<String>,
    /// CA certificate of the buildkitd
    #[arg(long, value_name = "FILE", requires = "builder", requires = "builder_cert")]
    pub(in crate::cli) builder_ca: Option<PathBuf>,
    /// Client certificate for the buildkitd
    #[arg(long, value_name = "FILE", requires = "builder_ca", requires = "builder_key")]
    pub(in crate::cli) builder_cert: Option<PathBuf>,
    /// Private key of the client certificate
    #[arg(long, value_name = "FILE", requires = "builder_cert")]
    pub(in crate::cli) builder_key: Option<PathBuf>,
}

impl EngineArgs {
    /// Returns the request for the named engine, or else for the one of Docker's own settings.
    pub(in crate::cli) fn request(&self, context: &Context) -> EngineRequest {
        let builder_tls = match (&self.builder_ca, &self.builder_cert, &self.builder_key) {
            (Some(ca), Some(cert), Some(key)) => {
                Some(TlsFiles { ca: ca.clone(), cert: cert.clone(), key: key.clone() })
            }
            _ => None,
        };
        let environment = context.settings.engine.clone();
        EngineRequest { builder: self.builder.clone(), builder_tls, environment }
    }
}
