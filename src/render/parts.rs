//! Generated Dockerfiles, and their parts in templates: `{{> packages}}`.
//!
//! A template includes a part as a partial whose text is a mark. [`Parts::insert`] replaces the mark by the part of the
//! variant. All lines have marks of their places in the matrix file.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::error::RenderError;
use super::generated::{Generator, PARTS, ReadFile, Script};
use super::places::{self, MATRIX};
use crate::image::Platform;
use crate::matrix::{Matrix, Variant};

/// The marks around the name of a part. Both are noncharacters, which templates and the matrix file cannot contain.
pub(super) const BEGIN: char = '\u{fdd8}';
pub(super) const END: char = '\u{fdd9}';

/// The table to which lines without a place of their own belong.
const TABLE: &str = "[image]";

/// The generated parts of one variant.
pub(super) struct Parts<'a> {
    pub(super) matrix: &'a Matrix,
    pub(super) variant: &'a Variant,
    pub(super) read: ReadFile<'a>,
    /// The parts that were generated so far.
    pub(super) included: RefCell<BTreeSet<&'static str>>,
}

/// Returns the template of a part.
pub(super) fn template(part: &str) -> String {
    format!("{BEGIN}{part}{END}")
}

impl<'a> Parts<'a> {
    pub(super) fn new(matrix: &'a Matrix, variant: &'a Variant, read: ReadFile<'a>) -> Self {
        Self { matrix, variant, read, included: RefCell::default() }
    }

    /// Generates the Dockerfile of the variant, with the marks of places.
    pub(super) fn dockerfile(&self) -> Result<String, RenderError> {
        self.generate(None)
    }

    /// Replaces the marks of parts in a rendered template.
    pub(super) fn insert(&self, mut marked: String) -> Result<String, RenderError> {
        while let Some(begin) = marked.find(BEGIN) {
            let after = begin + BEGIN.len_utf8();
            let length = marked[after..].find(END).expect("a mark ends");
            let name = marked[after..after + length].to_owned();
            let text = self.generate(Some(&name))?;
            marked.replace_range(begin..after + length + END.len_utf8(), &text);
        }
        Ok(marked)
    }

    /// Generates the part `name`, or the whole Dockerfile.
    fn generate(&self, name: Option<&str>) -> Result<String, RenderError> {
        match name {
            Some(name) => {
                self.included.borrow_mut().extend(PARTS.iter().find(|part| **part == name));
            }
            None => self.included.borrow_mut().extend(PARTS),
        }
        let contents = self.matrix.contents(self.variant);
        let platforms = self.variant.platforms.iter();
        let generator = Generator {
            matrix: self.matrix,
            contents: &contents,
            architectures: platforms.map(Platform::architecture).collect(),
            read: self.read,
        };
        let script = name
            .map_or_else(|| generator.dockerfile(), |name| generator.part(name))
            .map_err(|error| RenderError::Variant { variant: self.variant.id.clone(), error })?;
        Ok(self.marked(&script))
    }

    /// Puts a mark before each line. A line without a place has that of the first line of its instruction that has one.
    fn marked(&self, script: &Script) -> String {
        let source = &self.matrix.source.text;
        let default = source.find(TABLE).unwrap_or_default();
        let lines: Vec<&str> = script.text.lines().collect();
        let mut text = String::with_capacity(script.text.len() * 2);
        let mut begin = 0;
        while begin < lines.len() {
            let rest = &lines[begin..];
            let length =
                rest.iter().position(|line| !line.ends_with('\\')).unwrap_or(rest.len() - 1);
            let places = &script.places[begin..=begin + length];
            let first = places.iter().find(|place| !place.is_empty());
            let first = first.map_or(default, |place| place.start);
            for (line, place) in rest[..=length].iter().zip(places) {
                let at = if place.is_empty() { first } else { place.start };
                text.push_str(&places::written(MATRIX, at));
                text.push_str(line);
                text.push('\n');
            }
            begin += length + 1;
        }
        text
    }
}
