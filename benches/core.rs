//! Measures the core: loading, planning and rendering a matrix, and writing rendered contexts.

use std::hint::black_box;
use std::path::Path;
use std::process::Command;

use basegen::matrix::{self, Selection};
use basegen::plan::{self, Plan, PlanRequest};
use basegen::render::{self, BuildContext, Rendered, Renderer};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

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

fn bench_plan(criterion: &mut Criterion) {
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

fn bench_shards(criterion: &mut Criterion) {
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
    let families: Vec<Vec<usize>> = (0..plan.targets.len()).map(|target| vec![target]).collect();
    criterion.bench_function("divide 10,000 rows among 256 jobs", |bencher| {
        bencher.iter(|| plan.shards(black_box(&contexts), &families, 256));
    });
}

fn bench_render(criterion: &mut Criterion) {
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

/// Creates a project of 27 variants that copy 229 files each: with their Dockerfiles, 6,210 files.
fn project(folder: &Path) {
    let write = |path: &str, text: &str| {
        let path = folder.join(path);
        fs_err::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs_err::write(path, text).expect("a file");
    };
    write(
        "matrix.toml",
        "[image]\nrepository = \"acme/base\"\ndockerfile = \"Dockerfile.hbs\"\n[axes]\n\
         python = [\"3.12\", \"3.13\", \"3.14\"]\ncuda = [\"12.6\", \"12.8\", \"13.0\"]\n\
         distro = [\"bookworm\", \"trixie\", \"noble\"]\n",
    );
    write(
        "dockerfiles/Dockerfile.hbs",
        "FROM python:{{python}}-{{distro}}-{{cuda}}\nCOPY app /app\n",
    );
    for number in 0..229 {
        let path = format!("dockerfiles/app/package{}/module{number}.py", number % 20);
        write(&path, &format!("VALUE = {number}\n").repeat(100));
    }
}

/// Renders all variants and writes them to a new folder, as `basegen render -o` does, and for comparison copies the result.
fn bench_write(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    project(folder.path());
    let written = folder.path().join("written");
    let render = |target: &Path| {
        let matrix = matrix::load(&folder.path().join("matrix.toml")).expect("a matrix");
        let selected = matrix.select(&Selection::default()).expect("all");
        let mut renderer = Renderer::new(&matrix).expect("templates");
        let contexts = renderer.render_all(&selected.variants).expect("contexts");
        let rendered = Rendered::new(&selected, &contexts);
        render::write(target, &rendered.files).expect("a folder");
        assert_eq!(rendered.files.len(), 6_210);
        assert!(rendered.extra(target).expect("a folder").is_empty());
    };
    render(&written);
    let target = folder.path().join("target");
    let remove = || drop(fs_err::remove_dir_all(&target));
    let mut group = criterion.benchmark_group("27 images with 6,210 files");
    group.sample_size(20);
    group.bench_function("render", |bencher| {
        bencher.iter_batched(remove, |()| render(&target), BatchSize::PerIteration);
    });
    group.bench_function("cp -r", |bencher| {
        let copy = || {
            let copied = Command::new("cp").arg("-r").args([&written, &target]).status();
            assert!(copied.expect("cp runs").success());
        };
        bencher.iter_batched(remove, |()| copy(), BatchSize::PerIteration);
    });
    group.bench_function("render without changes", |bencher| bencher.iter(|| render(&written)));
    group.finish();
}

criterion_group!(core, bench_plan, bench_shards, bench_render, bench_write);
criterion_main!(core);
