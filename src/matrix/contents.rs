//! The contents of images without a Dockerfile of their own.
//!
//! [`Matrix::contents`] combines the tables of a variant to [`Contents`], from which [`crate::render`] generates a
//! Dockerfile. Packages, files and variables are merged by their names, commands are appended, and other settings are
//! replaced.

use indexmap::IndexMap;

use super::command::CheckCommand;
use super::content_settings::{
    ContentSettings, CopiedFile, Healthcheck, PackageItem, PackageManager,
};
use super::facts::FactSource;
use super::model::{Matrix, Variant};
use super::pattern::Pattern;
use super::spanned::Spanned;

/// The base image of a variant whose matrix has an axis `python`, and of others.
const PYTHON_BASE: &str = "python:{{python}}-slim-bookworm";
const OTHER_BASE: &str = "debian:bookworm-slim";

/// The contents of a variant. Each text has its location in the matrix file.
#[derive(Debug)]
pub struct Contents<'a> {
    pub base: Text,
    pub pre_build_commands: Vec<Text>,
    pub apt: Vec<PackageLayer<'a>>,
    pub conda: Vec<PackageLayer<'a>>,
    pub libraries: Vec<PackageLayer<'a>>,
    pub pip: Vec<PackageLayer<'a>>,
    pub files: Vec<CopiedFile<Text>>,
    pub shell_commands: Vec<Text>,
    /// Names and values.
    pub env: Vec<(String, Text)>,
    pub user: Option<Text>,
    pub workdir: Option<Text>,
    pub entrypoint: Option<CheckCommand<Text>>,
    pub cmd: Option<CheckCommand<Text>>,
    pub expose: Vec<Text>,
    pub healthcheck: Option<Healthcheck<Text>>,
}

/// A text and its location in the matrix file.
pub type Text = Spanned<String>;

/// The packages that one table of the matrix file adds to a variant.
#[derive(Debug, PartialEq, Eq)]
pub struct PackageLayer<'a> {
    pub source: FactSource<'a>,
    /// The place of the table among those of the variant.
    pub table: usize,
    /// Packages, files with packages, and options, in the order of the file.
    pub items: Vec<PackageItem<Text>>,
}

impl PackageLayer<'_> {
    /// Returns true if the layer installs something.
    #[must_use]
    pub fn installs(&self) -> bool {
        self.items.iter().any(PackageItem::is_package)
    }
}

impl Contents<'_> {
    /// Returns the layers of packages of a package manager.
    #[must_use]
    pub fn packages(&self, manager: PackageManager) -> &[PackageLayer<'_>] {
        match manager {
            PackageManager::Apt => &self.apt,
            PackageManager::Conda => &self.conda,
            PackageManager::Libraries => &self.libraries,
            PackageManager::Pip => &self.pip,
        }
    }
}

impl Matrix {
    /// Returns what goes into the image of a variant that has no Dockerfile of its own.
    #[must_use]
    pub fn contents<'a>(&'a self, variant: &'a Variant) -> Contents<'a> {
        let tables: Vec<(FactSource<'a>, &'a ContentSettings)> = self.content_tables(variant);
        let fill = |pattern: &Pattern| self.filled(variant, pattern);
        let command = |command: &CheckCommand<Pattern>| command.map(fill);
        let all = || tables.iter().map(|(_, table)| *table);
        let base = all().rev().find_map(|table| table.base.as_ref());
        let mut files: IndexMap<&str, Option<&CopiedFile<Pattern>>> = IndexMap::new();
        let mut env: IndexMap<&str, &Pattern> = IndexMap::new();
        for table in all() {
            files.extend(table.files.iter().map(|(key, file)| (key.as_str(), file.as_ref())));
            env.extend(table.env.iter().map(|(name, value)| (name.as_str(), value)));
        }
        let packages = |manager| layers(&tables, manager, &fill);
        Contents {
            base: base.map_or_else(|| self.default_base(variant), fill),
            pre_build_commands: all()
                .flat_map(|table| &table.pre_build_commands)
                .map(fill)
                .collect(),
            apt: packages(PackageManager::Apt),
            conda: packages(PackageManager::Conda),
            libraries: packages(PackageManager::Libraries),
            pip: packages(PackageManager::Pip),
            files: files.into_values().flatten().map(|file| file.map(fill)).collect(),
            shell_commands: all().flat_map(|table| &table.shell_commands).map(fill).collect(),
            env: env.into_iter().map(|(name, value)| (name.to_owned(), fill(value))).collect(),
            user: all().rev().find_map(|table| table.user.as_ref()).map(fill),
            workdir: all().rev().find_map(|table| table.workdir.as_ref()).map(fill),
            entrypoint: all().rev().find_map(|table| table.entrypoint.as_ref()).map(command),
            cmd: all().rev().find_map(|table| table.cmd.as_ref()).map(command),
            expose: all()
                .rev()
                .find_map(|table| table.expose.as_ref())
                .map(|ports| ports.iter().map(fill).collect())
                .unwrap_or_default(),
            healthcheck: all().rev().find_map(|table| table.healthcheck.as_ref()).map(|check| {
                match check {
                    Healthcheck::None => Healthcheck::None,
                    Healthcheck::Run { command: run, flags } => {
                        Healthcheck::Run { command: command(run), flags: flags.clone() }
                    }
                }
            }),
        }
    }

    fn default_base(&self, variant: &Variant) -> Text {
        let base = if self.axis("python").is_some() { PYTHON_BASE } else { OTHER_BASE };
        self.filled(variant, &Pattern::parse(base).expect("the default is a pattern"))
    }

    /// Replaces the placeholders of a text, as in checks.
    fn filled(&self, variant: &Variant, pattern: &Pattern) -> Text {
        let text = pattern.fill(|name| self.check_part(variant, name));
        Spanned::new(pattern.span().unwrap_or_default(), text)
    }
}

/// Combines the packages of tables to one layer for each table that adds some. A layer does not contain packages that a later one
/// replaces or removes. Options of a table without packages belong to the first layer.
fn layers<'a>(
    tables: &[(FactSource<'a>, &'a ContentSettings)],
    manager: PackageManager,
    fill: &impl Fn(&Pattern) -> Text,
) -> Vec<PackageLayer<'a>> {
    // The number of the table that adds a package, by the key of the package.
    let mut owners: IndexMap<&str, usize> = IndexMap::new();
    for (number, (_, table)) in tables.iter().enumerate() {
        owners.extend(table.packages(manager).keys().map(|key| (key.as_str(), number)));
    }
    let mut layers: Vec<PackageLayer<'a>> = Vec::new();
    let mut options = Vec::new();
    for (number, (source, table)) in tables.iter().enumerate() {
        let own = table.packages(manager).iter().filter(|(key, _)| owners[key.as_str()] == number);
        let items = own.filter_map(|(_, items)| items.as_ref()).flatten();
        let layer = PackageLayer {
            source: source.clone(),
            table: number,
            items: items.map(|item| item.map(fill)).collect(),
        };
        if layer.installs() {
            layers.push(layer);
        } else {
            options.extend(layer.items);
        }
    }
    if let Some(first) = layers.first_mut() {
        first.items.splice(0..0, options);
    }
    layers
}
