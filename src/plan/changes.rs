//! The differences between two images, as reasons for people.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

use super::listing::{EXECUTABLE, Listing, Variable};
use crate::matrix::is_invisible;
use crate::render::familiar;

/// The number of hexadecimal digits of a digest in a reason.
const SHOWN: usize = 12;

/// A reason why an image differs from an earlier one. `Display` describes it in a few words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A file that the Dockerfile copies, or a folder of them.
    File(Edit, String),
    /// An image of the same matrix that it is based on, by the id of its variant.
    Parent(Edit, String),
    /// An upstream image, by its short name, was added or removed.
    Upstream(Edit, String),
    /// The digest of an upstream image changed. `before` and `now` are its first digits; `None` is not pinned.
    Moved {
        name: String,
        before: Option<String>,
        now: Option<String>,
    },
    /// A template variable changed. Long values are omitted.
    Variable {
        name: String,
        axes: Vec<String>,
        before: Option<String>,
        now: Option<String>,
    },
    /// A template or a partial.
    Template(Edit, String),
    Label(Edit, String),
    Platform(Edit, String),
    /// A secret that build steps mount.
    Secret(Edit, String),
    /// The compression before and now.
    Compression(String, String),
    /// A build argument changed. `None` is an argument that is not set; long values are omitted.
    Argument {
        name: String,
        before: Option<String>,
        now: Option<String>,
    },
    /// The stage of the image before and now; `None` is the last.
    Target(Option<String>, Option<String>),
    /// A named context.
    Context(Edit, String),
    /// The Dockerfile changed, and there is no more specific reason.
    Dockerfile,
    /// The rules of fingerprints changed.
    Scheme,
}

/// The kind of a change to an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edit {
    Added,
    Removed,
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
        // The label of a published image may contain any characters.
        self.describe().chars().try_for_each(|character| {
            if is_invisible(character) {
                write!(formatter, "{}", character.escape_unicode())
            } else {
                formatter.write_char(character)
            }
        })
    }
}

impl Change {
    fn describe(&self) -> String {
        match self {
            Self::File(edit, path) | Self::Template(edit, path) => format!("{path} {edit}"),
            Self::Label(edit, name) => format!("label {name} {edit}"),
            Self::Platform(edit, name) => format!("platform {name} {edit}"),
            Self::Secret(edit, id) => format!("secret {id} {edit}"),
            Self::Compression(before, now) => format!("compression {before} → {now}"),
            Self::Parent(edit, id) => format!("base {id} {edit}"),
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
            Self::Argument { name, before, now } => {
                let [before, now] =
                    [before, now].map(|value| value.as_deref().unwrap_or("not set"));
                if [before, now].iter().any(|value| value.starts_with('#')) {
                    format!("build argument {name} changed")
                } else {
                    format!("build argument {name} {before} → {now}")
                }
            }
            Self::Target(before, now) => {
                let [before, now] =
                    [before, now].map(|stage| stage.as_deref().unwrap_or("the last stage"));
                format!("target {before} → {now}")
            }
            Self::Context(edit, name) => format!("build context {name} {edit}"),
            Self::Dockerfile => "the Dockerfile changed".to_owned(),
            Self::Scheme => "basegen's fingerprint scheme changed".to_owned(),
        }
    }
}

/// Returns the first digits of a digest for messages.
pub(super) fn shown(digits: &str) -> String {
    format!("sha256:{}…", digits.chars().take(SHOWN).collect::<String>())
}

/// Returns the differences between two listings; never empty.
pub(super) fn changes(before: &Listing, now: &Listing) -> Vec<Change> {
    let mut variables = variables(before, now);
    let mut templates = edits(&before.templates, &now.templates);
    // A changed template or variable explains the change of a rendered file.
    let is_explained = |path: &str| {
        let template = format!("{path}.hbs");
        now.templates.contains_key(&template)
            && (!variables.is_empty() || templates.iter().any(|(_, path)| *path == template))
    };
    let (mut reasons, is_file_rendered) = files(before, now, is_explained);
    let upstreams = upstreams(before, now);
    let parents = edits(&before.parents, &now.parents);
    // Changed variables and templates are relevant only if they change a rendered file.
    let is_rendered = before.dockerfile != now.dockerfile || is_file_rendered;
    if !is_rendered {
        variables.clear();
        templates.clear();
    }
    let arguments = edits(&before.arguments, &now.arguments).into_iter();
    reasons.extend(arguments.map(|(_, name)| Change::Argument {
        before: before.arguments.get(&name).cloned(),
        now: now.arguments.get(&name).cloned(),
        name,
    }));
    if before.target != now.target {
        reasons.push(Change::Target(before.target.clone(), now.target.clone()));
    }
    let contexts = edits(&before.contexts, &now.contexts);
    reasons.extend(contexts.into_iter().map(|(edit, name)| Change::Context(edit, name)));
    let is_dockerfile_explained = !upstreams.is_empty()
        || !parents.is_empty()
        || !variables.is_empty()
        || !templates.is_empty();
    reasons.extend(parents.into_iter().map(|(edit, id)| Change::Parent(edit, id)));
    reasons.extend(upstreams);
    reasons.extend(variables);
    reasons.extend(
        templates
            .into_iter()
            .map(|(edit, path)| Change::Template(edit, in_folder(&now.folder, &path))),
    );
    let labels = edits(&before.labels, &now.labels);
    reasons.extend(labels.into_iter().map(|(edit, name)| Change::Label(edit, name)));
    let platforms = additions(&before.platforms, &now.platforms);
    reasons.extend(platforms.into_iter().map(|(edit, name)| Change::Platform(edit, name)));
    let secrets = additions(&before.secrets, &now.secrets);
    reasons.extend(secrets.into_iter().map(|(edit, id)| Change::Secret(edit, id)));
    if before.compression != now.compression {
        reasons.push(Change::Compression(before.compression.clone(), now.compression.clone()));
    }
    if before.dockerfile != now.dockerfile && !is_dockerfile_explained {
        reasons.push(Change::Dockerfile);
    }
    if reasons.is_empty() {
        reasons.push(Change::Scheme);
    }
    reasons
}

/// Returns the changed files, without those whose content change `is_explained` by a template or variable, and
/// whether there is such a file.
fn files(
    before: &Listing,
    now: &Listing,
    is_explained: impl Fn(&str) -> bool,
) -> (Vec<Change>, bool) {
    let (mut changes, mut is_any_explained) = (Vec::new(), false);
    for (edit, path) in edits(&before.files, &now.files) {
        let then = before.files.get(&path).map(|file| split_executable(file));
        let today = now.files.get(&path).map(|file| split_executable(file));
        let (mut content, mut mode) = (true, false);
        if let (Some(then), Some(today)) = (then, today) {
            (content, mode) = (then.0 != today.0, then.1 != today.1);
        }
        let explained = content && is_explained(&path);
        is_any_explained |= explained;
        // Templates do not explain a change of the mode.
        if mode || !explained {
            let folder = now.context.as_ref().unwrap_or(&now.folder);
            changes.push(Change::File(edit, in_folder(folder, &path)));
        }
    }
    (changes, is_any_explained)
}

/// Splits a listed file into the digits of its content and whether it is executable.
fn split_executable(file: &str) -> (&str, bool) {
    file.strip_suffix(EXECUTABLE).map_or((file, false), |content| (content, true))
}

/// Returns a path in `folder`, relative to the matrix file.
fn in_folder(folder: &str, path: &str) -> String {
    if folder.is_empty() { path.to_owned() } else { format!("{folder}/{path}") }
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

/// Returns the differences between two tables, sorted by name.
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

/// Returns the differences between two sets, sorted by name.
fn additions(before: &BTreeSet<String>, now: &BTreeSet<String>) -> Vec<(Edit, String)> {
    let edit = |name: &str| if now.contains(name) { Edit::Added } else { Edit::Removed };
    now.symmetric_difference(before).map(|name| (edit(name), name.clone())).collect()
}
