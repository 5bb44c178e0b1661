use std::collections::BTreeSet;
use std::path::Path;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::*;
use crate::matrix::{Matrix, Selection, parse};
use crate::plan::PlanRequest;

/// Returns a matrix of pythons × gpu × job type.
fn matrix(pythons: usize) -> Matrix {
    let pythons: Vec<String> = (0..pythons).map(|minor| format!("\"3.{minor}\"")).collect();
    let text = format!(
        r#"
        [image]
        repository = "acme/{{{{job_type}}}}"
        tag = "x-{{{{variant}}}}"
        dockerfile = "Dockerfile.hbs"
        platforms = ["linux/amd64"]
        [axes]
        python = [{}]
        gpu = [false, true]
        job_type = [{{ value = "server", tag = "" }}, {{ value = "training", tag = "" }}]
        "#,
        pythons.join(", ")
    );
    parse(Path::new("matrix.toml"), &text).expect("a matrix")
}

fn plan(matrix: &Matrix) -> Plan<'_> {
    let selected = matrix.select(&Selection::default()).expect("all");
    Plan::new(matrix, &selected, PlanRequest::default()).expect("a plan")
}

/// Dockerfiles whose costly steps depend on the axes at `costly`, and that end with a step of
/// each variant's own.
fn contexts(plan: &Plan<'_>, costly: &[usize]) -> Vec<BuildContext> {
    let dockerfile = |values: &[usize]| {
        let chosen: Vec<usize> = costly.iter().map(|axis| values[*axis]).collect();
        let steps = (0..6).map(|step| format!("RUN {step} {chosen:?}\n"));
        format!("FROM debian\n{}COPY {values:?} /\n", steps.collect::<String>())
    };
    with_dockerfiles(plan, dockerfile)
}

/// Returns a context for each target, whose Dockerfile depends on the target's values.
fn with_dockerfiles(plan: &Plan<'_>, dockerfile: impl Fn(&[usize]) -> String) -> Vec<BuildContext> {
    let context = |dockerfile| BuildContext { dockerfile, ..BuildContext::default() };
    plan.targets.iter().map(|target| context(dockerfile(&target.variant.values))).collect()
}

/// Returns a family for each target.
fn alone(targets: &[usize]) -> Vec<Vec<usize>> {
    targets.iter().map(|at| vec![*at]).collect()
}

fn shown(plan: &Plan<'_>, shards: &[Vec<usize>]) -> String {
    let ids = |shard: &Vec<usize>| {
        shard.iter().map(|at| plan.targets[*at].id()).collect::<Vec<_>>().join(" ")
    };
    shards.iter().map(ids).collect::<Vec<_>>().join("\n")
}

#[test]
fn variants_with_shared_steps_stay_together() {
    let matrix = matrix(3);
    let plan = plan(&matrix);
    let all: Vec<usize> = (0..plan.targets.len()).collect();
    let by_python = plan.shards(&contexts(&plan, &[0]), &alone(&all), 3);
    insta::assert_snapshot!(shown(&plan, &by_python), @r"
    3.0-server 3.0-training 3.0-gpu-server 3.0-gpu-training
    3.1-server 3.1-training 3.1-gpu-server 3.1-gpu-training
    3.2-server 3.2-training 3.2-gpu-server 3.2-gpu-training
    ");
    let by_gpu = plan.shards(&contexts(&plan, &[1]), &alone(&all), 2);
    insta::assert_snapshot!(shown(&plan, &by_gpu), @r"
    3.0-server 3.0-training 3.1-server 3.1-training 3.2-server 3.2-training
    3.0-gpu-server 3.0-gpu-training 3.1-gpu-server 3.1-gpu-training 3.2-gpu-server 3.2-gpu-training
    ");
    let by_job_type = plan.shards(&contexts(&plan, &[2]), &alone(&all), 2);
    assert!(shown(&plan, &by_job_type).lines().next().is_some_and(|line| !line.contains("train")));
}

/// As many jobs as there are pairs of python and gpu: each has one of them.
#[test]
fn jobs_are_balanced_where_variants_have_most_in_common() {
    let matrix = matrix(6);
    let plan = plan(&matrix);
    let dockerfile = |values: &[usize]| {
        let (python, gpu, job_type) = (values[0], values[1], values[2]);
        let cuda = ["", "FROM debian AS cuda\nRUN fetch\n"][gpu];
        let linked = ["", "COPY --link --from=cuda /out /\n"][gpu];
        format!("{cuda}FROM python:3.{python}\nRUN apt\nRUN control\n{linked}RUN pip {job_type}\n")
    };
    let contexts = with_dockerfiles(&plan, dockerfile);
    let all: Vec<usize> = (0..plan.targets.len()).collect();
    for (count, sizes) in [(6, vec![4; 6]), (12, vec![2; 12])] {
        let shards = plan.shards(&contexts, &alone(&all), count);
        let found: Vec<usize> = shards.iter().map(Vec::len).collect();
        assert_eq!(found, sizes, "{}", shown(&plan, &shards));
    }
}

/// As in the images of this repository: each library of CUDA is a step that all GPU images share.
#[test]
fn a_job_has_one_python_if_libraries_are_repeated_anyway() {
    let matrix = matrix(6);
    let plan = plan(&matrix);
    let dockerfile = |values: &[usize]| {
        let (python, gpu, job_type) = (values[0], values[1], values[2]);
        let libraries = (0..15 * gpu).map(|library| format!("RUN fetch {library}\n"));
        let own = ["apt", "bytecode", "shared", "register"].map(|step| format!("RUN {step}\n"));
        format!(
            "FROM debian AS cuda\n{}FROM python:3.{python}\n{}RUN pip {job_type}\nCOPY --from=cuda /out /\n",
            libraries.collect::<String>(),
            own.concat()
        )
    };
    let contexts = with_dockerfiles(&plan, dockerfile);
    let all: Vec<usize> = (0..plan.targets.len()).collect();
    let shards = plan.shards(&contexts, &alone(&all), 6);
    assert!(shards.iter().all(|shard| shard.len() == 4 && shard[0] % 4 == 0), "{shards:?}");
}

#[test]
fn only_chosen_targets_are_divided() {
    let matrix = matrix(3);
    let plan = plan(&matrix);
    let contexts = contexts(&plan, &[0]);
    assert_eq!(plan.shards(&contexts, &[], 4), Vec::<Vec<usize>>::new());
    assert_eq!(plan.shards(&contexts, &[vec![5]], 4), [[5]]);
    assert_eq!(plan.shards(&contexts, &alone(&[1, 4, 5]), 2), [vec![1], vec![4, 5]]);
}

#[test]
fn families_are_not_divided() {
    let matrix = matrix(2);
    let plan = plan(&matrix);
    let contexts = contexts(&plan, &[0]);
    let families = [vec![0, 6], vec![1], vec![2, 3, 4], vec![5], vec![7]];
    let shards = plan.shards(&contexts, &families, 3);
    assert_eq!(shards.concat().len(), 8);
    for family in &families {
        let is_whole = |shard: &Vec<usize>| family.iter().all(|at| shard.contains(at));
        assert!(shards.iter().any(is_whole), "{family:?} in {shards:?}");
    }
    assert_eq!(plan.shards(&contexts, &families, 20).len(), families.len());
}

#[test]
fn every_target_is_in_one_shard_within_the_limits() {
    let mut random = StdRng::seed_from_u64(4);
    for _ in 0..200 {
        let matrix = matrix(random.random_range(1..40));
        let plan = plan(&matrix);
        let costly: Vec<usize> = (0..3).filter(|_| random.random()).collect();
        let contexts = contexts(&plan, &costly);
        let chosen: Vec<usize> =
            (0..plan.targets.len()).filter(|_| random.random_range(0..3) > 0).collect();
        let count = random.random_range(1..400);
        let shards = plan.shards(&contexts, &alone(&chosen), count);
        assert_eq!(shards.len(), count.min(chosen.len()).min(MAX_SHARDS));
        let mut found: Vec<usize> = shards.concat();
        found.sort_unstable();
        assert_eq!(found, chosen);
        assert!(shards.iter().all(|shard| !shard.is_empty() && shard.is_sorted()));
        assert!(shards.is_sorted());
        let again = plan.shards(&contexts, &alone(&chosen), count);
        assert_eq!(shards, again, "the same each time");
    }
}

#[test]
fn variants_that_share_nothing_are_divided_evenly() {
    let values: Vec<Vec<usize>> = (0..120).map(|row| vec![row]).collect();
    for rows in 1..=values.len() {
        let all = values[..rows].iter();
        let all: Vec<Row<'_>> =
            all.map(|values| Row { values, steps: Vec::new(), targets: 1 }).collect();
        for count in 1..=rows.min(40) {
            let shards = divide(&all, count);
            let sizes: BTreeSet<usize> = shards.iter().map(Vec::len).collect();
            let (least, most) = (sizes.first().copied(), sizes.last().copied());
            assert!(most <= Some(rows.div_ceil(count)), "{rows} among {count}: {sizes:?}");
            assert!(least >= Some((rows / count).max(1)), "{rows} among {count}: {sizes:?}");
        }
    }
}

#[test]
fn no_shard_costs_more_than_in_file_order() {
    let mut random = StdRng::seed_from_u64(7);
    for _ in 0..50 {
        let matrix = matrix(random.random_range(2..20));
        let plan = plan(&matrix);
        let contexts = contexts(&plan, &[random.random_range(0..3)]);
        let all: Vec<usize> = (0..plan.targets.len()).collect();
        let shards = plan.shards(&contexts, &alone(&all), 4);
        let cost = |rows: &[usize]| {
            let steps = rows.iter().flat_map(|at| contexts[*at].steps());
            steps.collect::<BTreeSet<_>>().len() as u64 * STEP + rows.len() as u64
        };
        let most = |shards: &[Vec<usize>]| shards.iter().map(|shard| cost(shard)).max();
        let naive: Vec<Vec<usize>> =
            all.chunks(all.len().div_ceil(4)).map(<[usize]>::to_vec).collect();
        assert!(most(&shards) <= most(&naive), "{shards:?}");
    }
}

#[test]
fn the_default_number_of_shards_depends_on_the_targets() {
    let numbers = [0, 1, 8, 9, 48, 160, 161, 10_000].map(usual_shards);
    assert_eq!(numbers, [1, 1, 1, 2, 6, 20, 20, 20]);
}
