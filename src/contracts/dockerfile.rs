//! The parts of a Dockerfile that rules look at: the base image and the settings of the image, and the commands of steps.

use std::ops::Range;

use crate::render::{
    Arguments, DockerfileOptions, Instruction, UNKNOWN, Upstream, flags, parse, split, stage,
    unquoted,
};

/// A Dockerfile, divided into stages.
pub(super) struct Dockerfile<'a> {
    text: &'a str,
    instructions: Vec<Instruction>,
    /// The stages up to that of the image.
    stages: Vec<Stage>,
}

struct Stage {
    /// The name in lower case; empty without a name.
    name: String,
    /// The base with its arguments expanded.
    base: String,
    /// The instructions, starting with `FROM`.
    instructions: Range<usize>,
}

/// A word of an instruction, without quotes, and its offset in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) at: usize,
}

/// A variable of an `ENV` or `ARG`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Variable {
    pub(super) name: Word,
    /// The value without quotes; `None` for an `ARG` without a default.
    pub(super) value: Option<String>,
}

/// The image of a `FROM` that no stage builds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Base {
    /// The full name without a digest, such as `docker.io/library/python:3.11`. As written if only the engine knows it.
    pub(super) name: String,
    pub(super) is_pinned: bool,
    /// Whether the name has a tag other than `latest`.
    pub(super) is_tagged: bool,
    /// The offset of the instruction.
    pub(super) at: usize,
}

impl Base {
    /// Returns the repository and the tag.
    pub(super) fn parts(&self) -> (&str, &str) {
        let split = self.name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'));
        split.unwrap_or((&self.name, ""))
    }
}

impl<'a> Dockerfile<'a> {
    /// Returns `None` for a text that is not a Dockerfile, which rendering reports.
    pub(super) fn new(text: &'a str, options: &DockerfileOptions) -> Option<Self> {
        let instructions = parse(text).ok()?;
        let escape = instructions.first().map_or('\\', |first| first.escape);
        let arguments = Arguments::new(&instructions, escape, &options.arguments);
        let mut stages: Vec<Stage> = Vec::new();
        for (index, instruction) in instructions.iter().enumerate() {
            if instruction.keyword == "FROM" {
                let word = flags(&instruction.arguments).1.split_whitespace().next();
                stages.push(Stage {
                    name: stage(instruction).unwrap_or_default(),
                    base: arguments.expand(word.unwrap_or_default()),
                    instructions: index..index + 1,
                });
            } else if let Some(stage) = stages.last_mut() {
                stage.instructions.end = index + 1;
            }
        }
        let target = options.target.as_ref().map(|target| target.to_ascii_lowercase());
        let target = target.and_then(|target| stages.iter().position(|stage| stage.name == target));
        stages.truncate(target.map_or(stages.len(), |at| at + 1));
        Some(Self { text, instructions, stages })
    }

    /// Returns all instructions.
    pub(super) fn all(&self) -> impl Iterator<Item = &Instruction> {
        self.instructions.iter()
    }

    /// Returns the instructions that the image consists of: those of the last stage and of the stages that it is based
    /// on, lowest first.
    pub(super) fn image(&self) -> Vec<&Instruction> {
        let stages = self.chain().into_iter().rev();
        stages
            .flat_map(|index| &self.instructions[self.stages[index].instructions.clone()])
            .collect()
    }

    /// Returns the indices of the last stage and the stages that it is based on, in this order.
    fn chain(&self) -> Vec<usize> {
        let mut chain: Vec<usize> = self.stages.len().checked_sub(1).into_iter().collect();
        while let Some(below) = chain.last().and_then(|index| self.stage_below(*index)) {
            chain.push(below);
        }
        chain
    }

    fn stage_below(&self, index: usize) -> Option<usize> {
        let base = self.stages[index].base.to_ascii_lowercase();
        self.stages[..index].iter().rposition(|stage| !base.is_empty() && stage.name == base)
    }

    /// Returns the base image of the image; `None` for `scratch`.
    pub(super) fn base(&self) -> Option<Base> {
        self.base_of(*self.chain().last()?)
    }

    /// Returns the base images of all stages.
    pub(super) fn bases(&self) -> Vec<Base> {
        let indices = 0..self.stages.len();
        indices
            .filter(|index| self.stage_below(*index).is_none())
            .filter_map(|index| self.base_of(index))
            .collect()
    }

    fn base_of(&self, index: usize) -> Option<Base> {
        let stage = &self.stages[index];
        let at = self.instructions[stage.instructions.start].place(0);
        if stage.base == "scratch" {
            return None;
        }
        let written = || Base { name: stage.base.clone(), is_pinned: true, is_tagged: true, at };
        if stage.base.contains(UNKNOWN) {
            return Some(written());
        }
        let (name, digest) = stage.base.split_once('@').unwrap_or((&stage.base, ""));
        let is_tagged =
            name.rsplit_once(':').is_some_and(|(_, tag)| !tag.contains('/') && tag != "latest");
        let reference = Upstream::reference(name).map(|image| image.canonical());
        Some(Base {
            name: reference.unwrap_or(name.to_owned()),
            is_pinned: !digest.is_empty(),
            is_tagged,
            at,
        })
    }

    /// Returns the commands of a `RUN`, in the order of the text: the words between `&&`, `;` and similar operators.
    pub(super) fn commands(&self, instruction: &Instruction) -> Vec<Vec<Word>> {
        if flags(&instruction.arguments).1.starts_with('[') {
            return vec![words(instruction)];
        }
        let script = self.script(instruction);
        let (text, begin) = script.unwrap_or((&instruction.arguments, None));
        let place = |part: &str| match begin {
            Some(begin) => begin + offset(text, part),
            None => instruction.place(offset(text, part)),
        };
        let escape = instruction.escape;
        let commands = simple_commands(flags(text).1).into_iter().map(|command| {
            let words =
                split(command, escape).unwrap_or_else(|| command.split_whitespace().collect());
            let words = words.into_iter().map(|word| Word {
                text: unquoted(word, escape).unwrap_or(word.to_owned()),
                at: place(word),
            });
            words.collect::<Vec<_>>()
        });
        commands.filter(|words| !words.is_empty()).collect()
    }

    /// Returns the lines of the here-documents of an instruction and their offset in the text, if it has any.
    fn script(&self, instruction: &Instruction) -> Option<(&'a str, Option<usize>)> {
        if !instruction.arguments.contains("<<") {
            return None;
        }
        let begin = self.text[instruction.place(0)..].find('\n')? + instruction.place(0) + 1;
        let end = self.instructions.iter().map(|other| other.place(0)).find(|at| *at >= begin);
        let whole = &self.text[begin..end.unwrap_or(self.text.len())];
        // The keyword of the next instruction is on the last line.
        let whole = if end.is_some() { &whole[..=whole.rfind('\n')?] } else { whole };
        Some((whole, Some(begin)))
    }

    /// Returns the line in the text, from 1, of the byte at `offset`.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.text[..offset].matches('\n').count() + 1
    }
}

/// Returns the arguments of an instruction as words without quotes; those of the JSON form too.
pub(super) fn words(instruction: &Instruction) -> Vec<Word> {
    let arguments = flags(&instruction.arguments).1;
    let begin = offset(&instruction.arguments, arguments);
    if let Ok(list) = serde_json::from_str::<Vec<String>>(arguments) {
        let mut after = 0;
        let words = list.into_iter().map(|text| {
            // An escaped string differs from its value: then the last place counts.
            after += arguments[after..].find(text.as_str()).unwrap_or_default();
            Word { at: instruction.place(begin + after), text }
        });
        return words.collect();
    }
    let words = split(arguments, instruction.escape).unwrap_or_default();
    let words = words.into_iter().map(|word| Word {
        text: unquoted(word, instruction.escape).unwrap_or(word.to_owned()),
        at: instruction.place(offset(&instruction.arguments, word)),
    });
    words.collect()
}

/// Returns the variables that an `ENV` or `ARG` sets.
pub(super) fn variables(instruction: &Instruction) -> Vec<Variable> {
    let words = words(instruction);
    let is_old_form =
        instruction.keyword == "ENV" && words.first().is_some_and(|word| !word.text.contains('='));
    if is_old_form {
        let value = instruction
            .arguments
            .split_once(char::is_whitespace)
            .map(|(_, value)| value.trim().to_owned());
        return words
            .into_iter()
            .take(1)
            .map(|name| Variable { name, value: value.clone() })
            .collect();
    }
    let variables = words.into_iter().map(|word| match word.text.split_once('=') {
        Some((name, value)) => Variable {
            name: Word { text: name.to_owned(), at: word.at },
            value: Some(value.to_owned()),
        },
        None => Variable { name: word, value: None },
    });
    variables.collect()
}

/// Splits a command line at the operators of the shell that are not quoted.
fn simple_commands(text: &str) -> Vec<&str> {
    let mut commands = Vec::new();
    let (mut begin, mut quote) = (0, None);
    for (at, character) in text.char_indices() {
        match (character, quote) {
            // A continued line of a here-document.
            ('\n', None) if text[..at].ends_with('\\') => {}
            ('\'' | '"', None) => quote = Some(character),
            (_, Some(open)) if character == open => quote = None,
            ('\n' | ';' | '&' | '|' | '(' | ')', None) => {
                commands.push(&text[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    commands.push(&text[begin..]);
    commands
}

/// Returns the offset of `part`, a slice of `whole`.
fn offset(whole: &str, part: &str) -> usize {
    part.as_ptr() as usize - whole.as_ptr() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(text: &str) -> Vec<String> {
        let dockerfile = Dockerfile::new(text, &DockerfileOptions::default()).expect(text);
        let runs = dockerfile.all().filter(|instruction| instruction.keyword == "RUN");
        let commands = runs.flat_map(|run| dockerfile.commands(run));
        let shown = commands.map(|words| {
            let line = dockerfile.line(words[0].at);
            let words: Vec<String> = words.into_iter().map(|word| word.text).collect();
            format!("{line}: {}", words.join(" "))
        });
        shown.collect()
    }

    #[test]
    fn commands_are_the_words_between_operators() {
        let text = "FROM a\nRUN --mount=type=cache,target=/c x 'a;b' && \\\n    (y; z) | \"w\"\n\
                    RUN [\"pip\", \"install\"]\nRUN <<EOF\none two\nthree\nEOF\nUSER a\n";
        assert_eq!(
            commands(text),
            [
                "2: x a;b",
                "3: y",
                "3: z",
                "3: w",
                "4: pip install",
                "6: one two",
                "7: three",
                "8: EOF"
            ]
        );
    }

    #[test]
    fn the_image_consists_of_the_stages_that_it_is_based_on() {
        let text = "ARG V=3.11\nFROM python:$V AS base\nENV A=1\nFROM debian AS other\nENV B=2\n\
                    FROM base\nENV C d e\nENV F=g H=\"i j\"\n";
        let dockerfile = Dockerfile::new(text, &DockerfileOptions::default()).expect(text);
        let image = dockerfile.image().into_iter();
        let environment = image.filter(|instruction| instruction.keyword == "ENV");
        let variables: Vec<String> = environment
            .flat_map(variables)
            .map(|variable| {
                format!("{}={}", variable.name.text, variable.value.unwrap_or_default())
            })
            .collect();
        assert_eq!(variables, ["A=1", "C=d e", "F=g", "H=i j"]);
        assert_eq!(dockerfile.base().expect("a base").name, "docker.io/library/python:3.11");
        let bases: Vec<bool> = dockerfile.bases().iter().map(|base| base.is_tagged).collect();
        assert_eq!(bases, [true, false]);
    }
}
