//! The combinations that are no variants, and why not.

use std::collections::HashSet;

use super::expand::{MAX_ROWS, names, product};
use super::model::{Exclude, Matrix, Variant};

/// A combination of the axes' values that the matrix does not have.
#[derive(Debug)]
pub struct Absent<'a> {
    /// What it would be; for no platform.
    pub variant: Variant,
    /// The rules that exclude it.
    pub rules: Vec<&'a Exclude>,
    /// The axes whose value only an `[[extra]]` has, in combinations of its own.
    pub unlisted: Vec<&'a str>,
}

impl Matrix {
    /// The combinations that are no variants, in the order of the product. Values that only an
    /// `[[extra]]` has count, unless that is too many.
    #[must_use]
    pub fn absent(&self) -> Vec<Absent<'_>> {
        let all =
            self.axes.iter().try_fold(1_usize, |rows, axis| rows.checked_mul(axis.values.len()));
        let with_extras = all.is_some_and(|rows| rows <= MAX_ROWS);
        let counts = self.axes.iter().map(|axis| match with_extras {
            true => axis.values.len(),
            false => axis.listed,
        });
        let known: HashSet<&[usize]> =
            self.variants.iter().map(|variant| variant.values.as_slice()).collect();
        let rows = product(counts).into_iter().filter(|values| !known.contains(values.as_slice()));
        let absent = rows.map(|values| {
            let (id, name) = names(&self.axes, &values);
            let unlisted = self.axes.iter().zip(&values).filter(|(axis, at)| **at >= axis.listed);
            Absent {
                rules: self.excludes.iter().filter(|rule| rule.when.admits(&values)).collect(),
                unlisted: unlisted.map(|(axis, _)| axis.name.as_str()).collect(),
                variant: Variant { id, name, values, platforms: Vec::new().into(), extra: None },
            }
        });
        absent.collect()
    }

    /// The ids of the variants that have most of their values in common with `variant`.
    #[must_use]
    pub fn nearest_variants(&self, variant: &Variant) -> Vec<String> {
        let axes = self.axes.iter().zip(&variant.values);
        let admitted: Vec<Vec<bool>> = axes
            .map(|(axis, wanted)| (0..axis.values.len()).map(|at| at == *wanted).collect())
            .collect();
        self.nearest(&admitted)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::matrix::parse;

    #[test]
    fn what_is_not_there_says_why() {
        let text = r#"[image]
repository = "a"
dockerfile = "d"
platforms = ["linux/amd64"]
[axes]
python = ["3.9", "3.11"]
gpu = [false, true]
[[exclude]]
when = { python = "<3.11", gpu = true }
reason = "too old"
[[extra]]
axes = { python = "3.14", gpu = true }
"#;
        let matrix = parse(Path::new("matrix.toml"), text).expect("a matrix");
        let told: Vec<String> = matrix
            .absent()
            .into_iter()
            .map(|absent| {
                let rules: Vec<_> = absent
                    .rules
                    .iter()
                    .map(|rule| format!("{}: {}", rule.line, rule.reason))
                    .collect();
                let nearest = matrix.nearest_variants(&absent.variant).join(" ");
                format!("{} {rules:?} {:?} near {nearest}", absent.variant.id, absent.unlisted)
            })
            .collect();
        insta::assert_snapshot!(told.join("\n"), @r#"
        3.9-gpu ["8: too old"] [] near 3.9 3.11-gpu 3.14-gpu
        3.14 [] ["python"] near 3.9 3.11 3.14-gpu
        "#);
    }
}
