//! From arguments to a selection and a plan.

use crate::error::Report;
use crate::image::Platform;
use crate::matrix::{Selection, Term};
use crate::plan::Plan;

use super::args::{NamingArgs, SelectionArgs};
use crate::ops::{self, ArgumentError, Context, NameOptions};

/// The characters that operators begin with.
pub(super) const OPERATORS: [char; 5] = ['=', '<', '>', '!', '~'];

impl SelectionArgs {
    pub(super) fn selection(&self) -> Result<Selection, ArgumentError> {
        let mut only = Vec::new();
        let mut add = |axis: &str, condition: &str| {
            only.push(Term { axis: axis.to_owned(), condition: condition.to_owned() });
        };
        for version in values(&self.python) {
            add("python", &version);
        }
        let gpu = self.use_gpu.as_deref();
        for value in switch(self.gpu || gpu == Some("y"), self.no_gpu || gpu == Some("n"), gpu) {
            add("gpu", value);
        }
        let reload = self.live_reload.as_deref();
        let (on, off) = (reload == Some("y"), self.no_live_reload || reload == Some("n"));
        for value in switch(on, off, reload) {
            add("live_reload", value);
        }
        for job_type in values(&self.job_type) {
            add("job_type", &job_type);
        }
        for text in &self.only {
            only.extend(terms("--only", text)?.into_iter().flatten());
        }
        let mut without = Vec::new();
        for text in &self.exclude {
            without.extend(combinations(&terms("--exclude", text)?));
        }
        let ids = self.variant.iter().flat_map(|ids| ids.split(',')).map(str::trim);
        let ids: Vec<String> = ids.map(str::to_owned).collect();
        // An empty id must not select all variants.
        if ids.iter().any(String::is_empty) {
            let reason = "expected ids as `basegen plan` lists them, such as `3.11-gpu-server`";
            return Err(ArgumentError::new("--variant", &self.variant.join(","), &reason));
        }
        Ok(Selection { only, without, ids })
    }
}

/// Returns each value or version range of a repeated argument. `all`, from the older script, means the same as no
/// argument.
fn values(arguments: &[String]) -> impl Iterator<Item = String> {
    arguments.iter().flat_map(|text| parts(text)).filter(|text| text != "all")
}

/// Splits `text` at its commas, except those of a version range.
fn parts(text: &str) -> Vec<String> {
    let is_range = |part: &str| part.starts_with(OPERATORS);
    let mut parts: Vec<String> = Vec::new();
    for part in text.split(',').map(str::trim) {
        match parts.last_mut() {
            Some(last) if is_range(last) && is_range(part) => *last = format!("{last},{part}"),
            _ => parts.push(part.to_owned()),
        }
    }
    parts
}

fn switch(on: bool, off: bool, word: Option<&str>) -> &'static [&'static str] {
    match (on, off) {
        _ if word == Some("both") => &[],
        (true, false) => &["true"],
        (false, true) => &["false"],
        // Both values select all variants, as neither does, but the axis must exist.
        (true, true) => &["true", "false"],
        (false, false) => &[],
    }
}

/// Splits a term after the name of its axis.
fn split_axis(text: &str) -> (&str, &str) {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let (axis, rest) = text.split_at(text.find(|c: char| !is_name(c)).unwrap_or(text.len()));
    (axis, rest.trim())
}

/// Parses `axis=value`, or an axis and a version range such as `torch>=2.4`.
fn term(flag: &'static str, text: &str) -> Result<Term, ArgumentError> {
    let (axis, rest) = split_axis(text);
    let axis = axis.replace('-', "_");
    let condition = match rest.strip_prefix('=') {
        // `==` begins a version range, and `axis=>=3.10` contains one.
        Some(value) if !value.starts_with('=') => value,
        _ if rest.starts_with(OPERATORS) => rest,
        _ => "",
    };
    if axis.is_empty() || condition.is_empty() {
        let reason = "expected `axis=value`, such as `python=3.11`";
        return Err(ArgumentError::new(flag, text, &reason));
    }
    Ok(Term { axis, condition: condition.to_owned() })
}

/// Parses terms joined by commas: `gpu=true,python=3.9,3.10`. Returns the terms of each axis, which are alternatives. A comma that
/// no axis follows precedes another value of the same axis, or belongs to a version range.
pub(super) fn terms(flag: &'static str, text: &str) -> Result<Vec<Vec<Term>>, ArgumentError> {
    let names_axis = |part: &str| {
        let (axis, rest) = split_axis(part);
        axis.starts_with(|c: char| c.is_ascii_alphabetic()) && rest.starts_with(OPERATORS)
    };
    let mut axes: Vec<String> = Vec::new();
    for part in text.split(',').map(str::trim) {
        match axes.last_mut() {
            Some(last) if !names_axis(part) => *last = format!("{last},{part}"),
            _ => axes.push(part.to_owned()),
        }
    }
    let alternatives = |text: &String| {
        let Term { axis, condition } = term(flag, text)?;
        let conditions = parts(&condition).into_iter();
        Ok(conditions.map(|condition| Term { axis: axis.clone(), condition }).collect())
    };
    axes.iter().map(alternatives).collect()
}

/// Returns every list with one of the alternatives for each axis.
fn combinations(axes: &[Vec<Term>]) -> Vec<Vec<Term>> {
    let with_each = |lists: Vec<Vec<Term>>, alternatives: &Vec<Term>| {
        let extended = lists.iter().flat_map(|list| {
            alternatives.iter().map(|term| list.iter().chain([term]).cloned().collect())
        });
        extended.collect()
    };
    axes.iter().fold(vec![Vec::new()], with_each)
}

impl NamingArgs {
    pub(super) fn naming(&self) -> Result<NameOptions, ArgumentError> {
        let platform = |text: &String| {
            text.parse::<Platform>().map_err(|error| ArgumentError::new("--platform", text, &error))
        };
        let naming = NameOptions {
            version: None,
            registries: self.registry.clone(),
            repository: self.repository.clone(),
            tag: self.tag.clone(),
            platforms: self.platform.iter().map(platform).collect::<Result<_, _>>()?,
            native: None,
        };
        match self.custom_version() {
            Some(version) => naming.with_custom_version(version),
            None => Ok(naming),
        }
    }
}

/// Plans the variants that the arguments select.
pub(super) fn plan<'a>(
    context: &'a Context,
    selection: &SelectionArgs,
    naming: &NamingArgs,
) -> Result<Plan<'a>, Report> {
    ops::selection::plan(context, &selection.selection()?, &naming.naming()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> String {
        match term("--only", text) {
            Ok(term) => format!("{} | {}", term.axis, term.condition),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn terms_accept_values_and_ranges() {
        assert_eq!(parsed("cuda=12.8"), "cuda | 12.8");
        assert_eq!(parsed("torch>=2.4,<3"), "torch | >=2.4,<3");
        assert_eq!(parsed("torch=>=2.4"), "torch | >=2.4");
        assert_eq!(parsed("torch==2.*"), "torch | ==2.*");
        assert_eq!(parsed("torch!=2.4"), "torch | !=2.4");
        assert_eq!(parsed("job-type=server"), "job_type | server");
        for text in ["torch", "=x", "torch=", "job-type"] {
            assert!(parsed(text).contains("expected `axis=value`"), "{text}");
        }
    }

    fn shown(terms: &[Term]) -> Vec<(&str, &str)> {
        terms.iter().map(|term| (term.axis.as_str(), term.condition.as_str())).collect()
    }

    #[test]
    fn commas_join_terms_values_and_ranges() {
        let parsed = |text: &str| terms("--exclude", text).expect("terms");
        let of_two_axes = parsed("gpu=true, python>=3.9,<3.11");
        assert_eq!(shown(&of_two_axes.concat()), [("gpu", "true"), ("python", ">=3.9,<3.11")]);
        let values = parsed("python=3.9, >=3.11,<3.13,3.14");
        let wanted = ["3.9", ">=3.11,<3.13", "3.14"].map(|condition| ("python", condition));
        assert_eq!((shown(&values.concat()), values.len()), (wanted.to_vec(), 1));
        for value in ["alpine", "b-1.0~rc1"] {
            let parsed = parsed(&format!("distro=slim-*,{value}")).concat();
            assert_eq!(shown(&parsed)[1], ("distro", value));
        }
    }

    #[test]
    fn values_of_an_exclusion_are_alternatives() {
        let lists = combinations(&terms("--exclude", "gpu=true,python=3.9,3.10").expect("terms"));
        assert_eq!(lists.len(), 2);
        assert_eq!(shown(&lists[0]), [("gpu", "true"), ("python", "3.9")]);
        assert_eq!(shown(&lists[1]), [("gpu", "true"), ("python", "3.10")]);
    }

    #[test]
    fn commas_separate_values_and_join_ranges() {
        for (text, expected) in [
            ("3.9, 3.10", &["3.9", "3.10"][..]),
            (">=3.13,<3.14", &[">=3.13,<3.14"]),
            (" >=3.13 , <3.14", &[">=3.13,<3.14"]),
            ("3.9,>=3.13,<3.14", &["3.9", ">=3.13,<3.14"]),
            (">=3.13,<3.14,3.9,!=3.10", &[">=3.13,<3.14", "3.9", "!=3.10"]),
            ("~=3.9,", &["~=3.9", ""]),
            (" all ", &[]),
        ] {
            let values: Vec<String> = values(&[text.to_owned()]).collect();
            assert_eq!(values, expected, "{text}");
        }
    }
}
