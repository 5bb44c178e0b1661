//! Finds the upstream images of a Dockerfile and pins them to digests.
//!
//! [`pin`] returns the Dockerfile with digests and its [`Upstream`]s. [`check_images`] refuses names that are not images.

use std::collections::HashSet;
use std::ops::Range;

use super::arguments::{Arguments, UNKNOWN};
use super::dockerfile::{Instruction, Misuse, escape_character, frontend, stage};
use super::flags::flags;
use super::options::{DockerfileOptions, NamedContext};
use super::parents::is_placeholder;
use super::remote::unverified;
use super::upstream::{Pins, Upstream};
use crate::image::refuse_scheme;
use crate::matrix::nearest;

/// The name of the empty base image.
const SCRATCH: &str = "scratch";

/// Adds the digests of `pins` to the image names of a Dockerfile and to the images in `options`, and returns the
/// Dockerfile and its upstreams, each once. Images of the same matrix are none.
///
/// Names that contain a digest, and all other text, do not change.
pub(super) fn pin(
    text: &str,
    instructions: &[Instruction],
    options: &mut DockerfileOptions,
    pins: &Pins,
) -> (String, Vec<Upstream>) {
    let mut pinned = text.to_owned();
    let mut upstreams: Vec<Upstream> = Vec::new();
    // From the last to the first, because each replacement moves the text after it.
    for Named { mut upstream, written, place, .. } in
        find(text, instructions, options).into_iter().rev()
    {
        if is_placeholder(&written) {
            continue;
        }
        if let Some(digest) = upstream.pin(pins) {
            pinned.replace_range(place, &format!("{written}@{digest}"));
        }
        upstreams.retain(|other| *other != upstream);
        upstreams.push(upstream);
    }
    upstreams.reverse();
    for context in options.contexts.values_mut() {
        if let NamedContext::Image(upstream) = context {
            upstream.pin(pins);
            if !upstreams.contains(upstream) {
                upstreams.push(upstream.clone());
            }
        }
    }
    // Sources without a checksum cannot be pinned.
    for source in unverified(instructions, options) {
        let upstream = Upstream { name: source.url, reference: None, digest: None };
        if !upstreams.contains(&upstream) {
            upstreams.push(upstream);
        }
    }
    (pinned, upstreams)
}

/// Replaces image names in a Dockerfile by those that `replacement` returns for them.
pub(super) fn replace<E>(
    text: &str,
    instructions: &[Instruction],
    options: &DockerfileOptions,
    mut replacement: impl FnMut(&str) -> Result<Option<String>, E>,
) -> Result<String, E> {
    let mut places = Vec::new();
    for Named { written, place, .. } in find(text, instructions, options) {
        if let Some(name) = replacement(&written)? {
            places.push((place, name));
        }
    }
    let mut replaced = text.to_owned();
    // From the last to the first, because each replacement moves the text after it.
    for (place, name) in places.into_iter().rev() {
        replaced.replace_range(place, &name);
    }
    Ok(replaced)
}

/// Refuses names with a scheme such as `https://`, and words in `--from` that are neither a stage nor a context nor have a
/// tag. `docker build` resolves such a word to an image of Docker Hub, which anybody may own.
pub(crate) fn check_images(
    text: &str,
    instructions: &[Instruction],
    options: &DockerfileOptions,
) -> Result<(), Misuse> {
    let stages: Vec<String> = instructions.iter().filter_map(stage).collect();
    for from in instructions.iter().filter(|found| found.keyword == "FROM") {
        let name = stage(from).filter(|name| options.contexts.contains_key(name));
        if let Some(name) = name {
            let what =
                format!("the stage `{name}` has the name of a build context; rename one of them");
            return Err(Misuse { line: from.line, what });
        }
    }
    for Named { written, line, is_source, .. } in find(text, instructions, options) {
        let refuse = |what| Err(Misuse { line, what });
        if let Err(error) = refuse_scheme(&written.replace(UNKNOWN, "$")) {
            return refuse(error.to_string());
        }
        if is_source && !written.contains([':', '/', '@', UNKNOWN]) {
            let known = options.contexts.keys().chain(&stages).map(String::as_str);
            let near = nearest(&written, known.filter(|name| !name.is_empty()));
            let advice = near.map_or_else(
                || format!("add it to `[build.contexts]`, or for an image, add its tag: `{written}:latest`"),
                |near| format!("did you mean `{near}`?"),
            );
            return refuse(format!("`{written}` is neither a stage nor a build context; {advice}"));
        }
    }
    Ok(())
}

/// An image name in a Dockerfile.
struct Named {
    upstream: Upstream,
    /// The line of the instruction, from 1.
    line: usize,
    /// Whether files are copied or mounted from it.
    is_source: bool,
    /// The name with its arguments expanded.
    written: String,
    /// The location in the text.
    place: Range<usize>,
}

/// Returns the image names in instructions, in the order of the text.
fn find(text: &str, instructions: &[Instruction], options: &DockerfileOptions) -> Vec<Named> {
    let arguments = Arguments::new(instructions, escape_character(text), &options.arguments);
    let is_context = |name: &str| options.contexts.contains_key(name);
    let all: Vec<String> = instructions.iter().filter_map(stage).collect();
    let mut found = Vec::new();
    // The frontend is an upstream image too: it interprets the Dockerfile.
    if let Some(image) = frontend(text).filter(|image| !image.is_empty()) {
        let begin = offset(text, image);
        let upstream = Upstream::new(image, image);
        found.push(Named {
            upstream,
            line: text[..begin].split('\n').count(),
            is_source: false,
            written: image.to_owned(),
            place: begin..begin + image.len(),
        });
    }
    let (mut earlier, mut stages) = (0, HashSet::<&str>::new());
    for instruction in instructions {
        let mut add = |word: &str, expanded: String| {
            let begin = offset(&instruction.arguments, word);
            // A continued word begins on one line and ends on another.
            let place = instruction.place(begin)..instruction.place(begin + word.len() - 1) + 1;
            let upstream = Upstream::new(word, &expanded);
            let (line, is_source) = (instruction.line, instruction.keyword != "FROM");
            found.push(Named { upstream, line, is_source, written: expanded, place });
        };
        match instruction.keyword.as_str() {
            "FROM" => {
                let word = flags(&instruction.arguments).1.split_whitespace().next();
                if let Some(word) = word {
                    let expanded = arguments.expand(word);
                    let base = expanded.to_ascii_lowercase();
                    let is_stage = if base.contains(UNKNOWN) {
                        stages.iter().any(|name| may_mean(&base, name))
                    } else {
                        stages.contains(base.as_str())
                    };
                    if expanded != SCRATCH && !is_stage && !is_context(&expanded) {
                        add(word, expanded);
                    }
                }
                stages.extend(all.get(earlier).map(String::as_str).filter(|name| !name.is_empty()));
                earlier += 1;
            }
            "COPY" | "RUN" => {
                let words = sources(instruction).filter(|word| !is_context(word));
                for word in words.filter(|word| is_image(word, &all)) {
                    // Arguments are not expanded here.
                    let expanded = word.replace('$', &UNKNOWN.to_string());
                    add(word, expanded);
                }
            }
            _ => {}
        }
    }
    found
}

/// Returns true if `base`, in lower case and with a part that only the engine knows, may be the stage
/// `name`, as in `FROM base-$TARGETARCH`.
fn may_mean(base: &str, name: &str) -> bool {
    let (Some((begin, _)), Some((_, end))) = (base.split_once(UNKNOWN), base.rsplit_once(UNKNOWN))
    else {
        return false;
    };
    name.strip_prefix(begin).is_some_and(|rest| rest.ends_with(end))
}

/// Returns the values of `--from` and of `from=` in mounts.
pub(super) fn sources(instruction: &Instruction) -> impl Iterator<Item = &str> {
    let (flags, _) = flags(&instruction.arguments);
    flags.into_iter().filter_map(|flag| match flag.strip_prefix("--mount=") {
        None => flag.strip_prefix("--from="),
        Some(options) => {
            let mut options = options.split(',').rev().map(|option| option.trim_matches('"'));
            options.find_map(|option| option.strip_prefix("from="))
        }
    })
}

/// Returns true if the source of a `COPY` or a mount is an image rather than a stage.
fn is_image(word: &str, stages: &[String]) -> bool {
    let is_number = word.bytes().all(|byte| byte.is_ascii_digit());
    !is_number && word != SCRATCH && !stages.contains(&word.to_ascii_lowercase())
}

/// Returns the offset of `part`, a slice of `whole`.
fn offset(whole: &str, part: &str) -> usize {
    part.as_ptr() as usize - whole.as_ptr() as usize
}

#[cfg(test)]
mod tests {
    use super::super::dockerfile::parse;
    use super::*;
    use crate::image::Digest;

    fn names(text: &str) -> Vec<String> {
        let mut options = DockerfileOptions::default();
        let (_, upstreams) = pin(text, &parse(text).expect(text), &mut options, &Pins::new());
        upstreams.into_iter().map(|upstream| upstream.name).collect()
    }

    fn pins() -> Pins {
        let pin = |name: &str, content: &[u8]| (name.parse().expect(name), Digest::of(content));
        [pin("docker.io/library/python:3.11", b"p"), pin("ghcr.io/acme/tools:1", b"t")].into()
    }

    fn pinned(text: &str) -> String {
        let mut options = DockerfileOptions::default();
        let (pinned, _) = pin(text, &parse(text).expect(text), &mut options, &pins());
        let short = |name: &str| format!("@{}", Digest::of(name.as_bytes()));
        pinned.replace(&short("p"), "@P").replace(&short("t"), "@T")
    }

    #[test]
    fn the_frontend_is_pinned() {
        let text = "#syntax = ghcr.io/acme/tools:1\nFROM python:3.11\n";
        assert_eq!(pinned(text), "#syntax = ghcr.io/acme/tools:1@T\nFROM python:3.11@P\n");
    }

    #[test]
    fn images_are_names_that_are_not_stages() {
        for (text, expected) in [
            ("FROM python:3.11\n", &["docker.io/library/python:3.11"][..]),
            ("FROM --platform=$BUILDPLATFORM python\n", &["docker.io/library/python:latest"]),
            ("FROM acme/base:1 AS x\nFROM x\n", &["docker.io/acme/base:1"]),
            ("FROM localhost:5000/base:1\n", &["localhost:5000/base:1"]),
            ("FROM scratch\nCOPY --from=scratch a /\n", &[]),
            (
                "# syntax=docker/dockerfile:1\n# escape=`\nFROM scratch\n# syntax=no\n",
                &["docker.io/docker/dockerfile:1"],
            ),
            (
                "FROM a:1 AS Base\nFROM b:1 AS last\nCOPY --from=base x /\nCOPY --from=0 y /\n",
                &["docker.io/library/a:1", "docker.io/library/b:1"],
            ),
            // A later stage of the same name does not count.
            (
                "FROM late AS first\nFROM a:1 AS late\n",
                &["docker.io/library/late:latest", "docker.io/library/a:1"],
            ),
            (
                "FROM a:1\nCOPY --link --from=ghcr.io/acme/tools:1 /x /\n",
                &["docker.io/library/a:1", "ghcr.io/acme/tools:1"],
            ),
            (
                "FROM a:1\nRUN --mount=type=bind,from=b:1,target=/b --mount=target=/c,source=c x\n",
                &["docker.io/library/a:1", "docker.io/library/b:1"],
            ),
            ("FROM a:1\nRUN <<EOF\nFROM b:1\nEOF\n", &["docker.io/library/a:1"]),
            (
                "ARG V=3.11\nARG BASE=python:$V\nFROM ${BASE}\nFROM $BASE-slim\n",
                &["docker.io/library/python:3.11", "docker.io/library/python:3.11-slim"],
            ),
        ] {
            assert_eq!(names(text), expected, "{text}");
        }
    }

    #[test]
    fn arguments_and_named_contexts_are_pinned() {
        let image = |name: &str| NamedContext::Image(Upstream::image(name).expect(name));
        let contexts =
            [("tools", image("ghcr.io/acme/tools:1")), ("src", NamedContext::Files(vec![]))];
        let mut options = DockerfileOptions {
            arguments: [("V".to_owned(), "3.11".to_owned())].into(),
            contexts: contexts.map(|(name, context)| (name.to_owned(), context)).into(),
            ..Default::default()
        };
        let text = "ARG V=3.9\nFROM python:$V\nCOPY --from=tools a /\nFROM src\n";
        let (pinned, upstreams) = pin(text, &parse(text).expect(text), &mut options, &pins());
        let [python, tools] =
            [&upstreams[0], &upstreams[1]].map(|upstream| upstream.digest.clone());
        assert_eq!(python, Some(Digest::of(b"p")));
        assert_eq!(tools, Some(Digest::of(b"t")));
        let expected = format!("ARG V=3.9\nFROM python:3.11@{}\nCOPY", Digest::of(b"p"));
        assert!(pinned.starts_with(&expected), "{pinned}");
        let NamedContext::Image(pinned) = &options.contexts["tools"] else { panic!("an image") };
        assert_eq!(pinned.digest, tools);
    }

    #[test]
    fn unknown_sources_are_refused() {
        let contexts = [("scripts".to_owned(), NamedContext::Files(vec![]))].into();
        let options = DockerfileOptions { contexts, ..Default::default() };
        let check = |text: &str| check_images(text, &parse(text).expect(text), &options);
        for text in [
            "FROM a:1\nCOPY --from=b:1 x /\nCOPY --from=acme/b y /\nCOPY --from=0 z /\n",
            "FROM a AS B\nCOPY --from=b x /\nCOPY --from=scratch y /\nCOPY --from=$X z /\n",
            "FROM a\nRUN --mount=from=host:5000/b,target=/b x\nRUN --mount=type=cache,target=/c y\n",
            "FROM scripts\nCOPY --from=scripts x /\nRUN --mount=from=scripts,target=/x y\n",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
        for text in [
            "FROM a:1\nCOPY --link --from=ctx x /\n",
            "FROM a:1 AS one\nRUN --mount=type=bind,from=ctx,target=/b x\n",
        ] {
            let Misuse { line, what } = check(text).expect_err(text);
            assert!(line == 2 && what.contains("`ctx` is neither a stage"), "{line}: {what}");
        }
    }

    #[test]
    fn schemes_before_images_are_refused() {
        for (text, line) in [
            ("FROM https://ghcr.io/acme/base:1\n", 1),
            ("ARG B=http://ghcr.io/acme/base:1\nFROM a:1\nFROM $B\n", 3),
            ("FROM a:1\nCOPY --from=https://ghcr.io/acme/base:1 x /\n", 2),
            ("# escape=`\n# syntax=https://docker.io/docker/dockerfile:1\nFROM a:1\n", 2),
        ] {
            let options = DockerfileOptions::default();
            let misuse = check_images(text, &parse(text).expect(text), &options).expect_err(text);
            assert!(
                misuse.line == line && misuse.what.contains("://` before the name"),
                "{misuse:?}"
            );
        }
    }

    #[test]
    fn names_that_only_the_engine_knows_stay_as_written() {
        assert_eq!(names("FROM base-$TARGETARCH\n"), ["base-$TARGETARCH"]);
        let chosen = "FROM a:1 AS base-amd64\nFROM b:1 AS base-arm64\nFROM base-${TARGETARCH}\n";
        assert_eq!(names(chosen), ["docker.io/library/a:1", "docker.io/library/b:1"]);
        let text = "FROM python:$TARGETARCH\nFROM Python:3.11\nCOPY --from=$X a /\n";
        let mut options = DockerfileOptions::default();
        let (same, upstreams) = pin(text, &parse(text).expect(text), &mut options, &pins());
        assert_eq!(same, text);
        assert!(upstreams.iter().all(|upstream| upstream.reference.is_none()));
        assert_eq!(upstreams.len(), 3);
    }

    #[test]
    fn a_digest_in_the_template_pins_itself() {
        let digest = Digest::of(b"x");
        let text = format!("FROM python:3.11@{digest}\nFROM python@{digest}\n");
        let instructions = parse(&text).expect("a Dockerfile");
        let mut options = DockerfileOptions::default();
        let (same, upstreams) = pin(&text, &instructions, &mut options, &pins());
        assert_eq!(same, text);
        assert!(upstreams.iter().all(|upstream| upstream.digest == Some(digest.clone())));
        assert_eq!(upstreams[0].name, "docker.io/library/python:3.11");
        assert_eq!(upstreams[1].name, format!("docker.io/library/python@{digest}"));
        assert_eq!(upstreams[1].reference, None);
    }

    #[test]
    fn pins_change_image_names_only() {
        for (text, expected) in [
            ("FROM python:3.11\n", "FROM python:3.11@P\n"),
            (
                "FROM --platform=linux/amd64  python:3.11  AS python\r\n",
                "FROM --platform=linux/amd64  python:3.11@P  AS python\r\n",
            ),
            (
                "FROM \\\n  # python:3.11\n  python:3.11 \\\n  AS a\nFROM a\nRUN echo python:3.11\n",
                "FROM \\\n  # python:3.11\n  python:3.11@P \\\n  AS a\nFROM a\nRUN echo python:3.11\n",
            ),
            (
                "ARG P=python:3.11\nFROM $P AS b\nFROM docker.io/library/python:3.11",
                "ARG P=python:3.11\nFROM python:3.11@P AS b\nFROM docker.io/library/python:3.11@P",
            ),
            ("FROM \"python:3.11\"\n", "FROM python:3.11@P\n"),
            (
                "FROM other:1\nCOPY --from=ghcr.io/acme/tools:1 a /\nRUN --mount=from=python:3.11,target=/p \\\n --mount=type=cache,from=ghcr.io/acme/tools:1 x\n",
                "FROM other:1\nCOPY --from=ghcr.io/acme/tools:1@T a /\nRUN --mount=from=python:3.11@P,target=/p \\\n --mount=type=cache,from=ghcr.io/acme/tools:1@T x\n",
            ),
        ] {
            assert_eq!(pinned(text), expected);
            // Pins are not applied twice.
            assert_eq!(
                pinned(
                    &expected
                        .replace("@P", &format!("@{}", Digest::of(b"p")))
                        .replace("@T", &format!("@{}", Digest::of(b"t")))
                ),
                expected
            );
        }
    }
}
