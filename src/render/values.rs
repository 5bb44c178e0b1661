//! Values stay where a template puts them.
//!
//! What a value may hold, the matrix says. Where it stands decides what it could open: so what
//! values write is marked while a Dockerfile is rendered, and looked at when its instructions
//! are known.

use std::ops::Range;

use super::copied::flags;
use super::dockerfile::{Instruction, Misuse};
use super::places::{self, Mark};

/// Stand around what a value writes; Unicode keeps these two for such uses, and no value may
/// hold them.
const BEGIN: char = '\u{fdd0}';
const END: char = '\u{fdd1}';

/// Whether a character is one of the marks.
pub(super) fn is_mark(character: char) -> bool {
    matches!(character, BEGIN | END | places::BEGIN | places::END)
}

/// What a value writes, with its marks.
pub(super) fn mark(value: String) -> String {
    match value.is_empty() {
        // Nothing is nowhere; and handlebars would indent the marks.
        true => value,
        false => format!("{BEGIN}{value}{END}"),
    }
}

/// A text that was rendered, and where in it values stand.
#[derive(Debug)]
pub(super) struct Rendered {
    pub(super) text: String,
    /// In their order.
    values: Vec<Value>,
    /// Where templates continue it, in order.
    pub(super) marks: Vec<Mark>,
}

/// Where a value stands, in bytes.
#[derive(Debug)]
struct Value {
    /// All of it.
    whole: Range<usize>,
    /// The same without the blanks around it.
    trimmed: Range<usize>,
}

impl Rendered {
    /// Takes the marks out of `marked`.
    pub(super) fn new(marked: &str) -> Self {
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

    /// Makes sure that no value is an instruction, a flag of one, more than one word of a `FROM`
    /// or of a flag, or the end of a here-document.
    pub(super) fn check(&self, instructions: &[Instruction]) -> Result<(), Misuse> {
        if self.values.is_empty() {
            return Ok(());
        }
        let wrong = instructions.iter().find_map(|instruction| {
            self.wrong(instruction).map(|what| Misuse { line: instruction.line, what })
        });
        wrong.map_or(Ok(()), Err)
    }

    fn wrong(&self, instruction: &Instruction) -> Option<String> {
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
                    "`{flag}` comes from a value, and would be a flag of `{keyword}`; flags stand in templates"
                ));
            }
            let place = place(flag);
            let more = self.within(&place).find(is_more).or_else(|| self.splitting(&place));
            if let Some(value) = more {
                return Some(format!("the value `{value}` would be more than a part of `{flag}`"));
            }
        }
        if keyword != "FROM" {
            return None;
        }
        let place = place(rest);
        let value = self.within(&place).find(is_more).or_else(|| self.splitting(&place))?;
        Some(format!("the value `{value}` would be more than one word of `FROM`"))
    }

    /// The values of which a part stands in one of `places`.
    fn within(&self, places: &[Range<usize>]) -> impl Iterator<Item = &str> {
        places.iter().flat_map(|place| {
            let first = self.values.partition_point(|value| value.trimmed.end <= place.start);
            let found = self.values[first..].iter();
            let found = found.take_while(|value| value.trimmed.start < place.end);
            found.map(|value| &self.text[value.trimmed.clone()])
        })
    }

    /// A value in or beside one of `places` that has a blank where it touches other text, and so
    /// makes two words of one.
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
    format!(
        "`{keyword}` comes from a value, and would be an instruction; instructions stand in templates"
    )
}

#[cfg(test)]
mod tests {
    use super::super::dockerfile::parse;
    use super::*;

    /// What is said of a Dockerfile in which values stand between `«` and `»`.
    fn said(text: &str) -> Option<String> {
        let rendered = Rendered::new(&text.replace('«', "\u{fdd0}").replace('»', "\u{fdd1}"));
        assert_eq!(rendered.text, text.replace(['«', '»'], ""));
        let instructions = parse(&rendered.text).expect(text);
        rendered
            .check(&instructions)
            .err()
            .map(|misuse| format!("{}: {}", misuse.line, misuse.what))
    }

    #[test]
    fn values_stay_where_they_are() {
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
        .map(|text| said(text).expect(text));
        insta::assert_snapshot!(all.join("\n"));
    }

    #[test]
    fn values_may_be_what_a_template_makes_of_them() {
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
            assert_eq!(said(text), None, "{text}");
        }
    }
}
