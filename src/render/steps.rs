//! Identifies the expensive build steps of a Dockerfile, to find steps that variants share.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hasher as _};

use super::arguments::{Arguments, UNKNOWN, names};
use super::dockerfile::{Instruction, escape_character, parse, stage};
use super::flags::flags;
use super::images::sources;
use super::options::DockerfileOptions;
use super::parents::placeholder;
use super::upstream::Upstream;

/// A build step that takes time: a `RUN`, an `ADD`, or an upstream image to pull.
///
/// It is a hash of the step and of everything before it, in its own stage and in the stages it uses. If two variants
/// have the same step, the engine executes it once. Copied files are identified by their paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Step(u64);

/// A stage of a Dockerfile.
#[derive(Default)]
struct Stage {
    name: String,
    /// The hash of all instructions so far.
    state: u64,
    steps: Vec<Step>,
    /// The layers of the stage, including those of the stages that it is based on.
    layers: Vec<Step>,
    /// The stages that it is based on or copies from.
    needs: BTreeSet<usize>,
}

/// Returns the steps that the image of `dockerfile` needs, each once. Empty if it cannot be parsed.
pub(super) fn steps(dockerfile: &str, options: &DockerfileOptions) -> Vec<Step> {
    let Ok(instructions) = parse(dockerfile) else { return Vec::new() };
    let stages = Reader::new(dockerfile, &instructions, options).read();
    let mut needed = BTreeSet::new();
    let mut waiting: Vec<usize> = stages.len().checked_sub(1).into_iter().collect();
    while let Some(index) = waiting.pop() {
        if needed.insert(index) {
            waiting.extend(&stages[index].needs);
        }
    }
    let mut steps: Vec<Step> =
        needed.iter().flat_map(|index| stages[*index].steps.iter().copied()).collect();
    steps.sort_unstable();
    steps.dedup();
    steps
}

/// Returns the layers of the image of `dockerfile`, each once. Empty if it cannot be parsed.
pub(super) fn layers(dockerfile: &str, options: &DockerfileOptions) -> Vec<Step> {
    let Ok(instructions) = parse(dockerfile) else { return Vec::new() };
    let stages = Reader::new(dockerfile, &instructions, options).read();
    let mut layers = stages.into_iter().next_back().unwrap_or_default().layers;
    layers.sort_unstable();
    layers.dedup();
    layers
}

/// Returns the layer that counts for all layers of an image.
fn layers_of(base: &str) -> Step {
    let repository = Upstream::reference(base).map(|image| image.repository);
    Step(hash(&("layers", repository.ok_or(base))))
}

/// Returns the layer that counts for all layers of the variant `id` in the images that are based on it.
pub(crate) fn layers_of_variant(id: &str) -> Step {
    layers_of(&placeholder(id))
}

struct Reader<'a> {
    text: &'a str,
    instructions: &'a [Instruction],
    options: &'a DockerfileOptions,
    arguments: Arguments,
    /// The hash of the arguments before the first stage, which any stage can use.
    globals: u64,
    stages: Vec<Stage>,
    by_name: BTreeMap<String, usize>,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str, instructions: &'a [Instruction], options: &'a DockerfileOptions) -> Self {
        let globals: Vec<&str> = instructions
            .iter()
            .take_while(|instruction| instruction.keyword != "FROM")
            .map(|instruction| instruction.arguments.as_str())
            .collect();
        Self {
            text,
            instructions,
            options,
            arguments: Arguments::new(instructions, escape_character(text), &options.arguments),
            globals: hash(&globals),
            stages: Vec::new(),
            by_name: BTreeMap::new(),
        }
    }

    /// Returns the stages up to that of the image.
    fn read(mut self) -> Vec<Stage> {
        for (index, instruction) in self.instructions.iter().enumerate() {
            if instruction.keyword == "FROM" {
                self.begin(instruction);
            } else if !self.stages.is_empty() {
                self.add(index);
            }
        }
        let target = self.options.target.as_ref().map(|target| target.to_ascii_lowercase());
        if let Some(at) = target.and_then(|target| self.by_name.get(&target)) {
            self.stages.truncate(at + 1);
        }
        self.stages
    }

    fn begin(&mut self, instruction: &Instruction) {
        let (flags, rest) = flags(&instruction.arguments);
        let word = rest.split_whitespace().next().unwrap_or_default();
        let base = self.arguments.expand(word);
        let mut begun = Stage { name: stage(instruction).unwrap_or_default(), ..Stage::default() };
        match self.by_name.get(&base.to_ascii_lowercase()) {
            Some(at) => {
                begun.state = self.stages[*at].state;
                begun.layers.clone_from(&self.stages[*at].layers);
                begun.needs.insert(*at);
            }
            None if base.contains(UNKNOWN) => {
                // It can be any of the earlier stages.
                begun.needs.extend(0..self.stages.len());
                let states: Vec<u64> = self.stages.iter().map(|stage| stage.state).collect();
                begun.state = hash(&(word, self.globals, states));
            }
            None => {
                begun.state = hash(&("FROM", flags, &base));
                begun.steps.push(Step(begun.state));
                begun.layers.push(layers_of(&base));
            }
        }
        if !begun.name.is_empty() {
            self.by_name.insert(begun.name.clone(), self.stages.len());
        }
        self.stages.push(begun);
    }

    fn add(&mut self, index: usize) {
        let instruction = &self.instructions[index];
        let mut pulled = Vec::new();
        let mut used = BTreeSet::new();
        if matches!(instruction.keyword.as_str(), "RUN" | "COPY" | "ADD") {
            for word in sources(instruction) {
                match self.stage_called(word) {
                    Some(at) => _ = used.insert(at),
                    None => pulled.push(Step(hash(&("FROM", word)))),
                }
            }
        }
        let states: Vec<u64> = used.iter().map(|at| self.stages[*at].state).collect();
        let values = if instruction.keyword == "ARG" { self.declared(instruction) } else { 0 };
        let here_document = self.here_document(index);
        let last = self.stages.len() - 1;
        let current = &mut self.stages[last];
        let (keyword, arguments) = (&instruction.keyword, &instruction.arguments);
        let is_linked =
            flags(arguments).0.iter().any(|flag| matches!(*flag, "--link" | "--link=true"));
        let below = if is_linked { 0 } else { current.state };
        let layer = hash(&("layer", below, keyword, arguments, here_document, &states));
        if matches!(keyword.as_str(), "RUN" | "COPY" | "ADD") {
            current.layers.push(Step(layer));
        }
        current.state = hash(&(current.state, keyword, arguments, here_document, values, states));
        current.needs.extend(used.into_iter().filter(|at| *at != last));
        current.steps.extend(pulled);
        if matches!(keyword.as_str(), "RUN" | "ADD") {
            current.steps.push(Step(current.state));
        }
    }

    /// Returns the hash of the values that an `ARG` of a stage can have.
    fn declared(&self, arg: &Instruction) -> u64 {
        let names = names(std::slice::from_ref(arg)).into_iter();
        let given: Vec<_> = names.map(|name| self.options.arguments.get(name)).collect();
        hash(&(self.globals, given))
    }

    /// Finds the stage with the name or number `word` in a `COPY` or a mount.
    fn stage_called(&self, word: &str) -> Option<usize> {
        let by_number = || word.parse().ok().filter(|at| *at < self.stages.len());
        self.by_name.get(&word.to_ascii_lowercase()).copied().or_else(by_number)
    }

    /// Returns an instruction with its here-documents, if it has any.
    fn here_document(&self, index: usize) -> &'a str {
        let instruction = &self.instructions[index];
        if !instruction.arguments.contains("<<") {
            return "";
        }
        let next = self.instructions.get(index + 1).map_or(self.text.len(), |next| next.place(0));
        &self.text[instruction.place(0)..next]
    }
}

/// Hashes a value. The result is stable within one process only.
fn hash(value: &impl std::hash::Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(dockerfile: &str) -> Vec<Step> {
        super::steps(dockerfile, &DockerfileOptions::default())
    }

    fn layers(dockerfile: &str) -> Vec<Step> {
        super::layers(dockerfile, &DockerfileOptions::default())
    }

    /// Returns the number of steps of each, and of common steps.
    fn shared(one: &str, other: &str) -> (usize, usize, usize) {
        let (one, other) = (steps(one), steps(other));
        let both = one.iter().filter(|step| other.contains(step)).count();
        (one.len(), other.len(), both)
    }

    #[test]
    fn a_step_is_shared_if_everything_before_it_is_equal() {
        let base = "FROM python:3.9\nRUN apt\n";
        let one = format!("{base}COPY a /\nRUN pip\n");
        let other = format!("{base}COPY b /\nRUN pip\n");
        assert_eq!(shared(&one, &other), (3, 3, 2));
        assert_eq!(shared(&one, "FROM python:3.10\nRUN apt\nCOPY a /\nRUN pip\n"), (3, 3, 0));
    }

    #[test]
    fn steps_of_needed_stages_count() {
        let cuda = "FROM debian AS cuda\nRUN fetch\n";
        let unused = format!("{cuda}FROM python:3.9\nRUN apt\n");
        assert_eq!(steps(&unused).len(), 2);
        let one = format!("{cuda}FROM python:3.9\nRUN apt\nCOPY --link --from=CUDA /out /\n");
        let other = format!("{cuda}FROM python:3.10\nRUN apt\nCOPY --link --from=0 /out /\n");
        assert_eq!(shared(&one, &other), (4, 4, 2));
        let mounted = format!("{cuda}FROM a\nRUN --mount=type=bind,from=cuda,target=/c x\n");
        assert_eq!(shared(&one, &mounted), (4, 4, 2));
        let built_on = format!("{cuda}FROM cuda\nRUN more\n");
        assert_eq!(shared(&one, &built_on), (4, 3, 2));
        // The pull of an image in `COPY --from` is a step, too.
        assert_eq!(steps("FROM a\nCOPY --from=ghcr.io/x/uv:1 /uv /\n").len(), 2);
    }

    #[test]
    fn linked_layers_depend_only_on_their_source() {
        let common = |one: &str, other: &str| {
            let other = layers(other);
            layers(one).iter().filter(|layer| other.contains(layer)).count()
        };
        let image = |python: &str, link: &str| {
            format!(
                "FROM debian AS cuda\nRUN fetch\nFROM python:{python}\nRUN apt\nCOPY {link}--from=cuda /out /\n"
            )
        };
        // The tags of an image have layers in common.
        assert_eq!(common(&image("3.9", ""), &image("3.10", "")), 1);
        assert_eq!(common(&image("3.9", "--link "), &image("3.10", "--link ")), 2);
        assert_eq!(layers(&image("3.9", "--link ")).len(), 3);
        let other = image("3.10", "--link ").replace("fetch", "get");
        assert_eq!(common(&image("3.9", "--link "), &other), 1);
    }

    #[test]
    fn arguments_and_here_documents_are_hashed() {
        let with = |value: &str| format!("ARG V={value}\nFROM a\nARG V\nRUN x $V\n");
        assert_eq!(shared(&with("1"), &with("2")), (2, 2, 1));
        let without = |value: &str| format!("ARG V={value}\nFROM a\nRUN x\n");
        assert_eq!(shared(&without("1"), &without("2")), (2, 2, 2));
        let named = |value: &str| format!("ARG V={value}\nFROM a:$V\nRUN x\n");
        assert_eq!(shared(&named("1"), &named("2")), (2, 2, 0));
        let script = |line: &str| format!("FROM a\nRUN <<E\n{line}\nE\nRUN y\n");
        assert_eq!(shared(&script("one"), &script("two")), (3, 3, 1));
        assert_eq!(shared(&script("one"), &script("one")), (3, 3, 3));
        // Only the engine can resolve the name of the base stage.
        let chosen = "FROM a AS b-amd64\nRUN x\nFROM b-$TARGETARCH\nRUN y\n";
        assert_eq!(steps(chosen).len(), 3);
    }

    #[test]
    fn build_arguments_change_the_steps_after_their_declaration() {
        let text = "FROM a AS one\nRUN x\nARG V\nRUN y\nFROM b\nRUN z\n";
        let with = |value: &str, target: Option<&str>| {
            let arguments = BTreeMap::from([("V".to_owned(), value.to_owned())]);
            let target = target.map(str::to_owned);
            let options = DockerfileOptions { arguments, target, ..Default::default() };
            super::steps(text, &options)
        };
        let (one, other) = (with("1", Some("one")), with("2", Some("one")));
        assert_eq!((one.len(), one.iter().filter(|step| other.contains(step)).count()), (3, 2));
        assert_eq!(with("1", None).len(), 2);
        assert_eq!(with("1", None), with("2", None));
    }
}
