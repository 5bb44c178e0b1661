//! The contents in one table of the matrix file: packages, files, commands and the configuration of containers.
//!
//! `packages` parses packages, and `validate` the other settings. [`super::contents`] combines the tables of a variant.

mod packages;
mod validate;

pub use packages::{PackageItem, PackageManager};

use indexmap::IndexMap;

use super::command::CheckCommand;
use super::pattern::Pattern;

/// The contents in one table of the matrix file.
#[derive(Debug, Clone, Default)]
pub(super) struct ContentSettings {
    pub(super) base: Option<Pattern>,
    pub(super) pre_build_commands: Vec<Pattern>,
    pub(super) apt: Packages,
    pub(super) conda: Packages,
    pub(super) libraries: Packages,
    pub(super) pip: Packages,
    /// Paths in images by path in the build context. `None` removes a file.
    pub(super) files: IndexMap<String, Option<CopiedFile<Pattern>>>,
    pub(super) shell_commands: Vec<Pattern>,
    pub(super) env: IndexMap<String, Pattern>,
    pub(super) user: Option<Pattern>,
    pub(super) workdir: Option<Pattern>,
    pub(super) entrypoint: Option<CheckCommand<Pattern>>,
    pub(super) cmd: Option<CheckCommand<Pattern>>,
    pub(super) expose: Option<Vec<Pattern>>,
    pub(super) healthcheck: Option<Healthcheck<Pattern>>,
}

/// The packages in one table, by the key under which later tables replace them. `None` removes a package.
pub(super) type Packages = IndexMap<String, Option<Vec<PackageItem<Pattern>>>>;

/// A file of the build context and its path in an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopiedFile<T> {
    /// The path in the build context.
    pub from: T,
    /// The path in the image; `None` for the same path below the working directory.
    pub to: Option<T>,
}

/// A health check. Durations are as in a Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Healthcheck<T> {
    /// Not even that of the base image.
    None,
    Run {
        command: CheckCommand<T>,
        /// The flags of the instruction, such as `--interval=30s`.
        flags: Vec<String>,
    },
}

impl ContentSettings {
    pub(super) fn packages(&self, manager: PackageManager) -> &Packages {
        match manager {
            PackageManager::Apt => &self.apt,
            PackageManager::Conda => &self.conda,
            PackageManager::Libraries => &self.libraries,
            PackageManager::Pip => &self.pip,
        }
    }

    /// Returns all texts with placeholders.
    pub(super) fn patterns(&self) -> Vec<&Pattern> {
        let mut patterns: Vec<&Pattern> =
            [&self.base, &self.user, &self.workdir].into_iter().flatten().collect();
        patterns.extend(self.pre_build_commands.iter().chain(&self.shell_commands));
        let packages =
            PackageManager::ALL.into_iter().flat_map(|manager| self.packages(manager).values());
        for item in packages.flatten().flatten() {
            patterns.extend(item.text());
        }
        for file in self.files.values().flatten() {
            patterns.push(&file.from);
            patterns.extend(&file.to);
        }
        patterns.extend(self.env.values());
        let healthcheck = self.healthcheck.as_ref().and_then(|check| match check {
            Healthcheck::Run { command, .. } => Some(command),
            Healthcheck::None => None,
        });
        for command in
            [self.entrypoint.as_ref(), self.cmd.as_ref(), healthcheck].into_iter().flatten()
        {
            patterns.extend(command.words());
        }
        patterns.extend(self.expose.iter().flatten());
        patterns
    }
}

impl<T> CopiedFile<T> {
    pub(super) fn map<U>(&self, convert: impl Fn(&T) -> U) -> CopiedFile<U> {
        CopiedFile { from: convert(&self.from), to: self.to.as_ref().map(&convert) }
    }
}
