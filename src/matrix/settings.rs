//! The settings of images that `[image]`, a value of an axis, a `[[set]]` and an `[[extra]]` can all have.
//!
//! [`Settings`] are those of one table. [`Matrix::settings`](super::Matrix::settings) combines the tables that apply to
//! a variant.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use indexmap::IndexMap;

use super::checker::Checker;
use super::content_settings::ContentSettings;
use super::contracts::Contract;
use super::diagnostic::SourceFile;
use super::dockerfile::Dockerignore;
use super::pattern::Pattern;
use super::placeholders::PatternKind;
use super::safe;
use super::schema::{CompressionEntry, CompressionTable, SettingKeys};
use super::spanned::{Span, Spanned};
use super::variables::TableVariables;
use crate::image::{Compression, CompressionAlgorithm, Platform, Size};

/// The variables and settings of one table of the matrix file. `None` and empty maps are settings that it does not have.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub(super) variables: TableVariables,
    pub repository: Option<Pattern>,
    pub tag: Option<Pattern>,
    /// The path of the Dockerfile template in the folder of the templates, or a name for the text.
    pub dockerfile: Option<Pattern>,
    /// The text of the Dockerfile template, if the matrix file contains it.
    pub dockerfile_text: Option<Arc<SourceFile>>,
    /// The stage that is the image.
    pub target: Option<Pattern>,
    /// The build arguments.
    pub args: BTreeMap<String, Pattern>,
    /// The folder that images copy files from, relative to the matrix file.
    pub context: Option<Pattern>,
    pub dockerignore: Option<Dockerignore>,
    /// The image that is copied instead of being built.
    pub mirror: Option<Pattern>,
    /// The platforms, before values of axes limit them.
    pub platforms: Option<Vec<Platform>>,
    pub labels: BTreeMap<String, Pattern>,
    pub compression: Option<Compression>,
    pub force_compression: Option<bool>,
    pub contracts: Option<Vec<Contract>>,
    /// The GPU architectures that all CUDA libraries must support, such as 90 for compute capability 9.0.
    pub require_sm: Option<Vec<Spanned<u16>>>,
    /// The architectures that a release may lose, such as `50` or `90a`.
    pub drop_sm: Option<Vec<String>>,
    /// The largest compressed size of an image for one platform.
    pub max_size: Option<Size>,
    /// What goes into images without a Dockerfile of their own.
    pub(super) contents: ContentSettings,
    /// The keys of the table, without `variables`, and the locations of their values.
    pub(super) written: Vec<(&'static str, Span)>,
}

impl Settings {
    /// Returns true if the table has neither variables nor settings.
    pub(super) fn is_empty(&self) -> bool {
        self.variables.is_empty() && self.written.is_empty()
    }
}

/// The settings that are texts with placeholders. Labels are texts too.
pub(super) const TEXTS: [fn(&Settings) -> Option<&Pattern>; 6] = [
    |settings| settings.repository.as_ref(),
    |settings| settings.tag.as_ref(),
    |settings| settings.dockerfile.as_ref(),
    |settings| settings.target.as_ref(),
    |settings| settings.context.as_ref(),
    |settings| settings.mirror.as_ref(),
];

/// The prefix of the labels that basegen sets itself.
const OWN_LABELS: &str = "dev.basegen.";

impl Checker<'_> {
    /// Validates the settings of a table, which has these `variables`.
    pub(super) fn settings(
        &mut self,
        keys: &SettingKeys<'_>,
        variables: TableVariables,
    ) -> Settings {
        let mut pattern =
            |text: Option<&Spanned<String>>, kind| text.map(|text| self.pattern(text, kind));
        let repository = pattern(keys.repository, PatternKind::Image);
        let tag = pattern(keys.tag, PatternKind::Tag);
        let target = pattern(keys.target, PatternKind::Image);
        let mirror = pattern(keys.mirror, PatternKind::Image);
        let dockerfile = keys.dockerfile.map(|text| self.dockerfile(text));
        let (dockerfile, dockerfile_text) = dockerfile.unzip();
        self.mirror(keys);
        if let Some(repository) = keys.repository {
            self.check_scheme(repository);
        }
        Settings {
            variables,
            repository,
            tag,
            dockerfile,
            dockerfile_text: dockerfile_text.flatten(),
            target,
            args: keys.args.map(|args| self.arguments(args)).unwrap_or_default(),
            context: keys.context.map(|path| self.context(path)),
            dockerignore: keys.dockerignore.map(|entry| self.dockerignore(entry)),
            mirror,
            platforms: keys.platforms.map(|platforms| self.platforms(platforms)),
            labels: keys.labels.map(|labels| self.labels(labels)).unwrap_or_default(),
            compression: keys.compression.map(|entry| self.compression(entry)),
            force_compression: keys.force_compression.map(|force| **force),
            contracts: keys.contracts.map(|contracts| contracts.get_ref().clone()),
            require_sm: keys.require_sm.map(|names| self.required(names)),
            drop_sm: keys.drop_sm.map(|names| self.dropped(names)),
            max_size: keys.max_size.and_then(|text| self.size(text)),
            contents: self.contents(keys),
            written: keys.written(),
        }
    }

    pub(super) fn platforms(&mut self, platforms: &Spanned<Vec<Spanned<String>>>) -> Vec<Platform> {
        if platforms.is_empty() {
            let label = "add one, such as \"linux/amd64\"";
            self.report(platforms.span(), "`platforms` is empty", label);
        }
        let mut parsed: Vec<Platform> = Vec::new();
        for text in platforms.iter() {
            match Platform::from_str(text) {
                Ok(platform) if parsed.contains(&platform) => {
                    let message = format!("platform `{platform}` is listed twice");
                    self.report(text.span(), message, "duplicate");
                }
                Ok(platform) => parsed.push(platform),
                Err(error) => {
                    self.report(text.span(), error.to_string(), "invalid platform");
                }
            }
        }
        parsed
    }

    fn labels(
        &mut self,
        table: &IndexMap<Spanned<String>, Spanned<String>>,
    ) -> BTreeMap<String, Pattern> {
        let mut labels = BTreeMap::new();
        for (name, text) in table {
            let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
            if name.is_empty() || !name.bytes().all(is_word) {
                let message = format!("`{}` is not a valid label name", name.escape_debug());
                let label = "expected letters, digits, `.`, `_`, `-` and `/`";
                self.report(name.span(), message, label);
            }
            if name.starts_with(OWN_LABELS) {
                let message = format!("the label `{}` is reserved", **name);
                let label = format!("basegen sets the labels `{OWN_LABELS}…`");
                self.report(name.span(), message, label);
            }
            if text.chars().any(safe::is_invisible) {
                let message = format!("the label `{}` contains an invisible character", **name);
                self.report(text.span(), message, "expected one line of text");
            }
            labels.insert(name.to_string(), self.pattern(text, PatternKind::Image));
        }
        labels
    }

    fn compression(&mut self, entry: &Spanned<CompressionEntry>) -> Compression {
        let (algorithm, level) = match entry.get_ref() {
            CompressionEntry::Algorithm(algorithm) => (*algorithm, None),
            CompressionEntry::Table(CompressionTable { algorithm, level }) => (*algorithm, *level),
        };
        let highest: u8 = match algorithm {
            CompressionAlgorithm::Zstd => 22,
            CompressionAlgorithm::Gzip | CompressionAlgorithm::Estargz => 9,
            CompressionAlgorithm::Uncompressed => 0,
        };
        if level.is_some_and(|level| !(0..=i64::from(highest)).contains(&level)) {
            let label = format!("expected a level from 0 to {highest}");
            self.report(entry.span(), "the compression level is out of range", label);
        }
        let level = level.and_then(|level| u8::try_from(level).ok());
        Compression { algorithm, level, force: false }
    }
}
