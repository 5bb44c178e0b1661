//! Images that are based on each other, in commands that need no engine.

use insta::assert_snapshot;
use insta_cmd::assert_cmd_snapshot;

use crate::harness::project::{Project, commit, git, output, stdout};

const MATRIX: &str = r#"[image]
repository = "acme/{{image}}"
tag = "{{python}}-{{version}}"
aliases = ["{{python}}"]
dockerfile = "{{image}}.Dockerfile.hbs"
platforms = ["linux/amd64", "linux/arm64"]

[axes]
image = ["scipy-notebook", "minimal-notebook", { value = "cuda-notebook", platforms = ["linux/amd64"] }]
python = ["3.11", "3.13"]

[version]
file = "VERSION"

[[exclude]]
when = { image = "cuda-notebook", python = "3.13" }
reason = "CUDA 12.8 needs Python 3.11"
"#;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Creates a project where `scipy-notebook` and `cuda-notebook` are based on `minimal-notebook`. A lock pins its base image.
fn project() -> Project {
    let project = Project::new();
    project.write("matrix.toml", MATRIX);
    project.write("VERSION", "v1\n");
    let minimal = "FROM python:{{python}}\nRUN useradd app\nUSER app\nCMD [\"notebook\"]\n";
    project.write("dockerfiles/minimal-notebook.Dockerfile.hbs", minimal);
    let scipy = "FROM {{image \"minimal-notebook\"}}\nRUN conda install scipy=1.16\n";
    project.write("dockerfiles/scipy-notebook.Dockerfile.hbs", scipy);
    let cuda =
        "FROM {{image \"minimal-notebook\"}}\nCOPY --from={{image \"scipy-notebook\"}} /opt /opt\n";
    project.write("dockerfiles/cuda-notebook.Dockerfile.hbs", cuda);
    let pin = |python: &str| format!("\"docker.io/library/python:{python}\" = \"{DIGEST}\"\n");
    let lock = format!("schema = 1\n[images]\n{}{}", pin("3.11"), pin("3.13"));
    project.write("basegen.lock", &lock);
    project
}

#[test]
fn rendered_dockerfiles_contain_names_of_images() {
    assert_snapshot!(stdout(project().basegen("render --exclude image=minimal-notebook")));
}

#[test]
fn explain_lists_the_images_below() {
    let explained = stdout(project().basegen("explain cuda-notebook-3.11"));
    let begin = explained.find("based on").expect("the images below");
    assert_snapshot!(&explained[begin..]);
}

#[test]
fn explain_lists_images_without_a_pin() {
    let project = project();
    fs_err::remove_file(project.path().join("basegen.lock")).expect("removed");
    let explained = stdout(project.basegen("explain scipy-notebook-3.11"));
    let begin = explained.find("fingerprint").expect("the fingerprint");
    assert_snapshot!(&explained[begin..]);
}

#[test]
fn a_change_changes_the_images_above() {
    let project = project();
    git(project.path(), &["init", "--quiet"]);
    commit(&project, "first");
    let root = "FROM python:{{python}}\nRUN useradd app\n";
    project.write("dockerfiles/minimal-notebook.Dockerfile.hbs", root);
    assert_snapshot!("root", stdout(project.basegen("plan --since first")));
    assert_snapshot!(
        "part",
        stdout(project.basegen("plan --since first --only image=cuda-notebook"))
    );
    commit(&project, "second");
    let leaf = "FROM {{image \"minimal-notebook\"}}\n";
    project.write("dockerfiles/cuda-notebook.Dockerfile.hbs", leaf);
    assert_snapshot!("leaf", stdout(project.basegen("plan --since second")));
}

#[test]
fn a_selection_lists_only_the_selected_images() {
    assert_eq!(
        stdout(project().basegen("list --variant scipy-notebook-3.13")),
        "acme/scipy-notebook:3.13-v1\n"
    );
}

#[test]
fn one_job_builds_images_that_are_based_on_each_other() {
    let planned = stdout(project().basegen("plan --format github --offline --shards 3"));
    assert_snapshot!(planned);
}

/// One runner for all platforms: an image for one of them copies from an image for another.
#[test]
fn one_job_builds_images_that_copy_from_other_platforms() {
    let project = project();
    let runners = |from: &str| {
        let tools = format!("FROM --platform={from} {{{{image \"minimal-notebook\"}}}} AS tools\n");
        let text = "FROM {{image \"minimal-notebook\"}}\nCOPY --from=tools /opt /opt\n";
        project.write("dockerfiles/scipy-notebook.Dockerfile.hbs", &(tools + text));
        let planned = "plan --format github --offline --python 3.13 --shards 1";
        let planned = stdout(project.basegen(planned));
        let rows = planned.split("\"runner\":\"").skip(1);
        rows.filter_map(|row| row.split('"').next()).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(runners("linux/amd64"), ["ubuntu-24.04"]);
    assert_eq!(runners("$TARGETPLATFORM"), ["ubuntu-24.04", "ubuntu-24.04-arm"]);
    assert_eq!(runners("$BUILDPLATFORM"), ["ubuntu-24.04"]);
    let stage = "--stage --python 3.13 --only-platform linux/arm64";
    assert_cmd_snapshot!(project.basegen(stage));
}

#[test]
fn export_bake_links_images_as_targets() {
    let project = project();
    let selected = "export bake -o out --offline --only image=cuda-notebook";
    assert_cmd_snapshot!(project.basegen(selected));
    let file = fs_err::read(project.path().join("out/docker-bake.json")).expect("a file");
    let mut file: serde_json::Value = serde_json::from_slice(&file).expect("JSON");
    for (_, target) in file["target"].as_object_mut().expect("targets") {
        // Labels contain fingerprints, which other tests cover.
        target.as_object_mut().expect("a target").shift_remove("labels");
    }
    insta::assert_json_snapshot!(file);
}

/// Replaces the Dockerfile of `scipy-notebook`, and returns what a command prints.
fn scipy(dockerfile: &str, arguments: &str) -> String {
    let project = project();
    project.write("dockerfiles/scipy-notebook.Dockerfile.hbs", dockerfile);
    output(project.basegen(arguments))
}

#[test]
fn rejects_images_that_do_not_exist() {
    for (name, dockerfile) in [
        ("no_value", "FROM {{image \"minimal-notebok\"}}\n"),
        ("no_variant", "FROM {{image \"cuda-notebook\"}}\n"),
        ("itself", "FROM {{image \"scipy-notebook\"}}\n"),
        ("two_values", "FROM {{image \"minimal-notebook\" image=\"cuda-notebook\"}}\n"),
        ("number", "FROM {{image \"minimal-notebook\" python=3.11}}\n"),
        ("block", "{{#image \"minimal-notebook\"}}FROM a{{/image}}\n"),
    ] {
        assert_snapshot!(name, scipy(dockerfile, "render"));
    }
}

#[test]
fn rejects_the_name_of_an_image_in_run_and_copied_files() {
    let run = "FROM {{image \"minimal-notebook\"}}\nRUN echo {{image \"minimal-notebook\"}}\n";
    assert_snapshot!("run", scipy(run, "render"));
    let project = project();
    project.write("dockerfiles/config.txt.hbs", "image = {{image \"minimal-notebook\"}}\n");
    let copies = "FROM {{image \"minimal-notebook\"}}\nCOPY config.txt /\n";
    project.write("dockerfiles/scipy-notebook.Dockerfile.hbs", copies);
    assert_snapshot!("copied", output(project.basegen("render")));
}

#[test]
fn variables_and_partials_can_name_images() {
    let project = project();
    let matrix = format!("{MATRIX}[variables]\nparent = \"minimal-notebook\"\nother = \"3.13\"\n");
    project.write("matrix.toml", &matrix);
    project.write("dockerfiles/partials/tools.hbs", "COPY --from={{from}} /tools /{{image}}\n");
    let dockerfile = "FROM {{image parent}}\n{{> tools from=(image parent python=other)}}\n";
    project.write("dockerfiles/scipy-notebook.Dockerfile.hbs", dockerfile);
    assert_snapshot!(stdout(project.basegen("render --variant scipy-notebook-3.11")), @r"
    FROM acme/minimal-notebook:3.11
    COPY --from=acme/minimal-notebook:3.13 /tools /scipy-notebook
    ");
}

#[test]
fn a_named_context_equals_the_name_of_its_image() {
    let project = project();
    let commands =
        ["render", "explain cuda-notebook-3.11", "plan --offline", "export bake --offline -o out"];
    let printed = |project: &Project| {
        let printed = commands.map(|command| stdout(project.basegen(command)));
        let file = fs_err::read(project.path().join("out/docker-bake.json")).expect("a file");
        let mut file: serde_json::Value = serde_json::from_slice(&file).expect("JSON");
        for (_, target) in file["target"].as_object_mut().expect("targets") {
            // The other labels depend on the templates.
            target["labels"] = target["labels"]["dev.basegen.fingerprint"].take();
        }
        (printed, file)
    };
    let expected = printed(&project);
    let contexts = "[build.contexts]\nminimal = '{{image \"minimal-notebook\"}}'\nscipy = '{{image \"scipy-notebook\"}}'\n";
    project.write("matrix.toml", &format!("{MATRIX}{contexts}"));
    project.write(
        "dockerfiles/scipy-notebook.Dockerfile.hbs",
        "FROM minimal\nRUN conda install scipy=1.16\n",
    );
    project.write(
        "dockerfiles/cuda-notebook.Dockerfile.hbs",
        "FROM minimal\nCOPY --from=scipy /opt /opt\n",
    );
    assert_eq!(printed(&project), expected);
}

#[test]
fn rejects_a_cycle() {
    let dockerfile =
        "FROM scratch\n\n  COPY --from={{image \"cuda-notebook\" python=\"3.11\"}} /a /\n";
    for (name, command) in [
        ("cycle_in_a_plan", "plan --offline"),
        ("cycle_in_an_explanation", "explain scipy-notebook-3.11"),
        ("cycle_in_a_check", "check --offline"),
    ] {
        assert_snapshot!(name, scipy(dockerfile, command));
    }
}

#[test]
fn rejects_a_parent_without_the_platform() {
    let dockerfile = "FROM {{image \"cuda-notebook\" python=\"3.11\"}}\n";
    let project = project();
    project.write("dockerfiles/scipy-notebook.Dockerfile.hbs", dockerfile);
    project.write("dockerfiles/cuda-notebook.Dockerfile.hbs", "FROM python:3.11\n");
    assert_snapshot!(output(project.basegen("plan --offline")));
    assert_eq!(
        stdout(project.basegen("list --platform linux/amd64 --variant scipy-notebook-3.13")),
        "acme/scipy-notebook:3.13-v1\n"
    );
}

#[test]
fn warns_about_published_names_of_images_in_the_matrix() {
    let project = project();
    for (name, dockerfile) in [
        ("alias", "FROM acme/minimal-notebook:{{python}}\n"),
        ("version", "FROM docker.io/acme/minimal-notebook:3.11-v0.9\n"),
        ("copied", "FROM scratch\nCOPY --link --from=acme/minimal-notebook:3.13-v1 /a /\n"),
    ] {
        project.write("dockerfiles/scipy-notebook.Dockerfile.hbs", dockerfile);
        assert_snapshot!(format!("published_{name}"), output(project.basegen("check --offline")));
    }
}

#[test]
fn contracts_include_the_images_below() {
    let project = project();
    let matrix = MATRIX.replace("[axes]", "contracts = [\"lint\"]\n\n[axes]");
    project.write("matrix.toml", &matrix);
    assert_snapshot!(output(project.basegen("lint")));
}

#[test]
fn images_without_a_dockerfile_are_based_on_images_of_the_matrix() {
    let project = Project::new();
    let matrix = |base: &str| {
        format!(
            "[image]\nrepository = \"acme/{{{{image}}}}\"\ntag = \"{{{{gpu}}}}\"\n\
             [variables]\nparent = \"minimal\"\n[axes]\ngpu = [false, true]\n\
             [[axes.image]]\nvalue = \"minimal\"\nbase = \"debian:bookworm-slim\"\n\
             [[axes.image]]\nvalue = \"scipy\"\nbase = '{base}'\nshell_commands = [\"true\"]\n"
        )
    };
    project.write("matrix.toml", &matrix("{{ image parent gpu=false }}"));
    assert_snapshot!("generated", stdout(project.basegen("render --only image=scipy --gpu")));
    project.write("matrix.toml", &matrix("{{image \"minimla\"}}"));
    assert_snapshot!("generated_no_value", output(project.basegen("render")));
    project.write("matrix.toml", &matrix("{{image parrent}}"));
    assert_snapshot!("generated_no_name", output(project.basegen("render")));
}
