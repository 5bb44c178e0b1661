//! The inputs of an image, its fingerprint, and the reasons of changes.

use std::path::Path;

use super::*;
use crate::image::{CompressionAlgorithm, Reference};
use crate::matrix::{Matrix, Selection, parse};
use crate::plan::{Plan, PlanRequest};
use crate::render::{NamedContext, Origin, OriginVariable, Upstream};

const MATRIX: &str = r#"
[image]
repository = "acme/base"
aliases = ["{{variant}}-latest"]
dockerfile = "Dockerfile.hbs"
platforms = ["linux/amd64"]
[image.labels]
"org.opencontainers.image.title" = "base {{variant}}"
"org.opencontainers.image.vendor" = "acme"
[axes]
python = ["3.11"]
"#;

const DOCKERFILE: &str = "FROM python:3.11\nCOPY a b /\n\
    RUN --mount=type=secret,id=token --mount=type=secret,id=other x\n";

/// An image of a test, with its matrix and build context.
struct TestImage {
    matrix: Matrix,
    request: PlanRequest,
    context: BuildContext,
    secrets: Vec<&'static str>,
    change: fn(&mut Target<'_>),
}

impl TestImage {
    fn new() -> Self {
        let file = |path: &str, text: &str| ContextFile {
            path: path.to_owned(),
            content: text.as_bytes().into(),
            ..ContextFile::default()
        };
        let variable = |name: &str, axes: &[&str], value: &str| {
            let axes = axes.iter().map(|axis| (*axis).to_owned()).collect();
            (name.to_owned(), OriginVariable { axes, value: value.to_owned() })
        };
        let template = |path: &str| (path.to_owned(), Digest::of(path.as_bytes()));
        let context = BuildContext {
            dockerfile: DOCKERFILE.to_owned(),
            dockerfile_name: "Dockerfile".to_owned(),
            files: vec![file("a", "a"), file("b/c", "c")],
            upstreams: vec![upstream("docker.io/library/python:3.11", b"python")],
            origin: Origin {
                parts: [].into(),
                context: None,
                folder: "dockerfiles".to_owned(),
                templates: ["Dockerfile.hbs", "partials/cuda.hbs"].map(template).into(),
                variables: [variable("cuda", &["gpu"], "12.6"), variable("user", &[], "root")]
                    .into(),
            },
            ..BuildContext::default()
        };
        let version = "v1.0.0".parse().ok();
        Self {
            matrix: parse(Path::new("matrix.toml"), MATRIX).expect("a matrix"),
            request: PlanRequest { version, ..PlanRequest::default() },
            context,
            secrets: vec!["token", "unused"],
            change: |_| {},
        }
    }

    fn with(change: impl FnOnce(&mut Self)) -> Inputs {
        let mut image = Self::new();
        change(&mut image);
        let selected = image.matrix.select(&Selection::default()).expect("all");
        let plan = Plan::new(&image.matrix, &selected, image.request).expect("a plan");
        let mut target = plan.targets[0].clone();
        (image.change)(&mut target);
        Inputs::new(&target, &image.context, &image.secrets)
    }

    fn dockerfile(&mut self) {
        self.context.dockerfile.push_str("USER 1\n");
    }

    fn variable(&mut self, name: &str, value: &str) {
        self.dockerfile();
        let variable = self.context.origin.variables.get_mut(name).expect(name);
        variable.value = value.to_owned();
    }
}

fn upstream(name: &str, content: &[u8]) -> Upstream {
    let reference: Reference = name.parse().expect(name);
    Upstream {
        name: name.to_owned(),
        reference: Some(reference),
        digest: Some(Digest::of(content)),
    }
}

/// Returns the reasons of a change to an image.
fn reasons(change: impl FnOnce(&mut TestImage)) -> Vec<String> {
    let (before, now) = (TestImage::with(|_| {}), TestImage::with(change));
    assert_ne!(now.fingerprint(), before.fingerprint());
    let described = |before: &Inputs| -> Vec<String> {
        now.changes_since(before).iter().map(ToString::to_string).collect()
    };
    let reasons = described(&before);
    // The inputs in the label give the same reasons.
    let kept = Inputs::from_label(&before.label()).expect("a label");
    assert_eq!(kept, before);
    assert_eq!(described(&kept), reasons);
    reasons
}

/// A change of an image.
type Edit = fn(&mut TestImage);

#[test]
fn every_input_changes_the_fingerprint_and_has_a_reason() {
    let cases: &[(Edit, &[&str])] = &[
        (|image| image.context.files[1].content = b"d"[..].into(), &["dockerfiles/b/c changed"]),
        (|image| image.context.files[0].executable = true, &["dockerfiles/a changed"]),
        (
            |image| image.context.files[0].path = "z".to_owned(),
            &["dockerfiles/a removed", "dockerfiles/z added"],
        ),
        (
            |image| {
                image.context.upstreams = vec![upstream("docker.io/library/python:3.11", b"new")];
            },
            &["python:3.11 moved (sha256:11a4a60b518b… → sha256:11507a0e2f5e…)"],
        ),
        (
            |image| image.context.upstreams.push(upstream("ghcr.io/a/b:1", b"b")),
            &["upstream ghcr.io/a/b:1 added"],
        ),
        (|image| image.context.upstreams.clear(), &["upstream python:3.11 removed"]),
        (TestImage::dockerfile, &["the Dockerfile changed"]),
        (|image| image.variable("cuda", "12.8"), &["axis gpu: cuda 12.6 → 12.8"]),
        (|image| image.variable("user", &"x".repeat(200)), &["variable user changed"]),
        (
            |image| {
                image.dockerfile();
                let path = "partials/cuda.hbs".to_owned();
                image.context.origin.templates.insert(path, Digest::of(b"new"));
            },
            &["dockerfiles/partials/cuda.hbs changed"],
        ),
        (
            |image| drop(image.context.options.arguments.insert("V".to_owned(), "1".to_owned())),
            &["build argument V not set → 1"],
        ),
        (
            |image| image.context.options.target = Some("one".to_owned()),
            &["target the last stage → one"],
        ),
        (
            |image| {
                let file = image.context.files[0].clone();
                let context = NamedContext::Files(vec![file]);
                image.context.options.contexts.insert("src".to_owned(), context);
            },
            &["build context src added"],
        ),
        (
            |image| {
                let mut other = image.context.clone();
                other.dockerfile.push_str("USER 2\n");
                let platform = "linux/arm64".parse().expect("a platform");
                image.context.platforms.insert(platform, other);
            },
            &["the Dockerfile changed"],
        ),
        (|image| image.secrets.push("other"), &["secret other added"]),
        (|image| image.secrets.clear(), &["secret token removed"]),
        (
            |image| {
                image.change = |target| drop(target.labels.insert("x".to_owned(), String::new()));
            },
            &["label x added"],
        ),
        (
            |image| {
                image.change = |target| {
                    target.labels.values_mut().for_each(|label| label.push('!'));
                };
            },
            &[
                "label org.opencontainers.image.title changed",
                "label org.opencontainers.image.vendor changed",
            ],
        ),
        (
            |image| {
                let platforms = ["linux/amd64", "linux/arm64"];
                image.request.platforms = platforms.map(|text| text.parse().expect(text)).into();
            },
            &["platform linux/arm64 added"],
        ),
        (
            |image| {
                image.change = |target| {
                    target.compression.algorithm = CompressionAlgorithm::Gzip;
                    target.compression.level = Some(6);
                };
            },
            &["compression zstd → gzip level 6"],
        ),
    ];
    for (change, expected) in cases {
        assert_eq!(reasons(change), *expected);
    }
}

#[test]
fn names_and_order_do_not_change_the_fingerprint() {
    let cases: [(&str, Edit); 9] = [
        ("version", |image| image.request.version = "v2.0.0".parse().ok()),
        ("registry", |image| image.request.registries = vec!["ghcr.io".to_owned()]),
        ("repository", |image| image.request.repository = Some("other/base".to_owned())),
        ("tag", |image| image.change = |target| target.reference.tag = "x".parse().expect("a tag")),
        ("aliases", |image| image.change = |target| target.aliases.clear()),
        ("secrets that no step mounts", |image| image.secrets.push("elsewhere")),
        ("the Dockerfile's name", |image| image.context.dockerfile_name = "other".to_owned()),
        ("what it was rendered from", |image| image.context.origin = Origin::default()),
        ("order", |image| {
            image.context.files.reverse();
            image.secrets.reverse();
        }),
    ];
    let same = TestImage::with(|_| {});
    for (what, change) in cases {
        let now = TestImage::with(change);
        assert_eq!(now.fingerprint(), same.fingerprint(), "{what}");
        assert_eq!(now.changes_since(&same), [], "{what}");
    }
}

#[test]
fn platforms_and_upstreams_have_no_order() {
    let of = |names: [&str; 2], platforms: [&str; 2]| {
        TestImage::with(|image| {
            image.context.upstreams = names.map(|name| upstream(name, name.as_bytes())).into();
            image.request.platforms = platforms.map(|text| text.parse().expect(text)).into();
        })
    };
    let one = of(["ghcr.io/a/b:1", "ghcr.io/a/c:1"], ["linux/amd64", "linux/arm64"]);
    let other = of(["ghcr.io/a/c:1", "ghcr.io/a/b:1"], ["linux/arm64", "linux/amd64"]);
    assert_eq!(one.fingerprint(), other.fingerprint());
}

#[test]
fn different_identities_have_different_bytes() {
    // The same bytes, with other boundaries between parts, names and contents.
    let files = |files: &[(&str, &str)]| {
        TestImage::with(|image| {
            let file = |(path, text): &(&str, &str)| ContextFile {
                path: (*path).to_owned(),
                content: text.as_bytes().into(),
                ..ContextFile::default()
            };
            image.context.files = files.iter().map(file).collect();
        })
        .fingerprint()
    };
    let all = [
        files(&[("ab", "c")]),
        files(&[("a", "bc")]),
        files(&[("a", "b"), ("c", "")]),
        files(&[("a", ""), ("b", "c")]),
        files(&[("a\",\"b", "c")]),
        files(&[]),
    ];
    for (index, one) in all.iter().enumerate() {
        assert!(all[index + 1..].iter().all(|other| other != one), "{index}");
    }
}

#[test]
fn the_fingerprint_of_a_known_image_does_not_change() {
    // Another value needs a new version of the fingerprint.
    let fingerprint = TestImage::with(|_| {}).fingerprint().expect("all is pinned");
    insta::assert_snapshot!(fingerprint, @"sha256:54528162c1fb74857bece6f9af989b50731a51f096b2f55bf63fcf0d369a43f3");
    assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint.clone()));
    let digits = fingerprint.to_string().replace("sha256:", "")[..32].to_owned();
    assert_eq!(fingerprint.staging_tag().as_str(), format!("basegen-{digits}"));
}

#[test]
fn unpinned_images_have_no_fingerprint() {
    let unpinned = TestImage::with(|image| image.context.upstreams[0].digest = None);
    assert_eq!(unpinned.fingerprint(), None);
    let before = TestImage::with(|_| {});
    let described = |now: &Inputs, before: &Inputs| now.changes_since(before)[0].to_string();
    assert_eq!(
        described(&unpinned, &before),
        "python:3.11 no longer pinned at sha256:11a4a60b518b…"
    );
    assert_eq!(described(&before, &unpinned), "python:3.11 pinned at sha256:11a4a60b518b…");
    // Two images without a pin can still be compared.
    let again = TestImage::with(|image| image.context.upstreams[0].digest = None);
    assert_eq!(unpinned.changes_since(&again), []);
}

#[test]
fn specific_reasons_replace_general_ones() {
    // The Dockerfile contains pins and variables. They are not listed twice.
    let described = reasons(|image| {
        image.variable("cuda", "12.8");
        image.context.upstreams = vec![upstream("docker.io/library/python:3.11", b"new")];
        image.context.files[0].content = b"new"[..].into();
    });
    assert_eq!(described.len(), 3, "{described:?}");
    assert_eq!(
        (described[0].as_str(), described[2].as_str()),
        ("dockerfiles/a changed", "axis gpu: cuda 12.6 → 12.8")
    );
    // A variable without effect is not a reason.
    let described = reasons(|image| {
        image.variable("cuda", "12.8");
        image.context.dockerfile = DOCKERFILE.to_owned();
        image.context.files[0].content = b"new"[..].into();
    });
    assert_eq!(described, ["dockerfiles/a changed"]);
    // A variable is the reason for a change of a rendered file.
    let rendered = |image: &mut TestImage| {
        let template = ("a.hbs".to_owned(), Digest::of(b"a"));
        image.context.origin.templates.extend([template]);
    };
    let before = TestImage::with(rendered);
    let now = TestImage::with(|image| {
        rendered(image);
        image.variable("cuda", "12.8");
        image.context.dockerfile = DOCKERFILE.to_owned();
        image.context.files[0].content = b"new"[..].into();
    });
    let described = |now: &Inputs| -> Vec<String> {
        now.changes_since(&before).iter().map(ToString::to_string).collect()
    };
    assert_eq!(described(&now), ["axis gpu: cuda 12.6 → 12.8"]);
    // Neither a variable nor a template explains a change of the mode.
    let executable = |content: &'static [u8]| {
        TestImage::with(|image| {
            rendered(image);
            image.variable("cuda", "12.8");
            image.context.dockerfile = DOCKERFILE.to_owned();
            image.context.files[0].content = content.into();
            image.context.files[0].executable = true;
        })
    };
    assert_eq!(described(&executable(b"a")), ["dockerfiles/a changed"]);
    assert_eq!(
        described(&executable(b"new")),
        ["dockerfiles/a changed", "axis gpu: cuda 12.6 → 12.8"]
    );
}

#[test]
fn shared_files_are_digested_once() {
    let image = TestImage::new();
    let selected = image.matrix.select(&Selection::default()).expect("all");
    let plan = Plan::new(&image.matrix, &selected, image.request).expect("a plan");
    let targets = vec![plan.targets[0].clone(); 3];
    let mut contexts = vec![image.context; 3];
    contexts[2].files[0].content = b"other"[..].into();
    let all = Inputs::for_targets(&targets, &contexts, &image.secrets);
    for ((target, context), inputs) in targets.iter().zip(&contexts).zip(&all) {
        assert_eq!(*inputs, Inputs::new(target, context, &image.secrets));
    }
    assert!(all[0] == all[1] && all[0] != all[2]);
}

#[test]
fn many_files_are_listed_by_their_folders() {
    let many = |changed: &str| {
        TestImage::with(|image| {
            image.context.files = (0..3000)
                .map(|index| format!("lib/part{}/x/file{index}.py", index % 40))
                .chain(["top.txt".to_owned()])
                .map(|path| ContextFile {
                    content: if path == changed { b"new"[..].into() } else { b"old"[..].into() },
                    path,
                    ..ContextFile::default()
                })
                .collect();
        })
    };
    let (before, now) = (many(""), many("lib/part7/x/file47.py"));
    assert!(before.label().len() < 4096, "{}", before.label().len());
    let described: Vec<_> = now.changes_since(&before).iter().map(ToString::to_string).collect();
    assert_eq!(described, ["dockerfiles/lib/part7/x/ changed"]);
    let top = many("top.txt").changes_since(&before)[0].to_string();
    assert_eq!(top, "dockerfiles/top.txt changed");
}

#[test]
fn invalid_labels_are_ignored() {
    let label = TestImage::with(|_| {}).label();
    assert!(label.len() < 1024, "{}", label.len());
    let newer = label.replace("fingerprint v1", "fingerprint v9");
    let long = format!("{label}{}", " ".repeat(MAX_LABEL));
    for text in ["", "null", "[]", "{}", "hello", &newer, &long, &label[1..], &label[..90]] {
        assert_eq!(Inputs::from_label(text), None, "{text:.60}");
    }
    // Keys that later versions of basegen add are ignored.
    let more = label.replacen('{', "{\"more\":[1],", 1);
    assert_eq!(Inputs::from_label(&more), Inputs::from_label(&label));
}

#[test]
fn control_characters_in_labels_are_escaped() {
    let hostile = TestImage::with(|image| image.variable("cuda", "\u{1b}[2J\u{202e}"));
    let described = TestImage::with(|_| {}).changes_since(&hostile)[0].to_string();
    assert_eq!(described, "axis gpu: cuda \\u{1b}[2J\\u{202e} → 12.6");
}
