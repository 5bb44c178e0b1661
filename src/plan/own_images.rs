//! Finds Dockerfiles that are based on an image of their own matrix by its published name.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use super::{ImageNames, NameError, PlanRequest, find_by_name};
use crate::image::{Reference, Repository};
use crate::matrix::{Matrix, Variant};
use crate::render::{BuildContext, TemplateLine, Upstream, familiar};

/// The published name of an image of the matrix in a Dockerfile of the same matrix. `Display` describes it in one line
/// without its place.
///
/// The published image can be older than the one of the same run, and a change of it rebuilds nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnImage {
    /// The template, or the name of the rendered Dockerfile if its line has none.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in a template.
    pub column: Option<usize>,
    name: String,
    id: String,
    /// The text that names the image of the same run.
    pub call: String,
}

impl fmt::Display for OwnImage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, id, .. } = self;
        write!(formatter, "`{name}` is the published image of `{id}`, not the one of the same run")
    }
}

impl OwnImage {
    /// Returns a warning in one line.
    #[must_use]
    pub fn warning(&self) -> String {
        let Self { file, line, column, call, .. } = self;
        let column = column.map(|column| format!(":{column}")).unwrap_or_default();
        format!("{file}:{line}{column}: {self}: write `{call}`")
    }
}

/// Returns the images of the matrix that Dockerfiles of its variants name by their published names. `rows` has the
/// variants with their contexts.
pub fn own_images<'c>(
    matrix: &Matrix,
    rows: impl IntoIterator<Item = (&'c Variant, &'c BuildContext)>,
) -> Result<Vec<OwnImage>, NameError> {
    let request = PlanRequest::default();
    let naming = ImageNames::new(matrix, &request)?;
    let repositories = matrix.variants.iter().map(|variant| naming.repository(variant));
    let repositories: BTreeSet<Repository> = repositories.collect::<Result<_, _>>()?;
    let mut known: HashMap<&Reference, Option<&Variant>> = HashMap::new();
    let mut found: BTreeMap<_, OwnImage> = BTreeMap::new();
    for (variant, context) in rows {
        for reference in context.upstreams.iter().filter_map(|image| image.reference.as_ref()) {
            if !repositories.contains(&reference.repository) {
                continue;
            }
            if !known.contains_key(reference) {
                let matches = find_by_name(matrix, &request, &reference.canonical())?;
                known.insert(reference, matches.variants.into_iter().next());
            }
            let named = known.get(reference).copied().flatten();
            if let Some(named) = named.filter(|named| named.id != variant.id) {
                let (file, line, column) = place(context, reference);
                let arguments = matrix.image_arguments(variant, named);
                let image = OwnImage {
                    file,
                    line,
                    column,
                    name: familiar(&reference.canonical()).to_owned(),
                    id: named.id.clone(),
                    call: format!("{{{{image {arguments}}}}}"),
                };
                // Of several variants with the same line, the call with the most arguments suits all.
                let key = (image.file.clone(), line, image.name.clone());
                let first = found.entry(key).or_insert_with(|| image.clone());
                if first.call.len() < image.call.len() {
                    *first = image;
                }
            }
        }
    }
    Ok(found.into_values().collect())
}

/// Returns the first place of the name of an image in a Dockerfile.
fn place(context: &BuildContext, reference: &Reference) -> (String, usize, Option<usize>) {
    let is_name = |word: &str| {
        let word = word.strip_prefix("--from=").unwrap_or(word);
        Upstream::reference(word).as_ref() == Some(reference)
    };
    let mut lines = context.dockerfile.lines();
    let line = lines.position(|line| line.split_whitespace().any(is_name)).map_or(1, |at| at + 1);
    match context.template_line(line) {
        Some(TemplateLine { file, line, column }) => (file.to_string(), *line, Some(*column)),
        None => (context.dockerfile_name.clone(), line, None),
    }
}
