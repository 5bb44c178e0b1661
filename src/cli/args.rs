//! What can be said on the command line.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

/// Generate, build and publish matrices of base images.
///
/// Without a command, builds the selected variants: `basegen --python 3.11 --gpu --push`.
#[derive(Debug, Parser)]
#[command(name = "basegen", version, after_help = super::generate::EXIT_CODES)]
#[command(subcommand_help_heading = "Other commands", disable_help_subcommand = true)]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub(super) global: GlobalArgs,
    /// The main call.
    #[command(flatten)]
    pub(super) build: BuildArgs,
    /// Another command.
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show what would be built and what it would be called
    Plan(PlanArgs),
    /// Print the names of the images, one a line
    List(ListArgs),
    /// Write the Dockerfile, pinned by basegen.lock, and the context of each variant, or compare them
    Render(RenderArgs),
    /// Join what several jobs have staged with --stage, and publish it with --push
    ///
    /// Every variant must be in one of the files, or in its registry unchanged. Nothing is built,
    /// and no engine is needed.
    Merge(MergeArgs),
    /// Tell whether a release is still what it was published as
    Status(StatusArgs),
    /// List, or delete, what is kept of images that the matrix no longer makes
    Prune(PruneArgs),
    /// Pin the upstream images in basegen.lock to what registries have now
    Update(UpdateArgs),
    /// Raise the version, in every place that says it
    Bump(BumpArgs),
    /// Publish the whole matrix, and bring the repository in step with it
    ///
    /// What is published already is not published again, and no engine is needed then. Without
    /// --pr, the version is written to all its places in the working tree; with it, it is committed
    /// to a branch of its own, on top of what the base branch has on GitHub, and a pull request is
    /// opened, or the open one of this matrix is updated.
    Release(Box<ReleaseArgs>),
    /// Tell what is out of step: version, lock, generated files, and what registries have
    Check(CheckArgs),
    /// Tell whether the version and the images have changed since a git revision
    Changed(ChangedArgs),
    /// Tell why a variant is, or is not, in the matrix, and what it is made of
    Explain(ExplainArgs),
    /// Begin a repository: a matrix, its templates and a workflow, that build at once
    Init(InitArgs),
    /// Write the plan for other tools
    Export {
        #[command(subcommand)]
        command: ExportCommand,
    },
    /// See who basegen is to registries, and what that allows
    Auth {
        #[command(subcommand)]
        command: AuthCommand,
    },
    /// Print the JSON schema of matrix.toml
    Schema,
    /// Print a shell's completions
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write those of all commands
    Man {
        /// The folder to write to
        #[arg(value_name = "DIR")]
        folder: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(super) struct GlobalArgs {
    /// The matrix file
    #[arg(short, long = "file", value_name = "FILE", default_value = "matrix.toml", global = true)]
    pub(super) file: PathBuf,
    /// Say only what went wrong
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(super) quiet: bool,
    /// Show what the build steps write
    #[arg(short, long, global = true)]
    pub(super) verbose: bool,
}

/// Which variants; an axis that is not mentioned means all of its values.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Selecting variants")]
pub(super) struct SelectionArgs {
    /// A version or a range of them, such as `3.11` or `>=3.10,<3.13`; may be repeated
    #[arg(long, alias = "python-version", value_name = "VERSION")]
    pub(super) python: Vec<String>,
    /// Only variants with GPU support
    #[arg(long)]
    pub(super) gpu: bool,
    /// Only variants without GPU support
    #[arg(long)]
    pub(super) no_gpu: bool,
    /// The older spelling of --gpu and --no-gpu
    #[arg(long, value_name = "y|n|both", value_parser = switch_values(), hide = true,
        conflicts_with_all = ["gpu", "no_gpu"])]
    pub(super) use_gpu: Option<String>,
    /// Only variants with live reload; `n` and `both` are understood too
    #[arg(
        long, value_name = "y|n|both", value_parser = switch_values(),
        num_args = 0..=1, default_missing_value = "y"
    )]
    pub(super) live_reload: Option<String>,
    /// Only variants without live reload
    #[arg(long)]
    pub(super) no_live_reload: bool,
    /// A job type, such as `server`; may be repeated
    #[arg(long, value_name = "TYPE")]
    pub(super) job_type: Vec<String>,
    /// Only variants with this value on any axis: `cuda=12.8`, `torch>=2.4`; may be repeated
    #[arg(long, value_name = "AXIS=VALUE")]
    pub(super) only: Vec<String>,
    /// No variants with this value, or with all of several: `gpu=true,python=3.9`; may be repeated
    #[arg(long, value_name = "AXIS=VALUE")]
    pub(super) exclude: Vec<String>,
    /// Only the variant of this id, as `plan` lists them; may be repeated, or several joined by
    /// commas
    #[arg(long, value_name = "ID")]
    pub(super) variant: Vec<String>,
}

fn switch_values() -> PossibleValuesParser {
    PossibleValuesParser::new(["y", "n", "both"])
}

/// What the images are called.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Naming images")]
pub(super) struct NamingArgs {
    /// The version in tags, instead of the one that `[version]` tells of
    #[arg(long, value_name = "VERSION")]
    pub(super) version_tag: Option<String>,
    /// The registry, instead of the matrix' own
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(super) registry: Option<String>,
    /// The repository, instead of the matrix' own; `{{axis}}` stands for a value
    #[arg(long, value_name = "REPOSITORY")]
    pub(super) repository: Option<String>,
    /// A platform to build for, instead of the matrix' own; may be repeated
    #[arg(long, value_name = "OS/ARCH", value_delimiter = ',')]
    pub(super) platform: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    pub(super) selection: SelectionArgs,
    #[command(flatten)]
    pub(super) naming: NamingArgs,
    /// Show only the variants whose images differ from those at a git revision, and why; needs no
    /// engine and no network
    #[arg(long, value_name = "REV")]
    pub(super) since: Option<String>,
    /// How the plan is written
    #[arg(long, value_enum, default_value_t = PlanFormat::Table)]
    pub(super) format: PlanFormat,
    /// Do not ask the registries what is published
    #[arg(long)]
    pub(super) offline: bool,
    /// With `--format github`: among how many jobs at most the variants are divided [default: one
    /// for every eight, at most 20]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(super) shards: Option<u16>,
}

#[derive(Debug, Args)]
pub(super) struct MergeArgs {
    /// What `--stage --metadata-file` wrote, one file for each job
    #[arg(value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
    /// Give the images their names: version tags, aliases, the release set
    #[arg(long)]
    pub(super) push: bool,
    /// Move tags of the version that stand for other images
    #[arg(long, requires = "push")]
    pub(super) overwrite: bool,
    /// Write the joined metadata to FILE as JSON
    #[arg(long, value_name = "FILE")]
    pub(super) metadata_file: Option<PathBuf>,
    #[command(flatten)]
    pub(super) telling: TellingArgs,
    #[command(flatten)]
    pub(super) selection: SelectionArgs,
    #[command(flatten)]
    pub(super) naming: NamingArgs,
}

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// The version of the release [default: the one that `[version]` tells of]
    #[arg(value_name = "VERSION", conflicts_with = "version_tag")]
    pub(super) version: Option<String>,
    #[command(flatten)]
    pub(super) naming: NamingArgs,
    /// How the findings are written
    #[arg(long, value_enum, default_value_t = TextFormat::Table)]
    pub(super) format: TextFormat,
}

#[derive(Debug, Args)]
pub(super) struct PruneArgs {
    /// Delete what is listed
    #[arg(long)]
    pub(super) yes: bool,
    /// The registry, instead of the matrix' own
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(super) registry: Option<String>,
    /// The repository, instead of the matrix' own; `{{axis}}` stands for a value
    #[arg(long, value_name = "REPOSITORY")]
    pub(super) repository: Option<String>,
    #[command(flatten)]
    pub(super) engine: EngineArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum TextFormat {
    /// For people
    Table,
    /// For programs
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum PlanFormat {
    /// For people
    Table,
    /// For documents
    Markdown,
    /// For programs
    Json,
    /// For GitHub Actions: what must be built, divided among jobs, as outputs of the step
    Github,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    pub(super) selection: SelectionArgs,
    #[command(flatten)]
    pub(super) naming: NamingArgs,
}

#[derive(Debug, Args)]
pub(super) struct RenderArgs {
    #[command(flatten)]
    pub(super) selection: SelectionArgs,
    /// Write each variant to DIR/<variant>/; without it, print the Dockerfiles
    #[arg(short, long, value_name = "DIR")]
    pub(super) output: Option<PathBuf>,
    /// Write nothing; compare with what DIR holds, and fail where it differs
    #[arg(long, value_name = "DIR", conflicts_with = "output")]
    pub(super) check: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// The folder of the repository; it is made where it is not there
    #[arg(value_name = "DIR", default_value = ".")]
    pub(super) folder: PathBuf,
    /// Take over what this asks for: Truss' config.yaml, a cerebrium.toml, or a Dockerfile; may be
    /// repeated, for an image each
    #[arg(long, value_name = "FILE")]
    pub(super) from: Vec<PathBuf>,
    /// Write over files that are there
    #[arg(long)]
    pub(super) force: bool,
    /// Write nothing, and say what would be written
    #[arg(long)]
    pub(super) dry_run: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum ExportCommand {
    /// A file for `docker buildx bake`, which builds the images to the same digests on the same engine
    ///
    /// Without a target, bake builds the images, and pushes them with `--push`; `bake check` runs
    /// the checks of `[[verify]]`. The file on stdout takes its files from the templates' folder:
    /// `basegen export bake | docker buildx bake -f -`.
    Bake(ExportBakeArgs),
    /// The jobs of a release for GitHub Actions, as `plan --format github` writes them
    Github(ExportGithubArgs),
    /// The same document as that of `plan --format json`
    Json(ExportJsonArgs),
}

#[derive(Debug, Args)]
pub(super) struct ExportBakeArgs {
    #[command(flatten)]
    pub(super) selection: SelectionArgs,
    #[command(flatten)]
    pub(super) naming: NamingArgs,
    /// Write docker-bake.json and all that it needs to DIR, in which bake is then called; without
    /// it, print the file
    #[arg(short, long, value_name = "DIR")]
    pub(super) output: Option<PathBuf>,
    /// Do not ask registries for the upstream images that basegen.lock does not pin
    #[arg(long)]
    pub(super) offline: bool,
}

#[derive(Debug, Args)]
pub(super) struct ExportGithubArgs {
    #[command(flatten)]
    pub(super) selection: SelectionArgs,
    #[command(flatten)]
    pub(super) naming: NamingArgs,
    /// Only the variants whose images differ from those at a git revision; needs no engine and no
    /// network
    #[arg(long, value_name = "REV")]
    pub(super) since: Option<String>,
    /// Do not ask the registries what is published
    #[arg(long)]
    pub(super) offline: bool,
    /// Among how many jobs at most the variants are divided [default: one for every eight, at
    /// most 20]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(super) shards: Option<u16>,
}

#[derive(Debug, Args)]
pub(super) struct ExportJsonArgs {
    #[command(flatten)]
    pub(super) selection: SelectionArgs,
    #[command(flatten)]
    pub(super) naming: NamingArgs,
    /// Do not ask the registries what is published
    #[arg(long)]
    pub(super) offline: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum AuthCommand {
    /// Tell for each registry of the matrix which credential was found and what it allows
    ///
    /// The registries are those that the images are pushed to and those that their bases are
    /// pulled from. Nothing is pushed: an upload is begun and given up.
    Check(AuthCheckArgs),
}

#[derive(Debug, Args)]
pub(super) struct AuthCheckArgs {
    /// Only these registries
    #[arg(value_name = "HOST")]
    pub(super) hosts: Vec<String>,
    /// The registry to push to, instead of the matrix' own
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(super) registry: Option<String>,
    /// The repository to push to, instead of the matrix' own; `{{axis}}` stands for a value
    #[arg(long, value_name = "REPOSITORY")]
    pub(super) repository: Option<String>,
    /// How the answer is written
    #[arg(long, value_enum, default_value_t = AuthFormat::Table)]
    pub(super) format: AuthFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum AuthFormat {
    /// For people
    Table,
    /// For programs
    Json,
}

#[derive(Debug, Args)]
pub(super) struct UpdateArgs {
    /// Only these images, such as `python:3.11-slim-bookworm`, or all tags of `python`; the others
    /// stay pinned as they are
    #[arg(value_name = "IMAGE")]
    pub(super) images: Vec<String>,
    /// Write nothing, and fail if something would change
    #[arg(long)]
    pub(super) check: bool,
}

#[derive(Debug, Args)]
pub(super) struct BumpArgs {
    /// `patch`, `minor`, `major`, `prerelease`, or the new version itself
    #[arg(value_name = "LEVEL|VERSION")]
    pub(super) to: String,
    /// Which kind of pre-release [default: the kind that there is, or rc]; with `patch`, `minor`
    /// or `major`, the first one of the next version
    #[arg(long, value_enum, value_name = "KIND")]
    pub(super) pre: Option<PrereleaseKind>,
    /// Only if images have changed since the version was released, as the registries have them
    #[arg(long)]
    pub(super) if_changed: bool,
    /// With --if-changed: since this git revision, without asking the registries
    #[arg(long, value_name = "REV", requires = "if_changed")]
    pub(super) since: Option<String>,
    /// Take a VERSION that is lower than the one that is there
    #[arg(long)]
    pub(super) allow_downgrade: bool,
    /// Print the edits as a diff, and write nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// How the answer is written
    #[arg(long, value_enum, default_value_t = AnswerFormat::Text)]
    pub(super) format: AnswerFormat,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(super) struct ReleaseArgs {
    /// The version, or `patch`, `minor`, `major` or `prerelease` for the next one, if an image has
    /// changed since the present one was released [default: the one that `[version]` tells of]
    #[arg(value_name = "VERSION|LEVEL")]
    pub(super) to: Option<String>,
    /// Open a pull request, or update the open one, and leave the working tree as it is
    #[arg(long)]
    pub(super) pr: bool,
    /// The branch that the pull request is for [default: that of the matrix, or the repository's]
    #[arg(long, value_name = "BRANCH", requires = "pr")]
    pub(super) base: Option<String>,
    /// Open the pull request as a draft
    #[arg(long, requires = "pr")]
    pub(super) draft: bool,
    /// Write the text of the pull request, all of it, to FILE too
    #[arg(long, value_name = "FILE", requires = "pr")]
    pub(super) notes: Option<PathBuf>,
    /// Publish nothing and change nothing; print the diff, and what the pull request would say
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Move tags of the version that stand for other images
    #[arg(long)]
    pub(super) overwrite: bool,
    /// Write what was built, with the digest of every tag, to FILE as JSON
    #[arg(long, value_name = "FILE")]
    pub(super) metadata_file: Option<PathBuf>,
    #[command(flatten)]
    pub(super) running: RunningArgs,
    #[command(flatten)]
    pub(super) engine: EngineArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum PrereleaseKind {
    /// 1.2.3-dev.1, 1.2.3.dev1
    Dev,
    /// 1.2.3-alpha.1, 1.2.3a1
    Alpha,
    /// 1.2.3-beta.1, 1.2.3b1
    Beta,
    /// 1.2.3-rc.1, 1.2.3rc1
    Rc,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum AnswerFormat {
    /// For people
    Text,
    /// For programs
    Json,
    /// Outputs of a step of GitHub Actions, to the file that `GITHUB_OUTPUT` names, or printed
    Github,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(super) struct CheckArgs {
    /// Ask no registry
    #[arg(long)]
    pub(super) offline: bool,
    /// Write the generated files, and pin what is not pinned, before looking
    #[arg(long)]
    pub(super) fix: bool,
    /// Find fault with upstream images that moved since they were pinned
    #[arg(long, conflicts_with = "offline")]
    pub(super) strict: bool,
    /// Find fault with a version that is not released
    #[arg(long, conflicts_with = "offline")]
    pub(super) released: bool,
    /// How the findings are written
    #[arg(long, value_enum, default_value_t = FindingsFormat::Text)]
    pub(super) format: FindingsFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum FindingsFormat {
    /// For people, one a line; under GitHub Actions annotations beside them
    Text,
    /// For programs
    Json,
    /// GitHub's annotations
    Github,
}

#[derive(Debug, Args)]
pub(super) struct ChangedArgs {
    /// The commit, branch or tag to compare with
    #[arg(long, value_name = "REV")]
    pub(super) since: String,
    /// Exit with 8 if anything has changed
    #[arg(long)]
    pub(super) exit_code: bool,
    /// How the answer is written
    #[arg(long, value_enum, default_value_t = AnswerFormat::Text)]
    pub(super) format: AnswerFormat,
}

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// A variant as `plan` lists it, the tag of an image or a part of it, an image's whole name, or
    /// `axis=value`, several joined by commas
    #[arg(value_name = "NAME")]
    pub(super) name: String,
    #[command(flatten)]
    pub(super) naming: NamingArgs,
}

#[derive(Debug, Args)]
pub(super) struct BuildArgs {
    #[command(flatten)]
    pub(super) selection: SelectionArgs,
    #[command(flatten)]
    pub(super) naming: NamingArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
    #[command(flatten)]
    pub(super) running: RunningArgs,
    #[command(flatten)]
    pub(super) engine: EngineArgs,
}

/// Where the images go: into the engine, unless one of these is given.
#[derive(Debug, Default, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[command(next_help_heading = "Where images go")]
pub(super) struct OutputArgs {
    /// Push the images to their registry
    #[arg(long, conflicts_with = "output", overrides_with = "no_push")]
    pub(super) push: bool,
    /// Then open a pull request that brings the repository in step with the release, or update the
    /// open one; as `basegen release --pr`
    #[arg(long, requires = "push")]
    pub(super) pr: bool,
    /// Do not push; this is the default
    #[arg(long, overrides_with = "push", hide = true)]
    pub(super) no_push: bool,
    /// Write an OCI image layout to a folder: `oci:DIR`
    #[arg(short, long, value_name = "oci:DIR")]
    pub(super) output: Option<String>,
    /// Build every variant, even those whose image is there already
    #[arg(long)]
    pub(super) force: bool,
    /// Move tags of the version that stand for other images
    #[arg(long, requires = "push")]
    pub(super) overwrite: bool,
    /// Print the names of the images that would be built, and build nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Write what was built, with the digest of every tag, to FILE as JSON
    #[arg(long, value_name = "FILE")]
    pub(super) metadata_file: Option<PathBuf>,
    /// Build, check and push by digest, and name nothing: `merge` does so for several jobs at once
    #[arg(long, conflicts_with_all = ["push", "output", "dry_run"])]
    pub(super) stage: bool,
    /// Understood for the sake of older scripts: basegen never logs in, it uses Docker's credentials
    #[arg(long, hide = true)]
    pub(super) skip_login: bool,
}

/// How the run goes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Running builds")]
pub(super) struct RunningArgs {
    /// How many variants are built at a time
    #[arg(short, long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=512))]
    pub(super) jobs: u16,
    /// Go on when a variant fails, and report all failures at the end; this is the default
    #[arg(long, overrides_with = "fail_fast")]
    pub(super) keep_going: bool,
    /// Stop all builds when one fails
    #[arg(long, overrides_with = "keep_going")]
    pub(super) fail_fast: bool,
    /// Run every step again, whatever the engine has kept
    #[arg(long)]
    pub(super) no_cache: bool,
    /// A secret for build steps: `id=NAME,env=VARIABLE` or `id=NAME,src=FILE`; may be repeated
    #[arg(long, value_name = "SECRET")]
    pub(super) secret: Vec<String>,
    /// Certificates that build steps trust while they use the network, as a PEM file
    #[arg(long, value_name = "FILE")]
    pub(super) ca_certificates: Option<PathBuf>,
    #[command(flatten)]
    pub(super) telling: TellingArgs,
}

/// How a run is told while it goes on.
#[derive(Debug, Args)]
pub(super) struct TellingArgs {
    /// How progress is shown
    #[arg(long, value_enum, default_value_t = Progress::Auto, action = ArgAction::Set)]
    pub(super) progress: Progress,
    /// The folder for the full log of each variant [default: a new one for each run]
    #[arg(long, value_name = "DIR")]
    pub(super) log_dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Progress {
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
pub(super) struct EngineArgs {
    /// A buildkitd instead of Docker: `unix:///path` or `tcp://host:port`
    #[arg(long, value_name = "URL")]
    pub(super) builder: Option<String>,
    /// The authority that signed the buildkitd's certificate
    #[arg(long, value_name = "FILE", requires = "builder", requires = "builder_cert")]
    pub(super) builder_ca: Option<PathBuf>,
    /// The certificate to show to the buildkitd
    #[arg(long, value_name = "FILE", requires = "builder_ca", requires = "builder_key")]
    pub(super) builder_cert: Option<PathBuf>,
    /// Its private key
    #[arg(long, value_name = "FILE", requires = "builder_cert")]
    pub(super) builder_key: Option<PathBuf>,
}
