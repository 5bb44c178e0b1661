//! Refuses values that would become an instruction, a flag or additional words in a Dockerfile.
//!
//! The matrix limits the characters of a value. The effect of a value also depends on its location. So values
//! are marked while a Dockerfile is rendered. [`Rendered::new`] removes the marks, and [`Rendered::check`] compares
//! their locations with the parsed instructions.

use std::ops::Range;

use super::dockerfile::{Instruction, Misuse};
use super::flags::flags;
use super::parents;
use super::parts;
use super::places::{self, Mark};

/// The marks around a value. Both are noncharacters, which values and templates cannot contain.
const BEGIN: char = '\u{fdd0}';
const END: char = '\u{fdd1}';

/// Returns true if a character is a mark.
pub(super) fn is_mark(character: char) -> bool {
    let others = [places::BEGIN, places::END, parents::BEGIN, parents::END];
    matches!(character, BEGIN | END | parts::BEGIN | parts::END) || others.contains(&character)
}

/// Puts marks around a value.
pub(super) fn mark(value: String) -> String {
    // Handlebars would indent the marks of an empty value.
    if value.is_empty() { value } else { format!("{BEGIN}{value}{END}") }
}

/// A rendered text with the locations of the values in it.
#[derive(Debug)]
pub(super) struct Rendered {
    pub(super) text: String,
    /// The values in the order of the text.
    values: Vec<Value>,
    /// The marks of templates in the order of the text.
    pub(super) marks: Vec<Mark>,
}

/// The location of a value, in bytes.
#[derive(Debug)]
struct Value {
    whole: Range<usize>,
    /// The same without surrounding whitespace.
    trimmed: Range<usize>,
}

impl Rendered {
    /// Removes the marks from `marked`. `image` returns the name for a call of the helper `image` at an offset of the
    /// text.
    pub(super) fn new(marked: &str, mut image: impl FnMut(&str, usize) -> String) -> Self {
        let mut text = String::with_capacity(marked.len());
        let (mut values, mut marks) = (Vec::new(), Vec::new());
        let mut begin = 0;
        let mut characters = marked.chars();
        while let Some(character) = characters.next() {
            match character {
                places::BEGIN => {
                    let mark: String =
                        characters.by_ref().take_while(|next| *next != places::END).collect();
                    marks.extend(Mark::parse(&mark, text.len()));
                }
                parents::BEGIN => {
                    let call: String =
                        characters.by_ref().take_while(|next| *next != parents::END).collect();
                    let name = image(&call, text.len());
                    text.push_str(&name);
                }
                BEGIN => begin = text.len(),
                END => {
                    let value = text[begin..].trim_end();
                    let end = begin + value.len();
                    let trimmed = end - value.trim_start().len()..end;
                    values.push(Value { whole: begin..text.len(), trimmed });
                }
                other => text.push(other),
            }
        }
        values.retain(|value| !value.trimmed.is_empty());
        Self { text, values, marks }
    }

    /// Refuses a value that becomes an instruction, a flag, more than one word of a `FROM` or of a flag, or the end of
    /// a here-document.
    pub(super) fn check(&self, instructions: &[Instruction]) -> Result<(), Misuse> {
        if self.values.is_empty() {
            return Ok(());
        }
        let fault = instructions.iter().find_map(|instruction| {
            self.fault(instruction).map(|what| Misuse { line: instruction.line, what })
        });
        fault.map_or(Ok(()), Err)
    }

    fn fault(&self, instruction: &Instruction) -> Option<String> {
        let Instruction { keyword, arguments, begin, ends, .. } = instruction;
        let word = *begin..begin + keyword.len();
        if self.within(std::slice::from_ref(&word)).next().is_some() {
            return Some(not_an_instruction(keyword));
        }
        if let Some(value) = self.within(ends).next() {
            return Some(format!("the value `{value}` would end the here-document"));
        }
        let place = |part: &str| {
            let from = part.as_ptr() as usize - arguments.as_ptr() as usize;
            instruction.places(&(from..from + part.len()))
        };
        let is_more = |value: &&str| value.contains(char::is_whitespace);
        let (mut keyword, mut rest) = (keyword.as_str(), arguments.as_str());
        if keyword == "ONBUILD"
            && let Some((inner, after)) = rest.split_once(char::is_whitespace)
        {
            if self.within(&place(inner)).next().is_some() {
                return Some(not_an_instruction(inner));
            }
            (keyword, rest) = (inner, after);
        }
        for flag in flags(rest).0 {
            if self.within(&place(&flag[..2])).next().is_some() {
                return Some(format!(
                    "a value would add the flag `{flag}` to `{keyword}`; write flags in templates"
                ));
            }
            let place = place(flag);
            let more = self.within(&place).find(is_more).or_else(|| self.splitting(&place));
            if let Some(value) = more {
                return Some(format!("the value `{value}` would add words after `{flag}`"));
            }
        }
        if keyword != "FROM" {
            return None;
        }
        let place = place(rest);
        let value = self.within(&place).find(is_more).or_else(|| self.splitting(&place))?;
        Some(format!("the value `{value}` would add words to `FROM`"))
    }

    /// Returns the values that overlap one of `places`.
    fn within(&self, places: &[Range<usize>]) -> impl Iterator<Item = &str> {
        places.iter().flat_map(|place| {
            let first = self.values.partition_point(|value| value.trimmed.end <= place.start);
            let found = self.values[first..].iter();
            let found = found.take_while(|value| value.trimmed.start < place.end);
            found.map(|value| &self.text[value.trimmed.clone()])
        })
    }

    /// Finds a value in or next to one of `places` that begins or ends with whitespace next to other text, and so
    /// splits a word.
    fn splitting(&self, places: &[Range<usize>]) -> Option<&str> {
        let is_text = |at: Option<char>| at.is_some_and(|character| !character.is_whitespace());
        let mut near = places.iter().flat_map(|place| {
            let first = self.values.partition_point(|value| value.whole.end < place.start);
            let found = self.values[first..].iter();
            found.take_while(|value| value.whole.start <= place.end)
        });
        let splits = near.find(|Value { whole, trimmed }| {
            let before = whole.start < trimmed.start
                && is_text(self.text[..whole.start].chars().next_back());
            let after = trimmed.end < whole.end && is_text(self.text[whole.end..].chars().next());
            before || after
        })?;
        Some(&self.text[splits.whole.clone()])
    }
}

fn not_an_instruction(keyword: &str) -> String {
    format!("a value would become the instruction `{keyword}`; write instructions in templates")
}

#[cfg(test)]
mod tests {
    use super::super::dockerfile::parse;
    use super::*;

    /// Returns the fault of a Dockerfile with values between `«` and `»`.
    fn fault(text: &str) -> Option<String> {
        let rendered =
            Rendered::new(&text.replace('«', "\u{fdd0}").replace('»', "\u{fdd1}"), |_, _| {
                String::new()
            });
        assert_eq!(rendered.text, text.replace(['«', '»'], ""));
        let instructions = parse(&rendered.text).expect(text);
        rendered
            .check(&instructions)
            .err()
            .map(|misuse| format!("{}: {}", misuse.line, misuse.what))
    }

    #[test]
    fn values_that_change_instructions_are_refused() {
        let all = [
            "FROM a\n«RUN» «curl evil» \n",
            "FROM a\n  «RUN» \\\n  x\n",
            "FROM a\nONBUILD «RUN» x\n",
            "FROM «--platform=linux/arm64 evil/other:1 AS x»\n",
            "FROM «python:3.11 AS x»\n",
            "FROM a\nCOPY «--from=evil/image:1 /etc/passwd» /app/\n",
            "FROM a\nONBUILD COPY « --from=evil» x /app/\n",
            "FROM a\nCOPY --from=«evil /etc/passwd» /app/\n",
            "FROM a\nRUN --network=none \\\n  «--security=insecure» x\n",
            "FROM a\nRUN <<EOF\n«EOF»\n",
            "FROM a\nCOPY --from=« secret.txt» /a /b\n",
            "FROM --platform=« evil:1» AS base\n",
            "FROM «evil »:1\n",
        ]
        .map(|text| fault(text).expect(text));
        insta::assert_snapshot!(all.join("\n"));
    }

    #[test]
    fn values_within_arguments_are_accepted() {
        for text in [
            "FROM «python:3.11» AS «base»\n",
            "FROM --platform=«linux/amd64» «registry.acme.example»/«python»\n",
            "FROM a\nRUN apt-get install «curl git» «--no-install-recommends»\n",
            "FROM a\nRUN pip install «--extra-index-url https://example.org/simple» x\n",
            "FROM a\nRUN « curl» x\n",
            "FROM a\nCOPY «a.txt b.txt» /app/\n",
            "FROM a\nRUN x \\\n  # «RUN a»\n  «RUN» \\\n  «COPY»\n",
            "FROM a\nRUN <<EOF\n«RUN»\n «EOF»\nEOF\n",
            "FROM a\nUSER «user»\nENV MODE=«run»\n",
            "# «FROM»\nFROM a\n",
            "FROM « a » AS b\n",
            "FROM a \\\n# «a b»\n AS b\n",
        ] {
            assert_eq!(fault(text), None, "{text}");
        }
    }
}
