//! Finds the upstream images of a Dockerfile and pins them to digests.
//!
//! [`pin`] returns the Dockerfile with digests and its [`Upstream`]s. [`check_images`] refuses names that are not images.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use super::arguments::{Arguments, UNKNOWN};
use super::copied::is_remote;
use super::dockerfile::{Instruction, Misuse, escape_character, frontend};
use super::flags::flags;
use super::parents::is_placeholder;
use super::remote::unverified;
use crate::image::{Digest, Reference, Repository, refuse_scheme};

/// The name of the empty base image.
const SCRATCH: &str = "scratch";

/// The digests of upstream images: of their indexes or manifests.
pub type Pins = BTreeMap<Reference, Digest>;

/// An external input of a Dockerfile: an image that is not one of its stages, or the URL of an `ADD` without a
/// checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// The full name, such as `docker.io/library/python:3.11-slim-bookworm`, or the name as written if it
    /// contains an argument that only the engine knows.
    pub name: String,
    /// The tagged image; `None` for a digest without a tag, or a name that only the engine knows.
    pub reference: Option<Reference>,
    /// The digest from a pin or from the template.
    pub digest: Option<Digest>,
}

impl Upstream {
    /// Creates the image of a `word` in a Dockerfile, with its arguments `expanded`.
    fn new(word: &str, expanded: &str) -> Self {
        let as_written = Self { name: word.to_owned(), reference: None, digest: None };
        if expanded.contains(UNKNOWN) {
            return as_written;
        }
        Self::parse(expanded).unwrap_or(as_written)
    }

    fn parse(text: &str) -> Option<Self> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse::<Digest>().ok()?)),
            None => (text, None),
        };
        let has_tag = name.rsplit_once(':').is_some_and(|(_, tag)| !tag.contains('/'));
        let tag = if has_tag { "" } else { ":latest" };
        let mut reference: Reference = format!("{name}{tag}").parse().ok()?;
        reference.repository = official(reference.repository)?;
        if let (false, Some(known)) = (has_tag, &digest) {
            let name = format!("{}@{known}", reference.repository.canonical());
            return Some(Self { name, reference: None, digest });
        }
        Some(Self { name: reference.canonical(), reference: Some(reference), digest })
    }

    /// Returns the tagged image of a name such as `python:3.11` in a Dockerfile, if it has one.
    #[must_use]
    pub fn reference(name: &str) -> Option<Reference> {
        Self::parse(name)?.reference
    }

    /// Returns true for a URL, false for an image.
    #[must_use]
    pub fn is_url(&self) -> bool {
        is_remote(&self.name)
    }

    /// Returns the short name, such as `python:3.11-slim-bookworm`.
    #[must_use]
    pub fn familiar(&self) -> &str {
        familiar(&self.name)
    }
}

/// Removes the default registry and namespace of Docker Hub from the full name of an image.
#[must_use]
pub fn familiar(name: &str) -> &str {
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    name.strip_prefix("library/").unwrap_or(name)
}

/// Adds the namespace `library/` to an official image of Docker Hub.
fn official(repository: Repository) -> Option<Repository> {
    if repository.registry() != "docker.io" || repository.path().contains('/') {
        return Some(repository);
    }
    Repository::new(repository.registry(), &format!("library/{}", repository.path())).ok()
}

/// Adds the digests of `pins` to the image names of a Dockerfile, and returns its upstreams, each once. Images of the
/// same matrix are none.
///
/// Names that contain a digest, and all other text, do not change.
pub(super) fn pin(
    text: &str,
    instructions: &[Instruction],
    pins: &Pins,
) -> (String, Vec<Upstream>) {
    let mut pinned = text.to_owned();
    let mut upstreams: Vec<Upstream> = Vec::new();
    // From the last to the first, because each replacement moves the text after it.
    for Named { mut upstream, written, place, .. } in find(text, instructions).into_iter().rev() {
        if is_placeholder(&written) {
            continue;
        }
        let pin = upstream.reference.as_ref().and_then(|name| pins.get(name));
        if let (None, Some(digest)) = (&upstream.digest, pin) {
            pinned.replace_range(place, &format!("{written}@{digest}"));
            upstream.digest = Some(digest.clone());
        }
        upstreams.retain(|other| *other != upstream);
        upstreams.push(upstream);
    }
    upstreams.reverse();
    // Sources without a checksum cannot be pinned.
    for source in unverified(instructions) {
        let upstream = Upstream { name: source.url, reference: None, digest: None };
        if !upstreams.contains(&upstream) {
            upstreams.push(upstream);
        }
    }
    (pinned, upstreams)
}

/// Refuses names with a scheme such as `https://`, and words in `--from` that are neither a stage nor have a tag.
/// `docker build` resolves such a word to a named build context, which basegen does not support, or to an image of
/// Docker Hub, which anybody may own.
pub(crate) fn check_images(text: &str, instructions: &[Instruction]) -> Result<(), Misuse> {
    for Named { written, line, is_source, .. } in find(text, instructions) {
        let refuse = |what| Err(Misuse { line, what });
        if let Err(error) = refuse_scheme(&written.replace(UNKNOWN, "$")) {
            return refuse(error.to_string());
        }
        if is_source && !written.contains([':', '/', '@', UNKNOWN]) {
            return refuse(format!(
                "`{written}` is not a stage of this Dockerfile, and named build contexts are not supported; \
                 for an image, add its tag: `{written}:latest`"
            ));
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
fn find(text: &str, instructions: &[Instruction]) -> Vec<Named> {
    let arguments = Arguments::new(instructions, escape_character(text));
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
                    if expanded != SCRATCH && !is_stage {
                        add(word, expanded);
                    }
                }
                stages.extend(all.get(earlier).map(String::as_str).filter(|name| !name.is_empty()));
                earlier += 1;
            }
            "COPY" | "RUN" => {
                for word in sources(instruction).filter(|word| is_image(word, &all)) {
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

/// Returns the name of the stage of a `FROM`, in lower case; empty if it has none.
pub(crate) fn stage(instruction: &Instruction) -> Option<String> {
    (instruction.keyword == "FROM").then(|| {
        let mut words = flags(&instruction.arguments).1.split_whitespace().skip(1);
        let is_named = words.next().is_some_and(|word| word.eq_ignore_ascii_case("as"));
        words.next().filter(|_| is_named).unwrap_or_default().to_ascii_lowercase()
    })
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

    fn names(text: &str) -> Vec<String> {
        let (_, upstreams) = pin(text, &parse(text).expect(text), &Pins::new());
        upstreams.into_iter().map(|upstream| upstream.name).collect()
    }

    fn pins() -> Pins {
        let pin = |name: &str, content: &[u8]| (name.parse().expect(name), Digest::of(content));
        [pin("docker.io/library/python:3.11", b"p"), pin("ghcr.io/acme/tools:1", b"t")].into()
    }

    fn pinned(text: &str) -> String {
        let (pinned, _) = pin(text, &parse(text).expect(text), &pins());
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
            // A stage of the same name that comes later does not make this one.
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
    fn named_contexts_are_refused() {
        let check = |text: &str| check_images(text, &parse(text).expect(text));
        for text in [
            "FROM a:1\nCOPY --from=b:1 x /\nCOPY --from=acme/b y /\nCOPY --from=0 z /\n",
            "FROM a AS B\nCOPY --from=b x /\nCOPY --from=scratch y /\nCOPY --from=$X z /\n",
            "FROM a\nRUN --mount=from=host:5000/b,target=/b x\nRUN --mount=type=cache,target=/c y\n",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
        for text in [
            "FROM a:1\nCOPY --link --from=ctx x /\n",
            "FROM a:1 AS one\nRUN --mount=type=bind,from=ctx,target=/b x\n",
        ] {
            let Misuse { line, what } = check(text).expect_err(text);
            assert!(line == 2 && what.contains("`ctx` is not a stage"), "{line}: {what}");
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
            let misuse = check_images(text, &parse(text).expect(text)).expect_err(text);
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
        let (same, upstreams) = pin(text, &parse(text).expect(text), &pins());
        assert_eq!(same, text);
        assert!(upstreams.iter().all(|upstream| upstream.reference.is_none()));
        assert_eq!(upstreams.len(), 3);
    }

    #[test]
    fn a_digest_in_the_template_pins_itself() {
        let digest = Digest::of(b"x");
        let text = format!("FROM python:3.11@{digest}\nFROM python@{digest}\n");
        let (same, upstreams) = pin(&text, &parse(&text).expect("a Dockerfile"), &pins());
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
            // Pinned once is pinned for good.
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
