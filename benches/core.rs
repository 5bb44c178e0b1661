//! Measures the pure core: loading, planning and rendering a matrix.

use std::hint::black_box;
use std::path::Path;

use basegen::matrix::{self, Selection};
use basegen::plan::{self, Plan, PlanRequest};
use basegen::render::{BuildContext, Renderer};
use criterion::{Criterion, criterion_group, criterion_main};

/// Returns a matrix of `rows` variants with four axes and one rule of each kind.
fn matrix_of(rows: usize) -> String {
    let pythons: Vec<String> = (0..rows / 100).map(|minor| format!("\"3.{minor}\"")).collect();
    let models: Vec<String> = (0..25).map(|model| format!("\"model{model}\"")).collect();
    format!(
        r#"
[image]
repository = "acme/{{{{job_type}}}}-base"
aliases = ["{{{{variant}}}}-latest"]
dockerfile = "{{{{job_type}}}}.Dockerfile.hbs"
platforms = ["linux/amd64", "linux/arm64"]
[image.labels]
"org.opencontainers.image.title" = "{{{{variant}}}}"
[axes]
python = [{}]
gpu = [false, true]
model = [{}]
job_type = [{{ value = "server", tag = "" }}, {{ value = "training", tag = "" }}]
[[exclude]]
when = {{ python = "<3.1", gpu = true, model = "model7" }}
reason = "a benchmark"
[[set]]
when = {{ gpu = true }}
variables = {{ cuda = "12.8" }}
"#,
        pythons.join(", "),
        models.join(", ")
    )
}

fn planning(criterion: &mut Criterion) {
    let text = matrix_of(10_000);
    let request = || PlanRequest { version: "v1.2.3".parse().ok(), ..PlanRequest::default() };
    criterion.bench_function("plan 10,000 rows, from text to table", |bencher| {
        bencher.iter(|| {
            let matrix =
                matrix::parse(Path::new("matrix.toml"), black_box(&text)).expect("a matrix");
            let selected = matrix.select(&Selection::default()).expect("all");
            let plan = Plan::new(&matrix, &selected, request()).expect("a plan");
            plan::table(&plan, None)
        });
    });
}

fn dividing(criterion: &mut Criterion) {
    let text = matrix_of(10_000);
    let matrix = matrix::parse(Path::new("matrix.toml"), &text).expect("a matrix");
    let selected = matrix.select(&Selection::default()).expect("all");
    let request = PlanRequest { version: "v1.2.3".parse().ok(), ..PlanRequest::default() };
    let plan = Plan::new(&matrix, &selected, request).expect("a plan");
    let contexts: Vec<BuildContext> = selected
        .variants
        .iter()
        .map(|variant| {
            let [python, gpu, model, job_type] = variant.values[..] else { unreachable!() };
            let dockerfile = format!(
                "FROM cuda AS cuda\nRUN fetch {gpu}\nFROM python:3.{python}\nRUN apt\nRUN control\n\
                 COPY --link --from=cuda /out /\nRUN pip {job_type}\nRUN model {model}\n"
            );
            BuildContext { dockerfile, ..BuildContext::default() }
        })
        .collect();
    let all: Vec<usize> = (0..plan.targets.len()).collect();
    criterion.bench_function("divide 10,000 rows among 256 jobs", |bencher| {
        bencher.iter(|| plan.shards(black_box(&contexts), &all, 256));
    });
}

fn rendering(criterion: &mut Criterion) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("matrix.toml");
    let matrix = matrix::load(&file).expect("the matrix of this repository");
    let variants: Vec<_> = matrix.variants.iter().collect();
    criterion.bench_function("render the 48 variants of this repository", |bencher| {
        bencher.iter(|| {
            let mut renderer = Renderer::new(&matrix).expect("templates");
            renderer.render_all(black_box(&variants)).expect("contexts")
        });
    });
}

criterion_group!(core, planning, dividing, rendering);
criterion_main!(core);
