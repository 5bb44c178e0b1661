use std::path::Path;

use super::*;
use crate::matrix::{Selection, parse};
use crate::plan::{Fingerprint, Inputs};
use crate::render::Parent;

/// A matrix of images: their names and their parents.
fn matrix(images: &[&str], more: &str) -> Matrix {
    let images: Vec<String> = images.iter().map(|image| format!("{image:?}")).collect();
    let text = format!(
        "[image]\nrepository = \"acme/{{{{image}}}}\"\ndockerfile = \"Dockerfile.hbs\"\n\
         platforms = [\"linux/amd64\", \"linux/arm64\"]\n[axes]\nimage = [{}]\n{more}",
        images.join(", ")
    );
    parse(Path::new("matrix.toml"), &text).expect("a matrix")
}

/// Returns the plan of the variants with these ids, or of all.
fn plan<'a>(matrix: &'a Matrix, ids: &[&str]) -> Plan<'a> {
    let ids = ids.iter().map(ToString::to_string).collect();
    let selected = matrix.select(&Selection { ids, ..Selection::default() }).expect("variants");
    let request = PlanRequest { version: "v1".parse().ok(), ..PlanRequest::default() };
    Plan::new(matrix, &selected, request).expect("a plan")
}

/// Returns a context for each target, based on the images with these names.
fn contexts(targets: &[Target<'_>], edges: &[(&str, &[&str])]) -> Vec<BuildContext> {
    let contexts = targets.iter().map(|target| {
        let parents = edges.iter().find(|(id, _)| *id == target.id());
        let parents = parents.map(|(_, parents)| *parents).unwrap_or_default();
        let parents = parents.iter().zip(1..).map(|(id, line)| Parent {
            id: (*id).to_owned(),
            line,
            has_same_platforms: true,
            selects_platform: false,
        });
        let parents: Vec<Parent> = parents.collect();
        let froms = parents.iter().map(|parent| format!("FROM {}\n", parent.placeholder()));
        let dockerfile = froms.collect::<String>() + "FROM scratch\n";
        let dockerfile_name = format!("{}.Dockerfile", target.id());
        BuildContext { dockerfile, dockerfile_name, parents, ..BuildContext::default() }
    });
    contexts.collect()
}

const DIAMOND: &[(&str, &[&str])] =
    &[("leaf", &["left", "right"]), ("left", &["root"]), ("right", &["root"])];

const IMAGES: [&str; 5] = ["leaf", "root", "left", "right", "other"];

#[test]
fn images_below_others_are_found() {
    let matrix = matrix(&IMAGES, "");
    let plan = plan(&matrix, &[]);
    let contexts = contexts(&plan.targets, DIAMOND);
    let graph = Graph::new(&plan, &contexts);
    assert_eq!(graph.parents(0), [2, 3]);
    assert_eq!(graph.below(0), [2, 3, 1]);
    assert_eq!(graph.all_parents(), [1, 2, 3].into());
    assert_eq!(levels_of(&plan.targets, &contexts), [vec![1, 4], vec![2, 3], vec![0]]);
    assert_eq!(graph.families(&[0, 1, 2, 3, 4]), [vec![0, 1, 2, 3], vec![4]]);
    // Images that are not built do not connect others.
    assert_eq!(graph.families(&[0, 1, 3]), [vec![0, 1, 3]]);
    assert_eq!(graph.families(&[2, 3, 4]), [vec![2], vec![3], vec![4]]);
}

#[test]
fn parents_are_needed_only_for_missing_images() {
    let matrix = matrix(&IMAGES, "");
    let plan = plan(&matrix, &[]);
    let contexts = contexts(&plan.targets, DIAMOND);
    let graph = Graph { planned: 1, ..Graph::new(&plan, &contexts) };
    for (missing, needed) in [
        (&[][..], &[0][..]),
        (&[0], &[0, 2, 3]),
        (&[0, 2], &[0, 1, 2, 3]),
        (&[1, 2], &[0]),
        (&[0, 1, 2, 3], &[0, 1, 2, 3]),
    ] {
        let found = graph.needed(|at| missing.contains(&at));
        assert_eq!(found, needed.iter().copied().collect(), "{missing:?}");
    }
}

#[test]
fn a_cycle_is_shown_with_its_path() {
    let matrix = matrix(&["a", "b", "c", "d"], "");
    let plan = plan(&matrix, &[]);
    let edges: &[(&str, &[&str])] = &[("a", &["d", "b"]), ("b", &["c"]), ("c", &["b"])];
    let contexts = contexts(&plan.targets, edges);
    let error = Graph::new(&plan, &contexts).refuse_cycles(&contexts).expect_err("a cycle");
    insta::assert_snapshot!(error, @r"
    images are based on each other: `b` → `c` → `b`
      b.Dockerfile:1: `b` names `c`
      c.Dockerfile:1: `c` names `b`
    ");
}

#[test]
fn a_parent_has_the_platforms_of_images_based_on_it() {
    let more = "[[extra]]\naxes = { image = \"amd\" }\n";
    let matrix = matrix(&["leaf"], more);
    let mut plan = plan(&matrix, &[]);
    plan.targets[1].platforms = ["linux/amd64".parse().expect("a platform")].into();
    let edges: &[(&str, &[&str])] = &[("leaf", &["amd"])];
    let mut contexts = contexts(&plan.targets, edges);
    let error = Graph::new(&plan, &contexts).check_platforms(&contexts).expect_err("no arm64");
    insta::assert_snapshot!(
        error,
        @"leaf.Dockerfile:1: `leaf` is built for linux/arm64, but `amd`, which it is based on, is built for linux/amd64"
    );
    contexts[0].parents[0].has_same_platforms = false;
    assert!(Graph::new(&plan, &contexts).check_platforms(&contexts).is_ok());
}

fn fingerprints(plan: &Plan<'_>, contexts: &[BuildContext]) -> Vec<Option<Fingerprint>> {
    let inputs = Inputs::for_targets(&plan.targets, contexts, &[]);
    inputs.iter().map(Inputs::fingerprint).collect()
}

#[test]
fn a_change_changes_the_fingerprints_of_all_images_above() {
    let matrix = matrix(&IMAGES, "");
    let plan = plan(&matrix, &[]);
    let before = contexts(&plan.targets, DIAMOND);
    let known = fingerprints(&plan, &before);
    assert!(known.iter().all(Option::is_some));
    for (changed, expected) in [
        ("leaf", &["leaf"][..]),
        ("root", &["leaf", "root", "left", "right"]),
        ("left", &["leaf", "left"]),
        ("other", &["other"]),
    ] {
        let mut after = before.clone();
        let at = plan.targets.iter().position(|target| target.id() == changed).expect(changed);
        after[at].dockerfile.push_str("RUN more\n");
        let now = fingerprints(&plan, &after);
        let pairs = plan.targets.iter().zip(known.iter().zip(&now));
        let differing = pairs.filter(|(_, (known, now))| known != now);
        let differing: Vec<&str> = differing.map(|(target, _)| target.id()).collect();
        assert_eq!(differing, expected, "{changed}");
    }
}

#[test]
fn an_image_based_on_an_uncertain_one_is_uncertain() {
    let matrix = matrix(&IMAGES, "");
    let plan = plan(&matrix, &[]);
    let mut contexts = contexts(&plan.targets, DIAMOND);
    contexts[2].upstreams = vec![crate::render::Upstream {
        name: "docker.io/library/debian:12".to_owned(),
        reference: None,
        digest: None,
    }];
    let certain = fingerprints(&plan, &contexts).iter().map(Option::is_some).collect::<Vec<_>>();
    assert_eq!(certain, [false, true, false, true, true]);
}

#[test]
fn the_reason_for_a_change_names_the_parent() {
    let matrix = matrix(&IMAGES, "");
    let plan = plan(&matrix, &[]);
    let before = contexts(&plan.targets, DIAMOND);
    let mut after = before.clone();
    after[1].dockerfile.push_str("RUN more\n");
    after[0] = contexts(&plan.targets, &[("leaf", &["left", "other"])])[0].clone();
    let [before, after] =
        [before, after].map(|contexts| Inputs::for_targets(&plan.targets, &contexts, &[]));
    let reasons = after.iter().zip(&before).map(|(now, before)| {
        let changes = now.changes_since(before);
        changes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    });
    let reasons: Vec<String> = reasons.collect();
    assert_eq!(
        reasons,
        [
            "base left changed, base other added, base right removed",
            "the Dockerfile changed",
            "base root changed",
            "base root changed",
            "",
        ]
    );
}
