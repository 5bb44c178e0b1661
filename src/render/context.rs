use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::dockerfile::parse;
use super::places::TemplateLine;
use super::remote::{Unverified, unverified};
use super::secrets::mounted;
use super::steps::{Step, steps};
use super::upstream::{Pins, Upstream, pin};
use crate::image::Digest;

/// All that one build sends to the engine: a Dockerfile and the files that it copies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildContext {
    /// The rendered Dockerfile.
    pub dockerfile: String,
    /// The name under which errors speak of the Dockerfile, such as `server.Dockerfile`.
    pub dockerfile_name: String,
    /// The files, sorted by path. Variants that copy the same file share its bytes.
    pub files: Vec<ContextFile>,
    /// The images of others that the Dockerfile builds on, in the order in which it names them.
    pub upstreams: Vec<Upstream>,
    /// What it was rendered from.
    pub origin: Origin,
    /// For each line of the Dockerfile, the line of the template that it comes from.
    pub lines: Arc<[TemplateLine]>,
}

impl BuildContext {
    /// Pins those of its upstreams that have no digest yet and that `pins` knows, in the
    /// Dockerfile too: what is rendered is what is built.
    pub fn pin(&mut self, pins: &Pins) {
        if let Ok(instructions) = parse(&self.dockerfile) {
            let (dockerfile, upstreams) = pin(&self.dockerfile, &instructions, pins);
            self.dockerfile = dockerfile;
            self.upstreams = upstreams;
        }
    }

    /// The line of a template that line `number` of the Dockerfile, from 1, comes from. Unknown for
    /// lines that were not rendered, such as those of checks.
    #[must_use]
    pub fn template_line(&self, number: usize) -> Option<&TemplateLine> {
        // A pin may join the two lines of a continued name.
        let is_whole = self.dockerfile.lines().count() == self.lines.len();
        self.lines.get(number.checked_sub(1)?).filter(|_| is_whole)
    }

    /// Returns the sources of `ADD` without a checksum or commit, whose content is uncertain.
    #[must_use]
    pub fn unverified(&self) -> Vec<Unverified> {
        // Most Dockerfiles have none, and are not parsed once more.
        match self.upstreams.iter().any(Upstream::is_url) {
            true => parse(&self.dockerfile).map(|all| unverified(&all)).unwrap_or_default(),
            false => Vec::new(),
        }
    }

    /// The ids of the secrets that its steps mount.
    #[must_use]
    pub fn secrets(&self) -> BTreeSet<String> {
        parse(&self.dockerfile).map(|instructions| mounted(&instructions)).unwrap_or_default()
    }

    /// The steps that the image needs, in an order without meaning.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        steps(&self.dockerfile)
    }
}

/// One file of a [`BuildContext`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextFile {
    /// Relative to the context's root, with `/` between its parts.
    pub path: String,
    /// Whether it may be executed: it is sent with mode 0755, otherwise 0644.
    pub executable: bool,
    /// Its bytes.
    pub content: Arc<[u8]>,
}

/// What a context was rendered from. None of it makes an image by itself: it tells why what
/// was rendered is not what it was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The templates' folder as the matrix names it, such as `dockerfiles`; empty is the
    /// matrix' own.
    pub folder: String,
    /// The templates and partials that were rendered, by their paths below that folder.
    pub templates: BTreeMap<String, Digest>,
    /// The variables, by name.
    pub variables: BTreeMap<String, OriginVariable>,
}

/// A variable as a context was rendered with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginVariable {
    /// The axes that the variant has it by.
    pub axes: Vec<String>,
    /// Its value: a text as it is, all else as JSON.
    pub value: String,
}
