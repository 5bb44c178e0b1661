//! Finds the variant that has other values than another one on some axes.

use std::collections::HashMap;

use serde_json::Value as Json;

use super::diagnostic::{did_you_mean, nearest_spelling, quoted_list, suggestion};
use super::model::{Axis, Matrix, Variant};

/// The variants of a matrix by their values.
#[derive(Debug)]
pub struct Relations<'a> {
    matrix: &'a Matrix,
    by_values: HashMap<&'a [usize], &'a Variant>,
}

/// A value that the wanted variant has.
#[derive(Debug, Clone, Copy)]
pub struct WantedValue<'v> {
    /// The axis; `None` for the only axis that has the value.
    pub axis: Option<&'v str>,
    pub value: &'v Json,
}

/// The reason why there is no wanted variant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct NoVariant {
    pub message: String,
    pub help: Option<String>,
}

impl<'a> Relations<'a> {
    #[must_use]
    pub fn new(matrix: &'a Matrix) -> Self {
        let variants = matrix.variants.iter();
        Self { matrix, by_values: variants.map(|variant| (&*variant.values, variant)).collect() }
    }

    /// Returns the variant with the `wanted` values, and the values of `variant` on all other axes.
    pub fn find(
        &self,
        variant: &Variant,
        wanted: &[WantedValue<'_>],
    ) -> Result<&'a Variant, NoVariant> {
        let mut values = variant.values.clone();
        let mut chosen: Vec<(usize, &WantedValue<'_>)> = Vec::new();
        for wanted in wanted {
            let (axis, at) = match wanted.axis {
                Some(name) => self.on_axis(name, wanted.value)?,
                None => self.on_any_axis(wanted.value)?,
            };
            if let Some((_, other)) = chosen.iter().find(|(known, _)| *known == axis) {
                let both = [shown(other.value), shown(wanted.value)];
                let name = &self.matrix.axes[axis].name;
                let message =
                    format!("{} are values of the same axis, `{name}`", quoted_list(&both));
                return Err(NoVariant { message, help: None });
            }
            chosen.push((axis, wanted));
            values[axis] = at;
        }
        self.by_values.get(&*values).copied().ok_or_else(|| self.absent(variant, &values))
    }

    fn on_axis(&self, name: &str, value: &Json) -> Result<(usize, usize), NoVariant> {
        let axes = || self.matrix.axes.iter().map(|axis| axis.name.as_str());
        let Some((index, axis)) = self.matrix.axis(name) else {
            let names: Vec<&str> = axes().collect();
            let message =
                format!("the matrix has no axis `{name}`; its axes are {}", quoted_list(&names));
            return Err(NoVariant { message, help: did_you_mean(name, axes()) });
        };
        if let Some(at) = position(axis, value) {
            return Ok((index, at));
        }
        let known = axis.value_names();
        let text = shown(value);
        let message =
            format!("axis `{name}` has no value `{text}`; it has {}", quoted_list(&known));
        // A value of another type is written the same.
        let help = if known.contains(&text) {
            Some(match value {
                Json::String(_) => format!("write it without quotes: `{name}={text}`"),
                _ => format!("write it in quotes: `{name}=\"{text}\"`"),
            })
        } else {
            nearest_spelling(&text, known.iter().map(String::as_str)).map(suggestion)
        };
        Err(NoVariant { message, help })
    }

    fn on_any_axis(&self, value: &Json) -> Result<(usize, usize), NoVariant> {
        let axes = self.matrix.axes.iter().enumerate();
        let found: Vec<(usize, usize)> =
            axes.filter_map(|(index, axis)| Some((index, position(axis, value)?))).collect();
        let text = shown(value);
        match found[..] {
            [one] => Ok(one),
            [] => {
                let values: Vec<String> =
                    self.matrix.axes.iter().flat_map(Axis::value_names).collect();
                let message = format!("no axis has the value `{text}`");
                let help = if values.contains(&text) {
                    Some(format!("write it in quotes: `\"{text}\"`"))
                } else {
                    nearest_spelling(&text, values.iter().map(String::as_str)).map(suggestion)
                };
                Err(NoVariant { message, help })
            }
            [(first, _), ..] => {
                let names: Vec<&str> =
                    found.iter().map(|(axis, _)| self.matrix.axes[*axis].name.as_str()).collect();
                let message = format!("`{text}` is a value of the axes {}", quoted_list(&names));
                let help = format!("name the axis: `{}={value}`", self.matrix.axes[first].name);
                Err(NoVariant { message, help: Some(help) })
            }
        }
    }

    /// Returns the error for a combination that is not a variant, which `variant` names.
    fn absent(&self, variant: &Variant, values: &[usize]) -> NoVariant {
        let Matrix { axes, excludes, source, .. } = self.matrix;
        let described: Vec<String> = axes
            .iter()
            .zip(values)
            .map(|(axis, at)| format!("{} {}", axis.name, axis.values[*at].value))
            .collect();
        let rules = excludes.iter().filter(|rule| rule.when.admits(values)).map(|rule| {
            format!("\n  excluded at {}:{}: {}", source.path.display(), rule.line, rule.reason)
        });
        let message =
            format!("no variant has {}{}", described.join(", "), rules.collect::<String>());
        let mut nearest = self.matrix.nearest_variants(values);
        nearest.retain(|id| *id != variant.id);
        let help = match &nearest[..] {
            [] => None,
            [one] => Some(suggestion(one)),
            several => Some(format!("similar variants are {}", quoted_list(several))),
        };
        NoVariant { message, help }
    }
}

impl Matrix {
    /// Returns the arguments of `{{image …}}` with which a template of the variant `from` names the variant `to`:
    /// `"minimal-notebook" gpu=false`.
    #[must_use]
    pub fn image_arguments(&self, from: &Variant, to: &Variant) -> String {
        let axes = self.axes.iter().enumerate();
        let differing = axes.filter(|(index, _)| from.values[*index] != to.values[*index]);
        let arguments = differing.map(|(index, axis)| {
            let value = self.value(to, index).value.to_json();
            let owners = self.axes.iter().filter(|axis| position(axis, &value).is_some()).count();
            let is_clear = owners == 1 && value.is_string();
            if is_clear { value.to_string() } else { format!("{}={value}", axis.name) }
        });
        arguments.collect::<Vec<_>>().join(" ")
    }
}

fn position(axis: &Axis, value: &Json) -> Option<usize> {
    axis.values.iter().position(|known| known.value.to_json() == *value)
}

fn shown(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::matrix::parse;

    const MATRIX: &str = r#"
[image]
repository = "acme/{{image}}"
dockerfile = "d"
platforms = ["linux/amd64"]
[axes]
image = ["minimal-notebook", "scipy-notebook", "latest"]
python = ["3.11", "3.13"]
gpu = [false, true]
channel = ["latest", "nightly"]
[[exclude]]
when = { image = "minimal-notebook", gpu = true }
reason = "only scipy has CUDA"
"#;

    /// Finds a variant from `scipy-notebook-3.11-gpu-latest`, and returns its id or the error.
    fn found(wanted: &[(Option<&str>, Json)]) -> String {
        let matrix = parse(Path::new("matrix.toml"), MATRIX).expect("a matrix");
        let from =
            matrix.variants.iter().find(|variant| variant.id == "scipy-notebook-3.11-gpu-latest");
        let wanted: Vec<WantedValue<'_>> =
            wanted.iter().map(|(axis, value)| WantedValue { axis: *axis, value }).collect();
        match Relations::new(&matrix).find(from.expect("a variant"), &wanted) {
            Ok(variant) => variant.id.clone(),
            Err(NoVariant { message, help }) => {
                format!("{message}\n  help: {}", help.unwrap_or_default())
            }
        }
    }

    #[test]
    fn values_that_are_not_named_stay_the_same() {
        for (wanted, expected) in [
            (vec![(None, json!("3.13"))], "scipy-notebook-3.13-gpu-latest"),
            (vec![(Some("gpu"), json!(false))], "scipy-notebook-3.11-latest"),
            (vec![(None, json!(false))], "scipy-notebook-3.11-latest"),
            (
                vec![(None, json!("minimal-notebook")), (Some("gpu"), json!(false))],
                "minimal-notebook-3.11-latest",
            ),
            (vec![(Some("channel"), json!("nightly"))], "scipy-notebook-3.11-gpu-nightly"),
            (vec![], "scipy-notebook-3.11-gpu-latest"),
        ] {
            assert_eq!(found(&wanted), expected, "{wanted:?}");
        }
    }

    #[test]
    fn values_without_a_variant_are_explained() {
        let errors = [
            vec![(None, json!("minimal-notebok"))],
            vec![(None, json!(3.13))],
            vec![(None, json!("latest"))],
            vec![(None, json!("3.13")), (Some("python"), json!("3.11"))],
            vec![(Some("pyhton"), json!("3.13"))],
            vec![(Some("python"), json!("3.12"))],
            vec![(Some("python"), json!(3.13))],
            vec![(Some("gpu"), json!("true"))],
            vec![(None, json!("minimal-notebook"))],
        ];
        insta::assert_snapshot!(errors.map(|wanted| found(&wanted)).join("\n"));
    }

    #[test]
    fn arguments_name_the_values_that_differ() {
        let matrix = parse(Path::new("matrix.toml"), MATRIX).expect("a matrix");
        let variant = |id: &str| matrix.variants.iter().find(|variant| variant.id == id).expect(id);
        let from = variant("scipy-notebook-3.11-gpu-latest");
        for (to, expected) in [
            ("minimal-notebook-3.13-nightly", r#""minimal-notebook" "3.13" gpu=false "nightly""#),
            ("latest-3.11-gpu-latest", r#"image="latest""#),
        ] {
            assert_eq!(matrix.image_arguments(from, variant(to)), expected);
        }
    }
}
