//! Why one image is not the other: the reasons that tell a person the most.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

use super::inputs::{EXECUTABLE, Listing, Variable};
use crate::matrix::is_invisible;
use crate::render::familiar;

/// How many hexadecimal digits of a digest a reason tells.
const SHOWN: usize = 12;

/// A reason for an image to differ from an earlier one. `Display` tells it in a few words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A file that the Dockerfile copies, or a folder of them.
    File(Edit, String),
    /// An upstream image, which was added or removed; its name as people write it.
    Upstream(Edit, String),
    /// An upstream image that is not the one it was.
    Moved {
        /// Its name as people write it.
        name: String,
        /// The first digits of the digest that it was pinned to, if it was.
        before: Option<String>,
        /// The first digits of the digest that it is pinned to, if it is.
        now: Option<String>,
    },
    /// A variable of the templates.
    Variable {
        /// Its name.
        name: String,
        /// The axes that bring it.
        axes: Vec<String>,
        /// Its value before; one that is too long for a line is left out.
        before: Option<String>,
        /// Its value now.
        now: Option<String>,
    },
    /// A template or a partial.
    Template(Edit, String),
    /// A label.
    Label(Edit, String),
    /// A platform, which was added or removed.
    Platform(Edit, String),
    /// A secret that steps are given, which was added or removed.
    Secret(Edit, String),
    /// How layers are compressed: before, and now.
    Compression(String, String),
    /// The Dockerfile, and nothing that says more.
    Dockerfile,
    /// What counts as an input: the images were compared by different rules.
    Scheme,
}

/// What happened to one of several things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edit {
    /// It was not there before.
    Added,
    /// It is there no more.
    Removed,
    /// It is not what it was.
    Changed,
}

impl fmt::Display for Edit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
        })
    }
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is read from an image's label may hold anything.
        self.told().chars().try_for_each(|character| match is_invisible(character) {
            true => write!(formatter, "{}", character.escape_unicode()),
            false => formatter.write_char(character),
        })
    }
}

impl Change {
    fn told(&self) -> String {
        match self {
            Self::File(edit, path) | Self::Template(edit, path) => format!("{path} {edit}"),
            Self::Label(edit, name) => format!("label {name} {edit}"),
            Self::Platform(edit, name) => format!("platform {name} {edit}"),
            Self::Secret(edit, id) => format!("secret {id} {edit}"),
            Self::Compression(before, now) => format!("compression {before} → {now}"),
            Self::Upstream(edit, name) => format!("upstream {name} {edit}"),
            Self::Moved { name, before, now } => match (before, now) {
                (Some(before), Some(now)) => {
                    format!("{name} moved ({} → {})", shown(before), shown(now))
                }
                (None, Some(now)) => format!("{name} pinned at {}", shown(now)),
                (Some(before), None) => format!("{name} no longer pinned at {}", shown(before)),
                (None, None) => format!("{name} moved"),
            },
            Self::Variable { name, axes, before, now } => {
                let by = match &axes[..] {
                    [] => "variable ".to_owned(),
                    [axis] => format!("axis {axis}: "),
                    several => format!("axes {}: ", several.join(", ")),
                };
                match (before, now) {
                    (Some(before), Some(now)) => format!("{by}{name} {before} → {now}"),
                    _ => format!("{by}{name} changed"),
                }
            }
            Self::Dockerfile => "the Dockerfile changed".to_owned(),
            Self::Scheme => "basegen's fingerprint scheme changed".to_owned(),
        }
    }
}

/// The first digits of a digest, as a message tells them.
pub(super) fn shown(digits: &str) -> String {
    format!("sha256:{}…", digits.chars().take(SHOWN).collect::<String>())
}

/// Why what is made of `now` is not what was made of `before`; never empty.
pub(super) fn changes(before: &Listing, now: &Listing) -> Vec<Change> {
    let mut variables = variables(before, now);
    let mut templates = edits(&before.templates, &now.templates);
    // A file that is rendered changes with what it is rendered from, which says more.
    let is_explained = |path: &str| {
        let template = format!("{path}.hbs");
        now.templates.contains_key(&template)
            && (!variables.is_empty() || templates.iter().any(|(_, path)| *path == template))
    };
    let (mut reasons, is_file_rendered) = files(before, now, is_explained);
    let upstreams = upstreams(before, now);
    // Variables and templates count where what is rendered of them differs.
    let is_rendered = before.dockerfile != now.dockerfile || is_file_rendered;
    if !is_rendered {
        variables.clear();
        templates.clear();
    }
    let is_dockerfile_told =
        !upstreams.is_empty() || !variables.is_empty() || !templates.is_empty();
    reasons.extend(upstreams);
    reasons.extend(variables);
    reasons
        .extend(templates.into_iter().map(|(edit, path)| Change::Template(edit, now.path(&path))));
    let labels = edits(&before.labels, &now.labels);
    reasons.extend(labels.into_iter().map(|(edit, name)| Change::Label(edit, name)));
    let platforms = additions(&before.platforms, &now.platforms);
    reasons.extend(platforms.into_iter().map(|(edit, name)| Change::Platform(edit, name)));
    let secrets = additions(&before.secrets, &now.secrets);
    reasons.extend(secrets.into_iter().map(|(edit, id)| Change::Secret(edit, id)));
    if before.compression != now.compression {
        reasons.push(Change::Compression(before.compression.clone(), now.compression.clone()));
    }
    if before.dockerfile != now.dockerfile && !is_dockerfile_told {
        reasons.push(Change::Dockerfile);
    }
    if reasons.is_empty() {
        reasons.push(Change::Scheme);
    }
    reasons
}

/// The files that differ, without those of which only the content does and `is_explained` by what
/// they are rendered from; and whether there is such a content.
fn files(
    before: &Listing,
    now: &Listing,
    is_explained: impl Fn(&str) -> bool,
) -> (Vec<Change>, bool) {
    let (mut told, mut is_any_explained) = (Vec::new(), false);
    for (edit, path) in edits(&before.files, &now.files) {
        let then = before.files.get(&path).map(|file| split_executable(file));
        let today = now.files.get(&path).map(|file| split_executable(file));
        let (mut content, mut mode) = (true, false);
        if let (Some(then), Some(today)) = (then, today) {
            (content, mode) = (then.0 != today.0, then.1 != today.1);
        }
        let explained = content && is_explained(&path);
        is_any_explained |= explained;
        // No template says whether a file can be executed.
        if mode || !explained {
            told.push(Change::File(edit, now.path(&path)));
        }
    }
    (told, is_any_explained)
}

/// What tells a file's content in a listing, and whether the file can be executed.
fn split_executable(file: &str) -> (&str, bool) {
    file.strip_suffix(EXECUTABLE).map_or((file, false), |content| (content, true))
}

impl Listing {
    /// A path below the templates' folder, from that of the matrix.
    fn path(&self, path: &str) -> String {
        match self.folder.as_str() {
            "" => path.to_owned(),
            folder => format!("{folder}/{path}"),
        }
    }
}

fn upstreams(before: &Listing, now: &Listing) -> Vec<Change> {
    let upstreams = edits(&before.upstreams, &now.upstreams).into_iter().map(|(edit, full)| {
        let name = familiar(&full).to_owned();
        match (before.upstreams.get(&full), now.upstreams.get(&full)) {
            (Some(before), Some(now)) => {
                Change::Moved { name, before: before.clone(), now: now.clone() }
            }
            _ => Change::Upstream(edit, name),
        }
    });
    upstreams.collect()
}

fn variables(before: &Listing, now: &Listing) -> Vec<Change> {
    let (Some(before), Some(now)) = (&before.variables, &now.variables) else {
        return Vec::new();
    };
    let value = |variable: Option<&Variable>| variable.and_then(Variable::value).map(str::to_owned);
    let values = |variables: &BTreeMap<String, Variable>| -> BTreeMap<String, String> {
        variables.iter().map(|(name, variable)| (name.clone(), variable.0.clone())).collect()
    };
    let changed = edits(&values(before), &values(now)).into_iter();
    let variables = changed.map(|(_, name)| Change::Variable {
        axes: now.get(&name).or(before.get(&name)).map(|found| found.1.clone()).unwrap_or_default(),
        before: value(before.get(&name)),
        now: value(now.get(&name)),
        name,
    });
    variables.collect()
}

/// What differs between two tables, in the order of the names.
fn edits<V: PartialEq>(
    before: &BTreeMap<String, V>,
    now: &BTreeMap<String, V>,
) -> Vec<(Edit, String)> {
    let mut edits = Vec::new();
    for (name, value) in now {
        match before.get(name) {
            None => edits.push((Edit::Added, name.clone())),
            Some(known) if known != value => edits.push((Edit::Changed, name.clone())),
            Some(_) => {}
        }
    }
    let removed = before.keys().filter(|name| !now.contains_key(*name));
    edits.extend(removed.map(|name| (Edit::Removed, name.clone())));
    edits.sort_by(|(_, one), (_, other)| one.cmp(other));
    edits
}

/// What is in one of two sets alone, in the order of the names.
fn additions(before: &BTreeSet<String>, now: &BTreeSet<String>) -> Vec<(Edit, String)> {
    let edit = |name: &str| if now.contains(name) { Edit::Added } else { Edit::Removed };
    now.symmetric_difference(before).map(|name| (edit(name), name.clone())).collect()
}
