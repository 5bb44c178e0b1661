//! The origin and the upstream images of a context.

use super::Project;
use crate::image::Digest;
use crate::render::{BuildContext, Renderer, Upstream};

#[test]
fn the_origin_lists_templates_and_variables() {
    let project = Project::new(&[
        (
            "Dockerfile.hbs",
            "FROM python:{{python}}\n  {{> both}}\n{{#if gpu}}\n{{> cuda}}\n{{/if}}\nCOPY x y /\n",
        ),
        ("partials/both.hbs", "RUN a\n{{#if gpu}}{{> deep}}\n{{/if}}"),
        ("partials/deep.hbs", "RUN {{cuda}}"),
        ("partials/cuda.hbs", "ENV CUDA={{cuda}}\n"),
        ("partials/in_file.hbs", "x"),
        ("partials/unused.hbs", "{{#if gpu}}{{/if}}"),
        ("x", "x"),
        ("y.hbs", "{{> in_file}}"),
    ]);
    let contexts = project.contexts();
    let rendered = "FROM python:3.9\n  RUN a\nRUN 12.8\nENV CUDA=12.8\nCOPY x y /\n";
    assert_eq!(contexts[1].dockerfile, rendered);
    let templates = |context: &BuildContext| -> Vec<String> {
        context.origin.templates.keys().cloned().collect()
    };
    let common = ["Dockerfile.hbs", "partials/both.hbs", "partials/in_file.hbs", "y.hbs"];
    assert_eq!(templates(&contexts[0]), common);
    let mut of_gpu = [&common[..], &["partials/cuda.hbs", "partials/deep.hbs"]].concat();
    of_gpu.sort_unstable();
    assert_eq!(templates(&contexts[1]), of_gpu);
    let origin = &contexts[1].origin;
    assert_eq!(origin.templates["partials/deep.hbs"], Digest::of(b"RUN {{cuda}}"));
    assert_eq!(origin.folder, "dockerfiles");
    assert_eq!(origin.variables["cuda"].axes, ["gpu"]);
    assert_eq!(origin.variables["packages"].value, r#"["curl","git"]"#);
}

#[test]
fn pins_are_rendered_and_can_be_added_later() {
    let project = Project::new(&[(
        "Dockerfile.hbs",
        "FROM python:{{python}} AS a\nFROM b:1\nCOPY --from=a x /\n",
    )]);
    let matrix = project.matrix();
    let variants: Vec<_> = matrix.variants.iter().collect();
    let pin = |name: &str| (name.parse().expect(name), Digest::of(name.as_bytes()));
    let (python, other) = (pin("docker.io/library/python:3.9"), pin("docker.io/library/b:1"));
    let renderer = Renderer::new(&matrix).expect("templates");
    let mut pinned = renderer.pinned([python.clone()].into()).render_all(&variants).expect("all");
    let expected = format!("FROM python:3.9@{} AS a\nFROM b:1\nCOPY --from=a x /\n", python.1);
    assert_eq!(pinned[0].dockerfile, expected);
    assert_eq!(pinned[0].upstreams[0].digest, Some(python.1));
    assert_eq!(pinned[0].upstreams[1].digest, None);
    assert_eq!(pinned[2].dockerfile, project.contexts()[2].dockerfile);
    pinned[0].pin(&[other.clone()].into());
    assert_eq!(pinned[0].dockerfile, expected.replace("b:1", &format!("b:1@{}", other.1)));
    let known = pinned[0].upstreams.iter().map(Upstream::familiar);
    assert_eq!(known.collect::<Vec<_>>(), ["python:3.9", "b:1"]);
    assert!(pinned[0].upstreams.iter().all(|upstream| upstream.digest.is_some()));
}
