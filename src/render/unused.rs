//! Finds contents in the matrix file that no image has.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;

use super::context::BuildContext;
use crate::matrix::{Matrix, Variant};

/// The keys of contents, and the parts of a generated Dockerfile that use each.
const KEYS: [(&str, &[&str]); 15] = [
    ("base", &["packages", "pre_build_commands", "apt", "conda", "pip"]),
    ("pre_build_commands", &["pre_build_commands"]),
    ("apt", &["packages", "apt"]),
    ("conda", &["packages", "conda"]),
    ("libraries", &["packages", "pip"]),
    ("pip", &["packages", "pip"]),
    ("workdir", &["files"]),
    ("env", &["files"]),
    ("files", &["files"]),
    ("shell_commands", &["shell_commands"]),
    ("expose", &["configuration"]),
    ("user", &["configuration"]),
    ("healthcheck", &["configuration"]),
    ("entrypoint", &["configuration"]),
    ("cmd", &["configuration"]),
];

/// A key of contents in a table whose images do not have them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no image has `{key}`: the Dockerfile of `{variant}` does not include it")]
pub struct UnusedContents {
    /// The matrix file, and the line and column of the value, from 1.
    pub file: PathBuf,
    pub line: usize,
    pub column: usize,
    key: &'static str,
    variant: String,
    /// What to do.
    pub advice: String,
}

impl UnusedContents {
    /// Returns a warning in one line.
    #[must_use]
    pub fn warning(&self) -> String {
        let Self { file, line, column, advice, .. } = self;
        format!("{}:{line}:{column}: {self}: {advice}", file.display())
    }
}

/// Returns the contents of tables if the Dockerfile of none of their images includes a part with them, in the order of the
/// matrix file. `rendered` are variants with their contexts.
pub fn unused_contents<'c>(
    matrix: &Matrix,
    rendered: impl IntoIterator<Item = (&'c Variant, &'c BuildContext)>,
) -> Vec<UnusedContents> {
    if !matrix.all_written_settings().any(|key| parts_of(key).is_some()) {
        return Vec::new();
    }
    // By the begins of the values in the matrix file.
    let (mut unused, mut used) = (BTreeMap::new(), BTreeSet::new());
    let mut ids = HashSet::new();
    for (variant, context) in rendered {
        ids.insert(variant.id.as_str());
        if matrix.mirror(variant).is_some() {
            continue;
        }
        for (key, span) in matrix.written_settings(variant) {
            let Some(parts) = parts_of(key) else { continue };
            if includes(context, parts) {
                used.insert(span.start);
            } else {
                unused.entry(span.start).or_insert((key, variant, parts[0]));
            }
        }
    }
    unused.retain(|begin, _| !used.contains(begin));
    if unused.is_empty() {
        return Vec::new();
    }
    // A selection may leave out the variants that have them.
    for variant in matrix.variants.iter().filter(|variant| !ids.contains(variant.id.as_str())) {
        for (_, span) in matrix.written_settings(variant) {
            unused.remove(&span.start);
        }
    }
    let source = &matrix.source;
    let unused = unused.into_iter().map(|(begin, (key, variant, part))| {
        let advice = match key {
            "base" => "name the base image in the `FROM` of the Dockerfile, or remove `dockerfile`"
                .to_owned(),
            _ => format!("add `{{{{> {part}}}}}` to the Dockerfile, or remove `{key}`"),
        };
        UnusedContents {
            file: source.path.clone(),
            line: source.line(begin),
            column: source.column(begin),
            key,
            variant: variant.id.clone(),
            advice,
        }
    });
    unused.collect()
}

/// Returns the parts that use a key; `None` for keys of other settings.
fn parts_of(key: &str) -> Option<&'static [&'static str]> {
    KEYS.iter().find(|(name, _)| *name == key).map(|(_, parts)| *parts)
}

/// Returns true if a Dockerfile includes one of the `parts`, on one of its platforms.
fn includes(context: &BuildContext, parts: &[&str]) -> bool {
    context.all().any(|context| parts.iter().any(|part| context.origin.parts.contains(part)))
}
