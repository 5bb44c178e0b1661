//! The main call, and what other commands have in common with it.

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

/// Which variants; an axis that is not mentioned means all of its values.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Selecting variants")]
pub(in crate::cli) struct SelectionArgs {
    /// A version or a range of them, such as `3.11` or `>=3.10,<3.13`; may be repeated
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
    /// Only variants with live reload; `n` and `both` are understood too
    #[arg(
        long, value_name = "y|n|both", value_parser = switch_values(),
        num_args = 0..=1, default_missing_value = "y"
    )]
    pub(in crate::cli) live_reload: Option<String>,
    /// Only variants without live reload
    #[arg(long)]
    pub(in crate::cli) no_live_reload: bool,
    /// A job type, such as `server`; may be repeated
    #[arg(long, value_name = "TYPE")]
    pub(in crate::cli) job_type: Vec<String>,
    /// Only variants with this value on any axis: `cuda=12.8`, `torch>=2.4`; may be repeated
    #[arg(long, value_name = "AXIS=VALUE")]
    pub(in crate::cli) only: Vec<String>,
    /// No variants with this value, or with all of several: `gpu=true,python=3.9`; may be repeated
    #[arg(long, value_name = "AXIS=VALUE")]
    pub(in crate::cli) exclude: Vec<String>,
    /// Only the variant of this id, as `plan` lists them; may be repeated, or several joined by
    /// commas
    #[arg(long, value_name = "ID")]
    pub(in crate::cli) variant: Vec<String>,
}

fn switch_values() -> PossibleValuesParser {
    PossibleValuesParser::new(["y", "n", "both"])
}

/// What the images are called.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Naming images")]
pub(in crate::cli) struct NamingArgs {
    /// The version in tags, instead of the one in `[version]`; without a value, the latter
    #[arg(long, value_name = "VERSION")]
    #[expect(clippy::option_option, reason = "the flag may be given without a value")]
    pub(in crate::cli) version_tag: Option<Option<String>>,
    /// The registry, instead of the matrix' own
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(in crate::cli) registry: Option<String>,
    /// The repository, instead of the matrix' own; `{{axis}}` stands for a value
    #[arg(long, value_name = "REPOSITORY")]
    pub(in crate::cli) repository: Option<String>,
    /// A platform to build for, instead of the matrix' own; may be repeated
    #[arg(long, value_name = "OS/ARCH", value_delimiter = ',')]
    pub(in crate::cli) platform: Vec<String>,
}

impl NamingArgs {
    /// The version that takes the place of the matrix' own.
    pub(in crate::cli) fn custom_version(&self) -> Option<&str> {
        self.version_tag.as_ref()?.as_deref()
    }
}

/// Where the images go: into the engine, unless one of these is given.
#[derive(Debug, Default, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[command(next_help_heading = "Where images go")]
pub(in crate::cli) struct OutputArgs {
    /// Push the images to their registry
    #[arg(long, conflicts_with = "output", overrides_with = "no_push", group = "to_registry")]
    pub(in crate::cli) push: bool,
    /// Then open a pull request that brings the repository in step with the release, or update the
    /// open one; as `basegen release --pr`
    #[arg(long, requires = "push")]
    pub(in crate::cli) pr: bool,
    /// Do not push; this is the default
    #[arg(long, overrides_with = "push", hide = true)]
    pub(in crate::cli) no_push: bool,
    /// Write an OCI image layout to a folder: `oci:DIR`
    #[arg(short, long, value_name = "oci:DIR")]
    pub(in crate::cli) output: Option<String>,
    /// Build every variant, even those whose image is there already
    #[arg(long)]
    pub(in crate::cli) force: bool,
    /// Move tags of the version that point to other images; with `--stage`, leave that to `merge`
    #[arg(long, requires = "to_registry")]
    pub(in crate::cli) overwrite: bool,
    /// Print the names of the images that would be built, and build nothing
    #[arg(long, overrides_with = "no_dry_run")]
    pub(in crate::cli) dry_run: bool,
    /// Build; this is the default
    #[arg(long, overrides_with = "dry_run", hide = true)]
    pub(in crate::cli) no_dry_run: bool,
    /// Write what was built, with the digest of every tag, to FILE as JSON
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) metadata_file: Option<PathBuf>,
    /// Build, check and push by digest, and name nothing: `merge` does so for several jobs at once
    #[arg(long, conflicts_with_all = ["push", "output", "dry_run"], group = "to_registry")]
    pub(in crate::cli) stage: bool,
    /// Understood for the sake of older scripts: basegen never logs in, it uses Docker's credentials
    #[arg(long, hide = true, overrides_with = "no_skip_login")]
    pub(in crate::cli) skip_login: bool,
    /// The older script's default
    #[arg(long, hide = true, overrides_with = "skip_login")]
    pub(in crate::cli) no_skip_login: bool,
}

/// How the run goes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Running builds")]
pub(in crate::cli) struct RunningArgs {
    /// How many variants are built at a time
    #[arg(short, long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=512))]
    pub(in crate::cli) jobs: u16,
    /// Go on when a variant fails, and report all failures at the end; this is the default
    #[arg(long, overrides_with = "fail_fast")]
    pub(in crate::cli) keep_going: bool,
    /// Stop all builds when one fails
    #[arg(long, overrides_with = "keep_going")]
    pub(in crate::cli) fail_fast: bool,
    /// Run every step again, whatever the engine has kept
    #[arg(long)]
    pub(in crate::cli) no_cache: bool,
    /// A secret for build steps: `id=NAME,env=VARIABLE` or `id=NAME,src=FILE`; may be repeated
    #[arg(long, value_name = "SECRET")]
    pub(in crate::cli) secret: Vec<String>,
    /// Certificates that build steps trust while they use the network, as a PEM file
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) ca_certificates: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) telling: TellingArgs,
}

/// How a run is told while it goes on.
#[derive(Debug, Args)]
pub(in crate::cli) struct TellingArgs {
    /// How progress is shown
    #[arg(long, value_enum, default_value_t = Progress::Auto, action = ArgAction::Set)]
    pub(in crate::cli) progress: Progress,
    /// The folder for the full log of each variant [default: a new one for each run]
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) log_dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Progress {
    /// Bars on a terminal, groups under GitHub Actions, lines elsewhere
    Auto,
    /// Bars
    Tty,
    /// Lines
    Plain,
    /// One event a line
    Json,
    /// GitHub's groups and annotations
    Github,
}

/// Which engine builds: Docker's own settings, unless another is named.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Engine")]
pub(in crate::cli) struct EngineArgs {
    /// A buildkitd instead of Docker: `unix:///path` or `tcp://host:port`
    #[arg(long, value_name = "URL")]
    pub(in crate::cli) builder: Option<String>,
    /// The authority that signed the buildkitd's certificate
    #[arg(long, value_name = "FILE", requires = "builder", requires = "builder_cert")]
    pub(in crate::cli) builder_ca: Option<PathBuf>,
    /// The certificate to show to the buildkitd
    #[arg(long, value_name = "FILE", requires = "builder_ca", requires = "builder_key")]
    pub(in crate::cli) builder_cert: Option<PathBuf>,
    /// Its private key
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
