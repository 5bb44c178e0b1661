//! The Dockerfile of an image together with those of the images of the matrix that it is based on.
//!
//! Rules about an image need all of its instructions. Builds never use this text: an image is based on the finished image
//! of another variant, not on its steps.

use std::sync::Arc;

use super::context::BuildContext;
use super::dockerfile::parse;
use super::places::TemplateLine;
use super::stages::FinalStage;

/// A text with the template line of each of its lines.
#[derive(Default)]
struct Text {
    text: String,
    lines: Vec<TemplateLine>,
}

impl Text {
    fn append(&mut self, other: Self) {
        self.text.push_str(&other.text);
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
        self.lines.extend(other.lines);
    }
}

/// The sections of a Dockerfile: everything before its first `FROM`, and its stages.
#[derive(Default)]
struct Sections {
    globals: Text,
    stages: Text,
}

impl Sections {
    /// Returns the sections of `context`, with those of the images that it is based on before them. `above` are the images
    /// that are based on it: images that are based on each other have no end.
    fn new<'c>(
        context: &BuildContext,
        find: &impl Fn(&str) -> Option<&'c BuildContext>,
        above: &[&str],
    ) -> Self {
        let mut sections = Self::default();
        for (number, parent) in context.parents.iter().enumerate() {
            let Some(other) = find(&parent.id).filter(|_| !above.contains(&&*parent.id)) else {
                continue;
            };
            let mut below = Self::new(other, find, &[above, &[&parent.id]].concat());
            below.name_image(&parent.placeholder(), other.options.target.as_deref());
            sections.globals.append(below.globals);
            // Images that are based on the same image list it once.
            if number == 0 || !sections.stages.text.contains(&below.stages.text) {
                sections.stages.append(below.stages);
            }
        }
        let own = Self::split(context);
        sections.globals.append(own.globals);
        sections.stages.append(own.stages);
        sections
    }

    fn split(context: &BuildContext) -> Self {
        let text = &context.dockerfile;
        let instructions = parse(text).unwrap_or_default();
        let first = instructions.iter().find(|instruction| instruction.keyword == "FROM");
        let begin =
            first.map_or(0, |first| text[..first.place(0)].rfind('\n').map_or(0, |at| at + 1));
        let (globals, stages) = text.split_at(begin);
        let mut lines = context.lines.to_vec();
        let after = lines.split_off(globals.lines().count().min(lines.len()));
        Self {
            globals: Text { text: globals.to_owned(), lines },
            stages: Text { text: stages.to_owned(), lines: after },
        }
    }

    /// Names the stage `target`, or the last, `name`.
    fn name_image(&mut self, name: &str, target: Option<&str>) {
        let Some(stage) = FinalStage::find(&self.stages.text, target) else { return };
        match stage.name {
            None => self.stages.text.insert_str(stage.end, &format!(" AS {name}")),
            Some(own) => {
                let last = self.stages.lines.last().cloned();
                self.stages.append(Text {
                    text: format!("FROM {own} AS {name}\n"),
                    lines: last.into_iter().collect(),
                });
            }
        }
    }
}

impl BuildContext {
    /// Returns the context with all instructions of the image. `find` returns the context of another variant by its id.
    #[must_use]
    pub fn with_instructions_of_parents<'c>(
        &self,
        find: &impl Fn(&str) -> Option<&'c BuildContext>,
    ) -> Self {
        let Sections { mut globals, stages } = Sections::new(self, find, &[]);
        globals.append(stages);
        let lines: Arc<[TemplateLine]> = globals.lines.into();
        Self { dockerfile: globals.text, lines, parents: Vec::new(), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parents::{Parent, placeholder};
    use super::*;

    fn context(id: &str, dockerfile: &str, parents: &[&str]) -> BuildContext {
        let text = parents.iter().fold(dockerfile.to_owned(), |text, parent| {
            text.replace(&format!("<{parent}>"), &placeholder(parent))
        });
        let lines = (1..=text.lines().count()).map(|line| TemplateLine {
            file: id.into(),
            line,
            column: 1,
        });
        let parent = |id: &&str| Parent {
            id: (*id).to_owned(),
            line: 1,
            has_same_platforms: true,
            selects_platform: false,
        };
        BuildContext {
            lines: lines.collect(),
            dockerfile: text,
            parents: parents.iter().map(parent).collect(),
            ..BuildContext::default()
        }
    }

    #[test]
    fn parents_become_stages_before_those_of_the_image() {
        let root = context("root", "ARG V=1\nFROM debian:$V AS root\nUSER app", &[]);
        let middle = context("middle", "FROM <root>\nRUN x\n", &["root"]);
        let leaf = context(
            "leaf",
            "ARG W=2\nFROM <middle> AS a\nFROM b:$W\nCOPY --from=a /x /\n",
            &["middle"],
        );
        let find = |id: &str| match id {
            "root" => Some(&root),
            "middle" => Some(&middle),
            _ => None,
        };
        let all = leaf.with_instructions_of_parents(&find);
        let lines = all.dockerfile.lines().enumerate().map(|(at, text)| {
            let place = all.template_line(at + 1).expect("a line of a template");
            format!("{}:{} {text}", place.file, place.line)
        });
        let names = |text: String| {
            text.replace(&placeholder("root"), "<root>").replace(&placeholder("middle"), "<middle>")
        };
        insta::assert_snapshot!(names(lines.collect::<Vec<_>>().join("\n")), @r"
        root:1 ARG V=1
        leaf:1 ARG W=2
        root:2 FROM debian:$V AS root
        root:3 USER app
        root:3 FROM root AS <root>
        middle:1 FROM <root> AS <middle>
        middle:2 RUN x
        leaf:2 FROM <middle> AS a
        leaf:3 FROM b:$W
        leaf:4 COPY --from=a /x /
        ");
        let alone = root.with_instructions_of_parents(&find);
        assert_eq!(alone.dockerfile.trim_end(), root.dockerfile);
    }
}
