//! Which images differ from those of an earlier state of the matrix, and why.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde_json::{Value as Json, json};

use super::changes::Change;
use super::inputs::Inputs;

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
    pub effect: Effect,
}

/// The change of a variant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    Added,
    Removed,
    /// The inputs of the image changed.
    Changed(Vec<Change>),
}

impl fmt::Display for Effect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed(_) => "changed",
        })
    }
}

impl Affected {
    /// Returns true if the image must be built.
    #[must_use]
    pub fn is_built(&self) -> bool {
        self.effect != Effect::Removed
    }
}

impl Effect {
    fn reasons(&self) -> Vec<String> {
        match self {
            Self::Added | Self::Removed => Vec::new(),
            Self::Changed(changes) => changes.iter().map(ToString::to_string).collect(),
        }
    }
}

impl Comparison {
    /// Compares variants by their ids.
    #[must_use]
    pub fn new(before: &[(&str, Inputs)], now: &[(&str, Inputs)]) -> Self {
        let known: HashMap<&str, &Inputs> =
            before.iter().map(|(id, inputs)| (*id, inputs)).collect();
        let there: HashSet<&str> = now.iter().map(|(id, _)| *id).collect();
        let mut affected = Vec::new();
        let mut unaffected = 0;
        let affect = |id: &str, effect| Affected { id: id.to_owned(), effect };
        for (id, inputs) in now {
            match known.get(id).map(|before| inputs.changes_since(before)) {
                None => affected.push(affect(id, Effect::Added)),
                Some(changes) if changes.is_empty() => unaffected += 1,
                Some(changes) => affected.push(affect(id, Effect::Changed(changes))),
            }
        }
        let removed = before.iter().filter(|(id, _)| !there.contains(id));
        affected.extend(removed.map(|(id, _)| affect(id, Effect::Removed)));
        Self { affected, unaffected }
    }

    /// Returns a table with the variants, their changes and the reasons.
    #[must_use]
    pub fn table(&self, revision: &str) -> String {
        let mut text = String::new();
        let width = self.affected.iter().map(|row| row.id.len()).max().unwrap_or(0).max(7);
        if !self.affected.is_empty() {
            text = format!("{:width$}  CHANGE   WHY\n", "VARIANT");
        }
        for Affected { id, effect } in &self.affected {
            let mut reasons = effect.reasons();
            let more = reasons.split_off(reasons.len().min(1));
            let first = reasons.pop().unwrap_or_default();
            let row = format!("{id:width$}  {:7}  {first}", effect.to_string());
            text = format!("{text}{}\n", row.trim_end());
            for reason in more {
                text = format!("{text}{:width$}           {reason}\n", "");
            }
        }
        let blank = if self.affected.is_empty() { "" } else { "\n" };
        let (affected, all) = (self.affected.len(), self.affected.len() + self.unaffected);
        format!("{text}{blank}{affected} of {all} variants differ from {revision}\n")
    }

    #[must_use]
    pub fn markdown(&self) -> String {
        let rows = self.affected.iter().map(|Affected { id, effect }| {
            let reasons = effect
                .reasons()
                .join("<br>")
                .replace('|', "\\|")
                .replace('<', "&lt;")
                .replace("&lt;br>", "<br>");
            format!("| `{id}` | {effect} | {reasons} |\n")
        });
        format!("| variant | change | why |\n| --- | --- | --- |\n{}", rows.collect::<String>())
    }

    /// Returns the changed images as JSON.
    #[must_use]
    pub fn affected_json(&self) -> Json {
        let affected = self.affected.iter().map(|Affected { id, effect }| {
            json!({ "id": id, "change": effect.to_string(), "reasons": effect.reasons() })
        });
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
