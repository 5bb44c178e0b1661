//! Which images differ from those of an earlier state of the matrix, and why.

use std::collections::{HashMap, HashSet};

use serde_json::{Value as Json, json};

use super::changes::{Change, Edit};
use super::inputs::Inputs;
use super::table::columns;

/// The differences between the images of two states of a matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// The changed images in the order of the matrix, then the removed ones.
    pub affected: Vec<Affected>,
    /// The number of unchanged images.
    pub unaffected: usize,
}

/// A variant with a changed image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Affected {
    /// The id of the variant.
    pub id: String,
    pub edit: Edit,
    /// The changed inputs of an image that both states have.
    pub changes: Vec<Change>,
}

impl Affected {
    /// Returns true if the image must be built.
    #[must_use]
    pub fn is_built(&self) -> bool {
        self.edit != Edit::Removed
    }

    fn reasons(&self) -> Vec<String> {
        self.changes.iter().map(ToString::to_string).collect()
    }
}

impl Comparison {
    /// Compares variants by their ids.
    #[must_use]
    pub fn new(before: &[(&str, Inputs)], now: &[(&str, Inputs)]) -> Self {
        let known: HashMap<&str, &Inputs> =
            before.iter().map(|(id, inputs)| (*id, inputs)).collect();
        let remaining: HashSet<&str> = now.iter().map(|(id, _)| *id).collect();
        let mut affected = Vec::new();
        let mut unaffected = 0;
        let affect = |id: &str, edit, changes| Affected { id: id.to_owned(), edit, changes };
        for (id, inputs) in now {
            match known.get(id).map(|before| inputs.changes_since(before)) {
                None => affected.push(affect(id, Edit::Added, Vec::new())),
                Some(changes) if changes.is_empty() => unaffected += 1,
                Some(changes) => affected.push(affect(id, Edit::Changed, changes)),
            }
        }
        let removed = before.iter().filter(|(id, _)| !remaining.contains(id));
        affected.extend(removed.map(|(id, _)| affect(id, Edit::Removed, Vec::new())));
        Self { affected, unaffected }
    }

    /// Returns a table with the variants, their changes and the reasons.
    #[must_use]
    pub fn table(&self, revision: &str) -> String {
        let mut rows = vec![["VARIANT", "CHANGE", "WHY"].map(str::to_owned).to_vec()];
        for row in &self.affected {
            let mut reasons = row.reasons().into_iter();
            let first = reasons.next().unwrap_or_default();
            rows.push(vec![row.id.clone(), row.edit.to_string(), first]);
            rows.extend(reasons.map(|reason| vec![String::new(), String::new(), reason]));
        }
        let table = if self.affected.is_empty() { String::new() } else { columns(&rows) + "\n" };
        let (affected, all) = (self.affected.len(), self.affected.len() + self.unaffected);
        format!("{table}{affected} of {all} variants differ from {revision}\n")
    }

    #[must_use]
    pub fn markdown(&self) -> String {
        let rows = self.affected.iter().map(|row| {
            let reasons = row
                .reasons()
                .join("<br>")
                .replace('|', "\\|")
                .replace('<', "&lt;")
                .replace("&lt;br>", "<br>");
            format!("| `{}` | {} | {reasons} |\n", row.id, row.edit)
        });
        format!("| variant | change | why |\n| --- | --- | --- |\n{}", rows.collect::<String>())
    }

    /// Returns the changed images as JSON.
    #[must_use]
    pub fn affected_json(&self) -> Json {
        let affected = self.affected.iter().map(
            |row| json!({ "id": row.id, "change": row.edit.to_string(), "reasons": row.reasons() }),
        );
        affected.collect()
    }

    /// Returns the comparison as JSON. `schema` increases when the meaning of a field changes.
    #[must_use]
    pub fn json(&self, revision: &str, commit: &str) -> String {
        let record = json!({
            "schema": 1,
            "since": revision,
            "commit": commit,
            "affected": self.affected_json(),
            "unaffected": self.unaffected,
        });
        let mut text = serde_json::to_string_pretty(&record).expect("a comparison is JSON");
        text.push('\n');
        text
    }
}
