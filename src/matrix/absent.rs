//! Combinations of axis values that are not variants, with the reasons.

use std::collections::HashSet;

use super::expand::{MAX_ROWS, product};
use super::model::{Axis, Exclude, Matrix, Variant, id_and_name};

/// A combination of axis values that is not a variant of the matrix.
#[derive(Debug)]
pub struct Absent<'a> {
    /// The variant it would be, without platforms.
    pub variant: Variant,
    /// The rules that exclude the combination.
    pub rules: Vec<&'a Exclude>,
    /// The axes whose value is not part of the product: only an `[[extra]]` has it.
    pub unlisted: Vec<&'a str>,
}

impl Matrix {
    /// Returns the combinations that are not variants, in the order of the product. Values that only an
    /// `[[extra]]` has are included unless there are more than [`MAX_ROWS`] combinations.
    #[must_use]
    pub fn absent(&self) -> Vec<Absent<'_>> {
        let all =
            self.axes.iter().try_fold(1_usize, |rows, axis| rows.checked_mul(axis.values.len()));
        let with_extras = all.is_some_and(|rows| rows <= MAX_ROWS);
        let count = |axis: &Axis| if with_extras { axis.values.len() } else { axis.listed };
        let known: HashSet<&[usize]> =
            self.variants.iter().map(|variant| variant.values.as_slice()).collect();
        let rows = product(self.axes.iter().map(count))
            .into_iter()
            .filter(|values| !known.contains(values.as_slice()));
        let absent = rows.map(|values| {
            let (id, name) = id_and_name(&self.axes, &values);
            let unlisted = self.axes.iter().zip(&values).filter(|(axis, at)| **at >= axis.listed);
            Absent {
                rules: self.excludes.iter().filter(|rule| rule.when.admits(&values)).collect(),
                unlisted: unlisted.map(|(axis, _)| axis.name.as_str()).collect(),
                variant: Variant { id, name, values, platforms: Vec::new().into(), extra: None },
            }
        });
        absent.collect()
    }

    /// Returns the ids of up to three variants that share the most values with a combination.
    #[must_use]
    pub fn nearest_variants(&self, values: &[usize]) -> Vec<String> {
        let axes = self.axes.iter().zip(values);
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
    fn absent_combinations_have_reasons() {
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
        let absent: Vec<String> = matrix
            .absent()
            .into_iter()
            .map(|absent| {
                let rules: Vec<_> = absent
                    .rules
                    .iter()
                    .map(|rule| format!("{}: {}", rule.line, rule.reason))
                    .collect();
                let nearest = matrix.nearest_variants(&absent.variant.values).join(" ");
                format!("{} {rules:?} {:?} near {nearest}", absent.variant.id, absent.unlisted)
            })
            .collect();
        insta::assert_snapshot!(absent.join("\n"), @r#"
        3.9-gpu ["8: too old"] [] near 3.9 3.11-gpu 3.14-gpu
        3.14 [] ["python"] near 3.9 3.11 3.14-gpu
        "#);
    }
}
