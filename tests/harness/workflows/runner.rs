//! Executes workflows: jobs in file order, their steps, and the outputs that these pass on.
//!
//! [`Run`] is a run of a workflow. [`Runner`] is the machine of one job.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use basegen::image::Platform;
use serde_json::{Map, Value, json};

use crate::harness::github::REPOSITORY;
use crate::harness::workflows::actions::{Artifacts, run_external_action};
use crate::harness::workflows::expressions::Contexts;
use crate::harness::workflows::repository::{Harness, TOKEN};
use crate::harness::workflows::{entries, items, yaml};

/// The result of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JobResult {
    /// `success`, `failure` or `skipped`.
    pub(crate) result: &'static str,
    pub(crate) outputs: Map<String, Value>,
    /// The output of its steps.
    pub(crate) log: String,
}

/// The machine of one job.
pub(crate) struct Runner<'a> {
    pub(crate) harness: &'a Harness,
    pub(crate) workspace: PathBuf,
    temp: PathBuf,
    /// The folders that steps have added to `PATH`.
    path: Vec<String>,
    /// The output of its steps.
    pub(crate) log: String,
    scripts: usize,
}

/// One run of a workflow.
pub(crate) struct Run<'a> {
    harness: &'a Harness,
    /// The contexts `github`, `inputs`, `vars`, `secrets` and `runner`.
    contexts: Contexts,
    artifacts: Artifacts,
    /// The variants whose build fails, each for a platform or for all of its own.
    pub(crate) failing_builds: BTreeSet<(String, Option<Platform>)>,
    /// The file and the text of every executed `run:`.
    pub(crate) executed_scripts: BTreeSet<(String, String)>,
}

impl<'a> Run<'a> {
    /// Creates a run. `github` overrides values of that context. `inputs` are those of a manual run.
    pub(crate) fn new(harness: &'a Harness, github: &Value, inputs: &Value) -> Self {
        let mut context = json!({
            "event_name": "push",
            "ref": "refs/heads/main",
            "ref_name": "main",
            "base_ref": "",
            "repository": REPOSITORY,
            "token": TOKEN,
            "action_ref": "",
            "action_repository": "",
            "event": { "before": "", "repository": { "fork": false } },
        });
        for (key, value) in entries(github) {
            context[key] = value.clone();
        }
        let secrets = json!({
            "DOCKERHUB_TOKEN": "secret",
            "DOCKERHUB_READ_TOKEN": "reader",
            "RELEASE_PR_TOKEN": "",
        });
        let contexts = Contexts { succeeded: true, ..Contexts::default() }
            .with("github", context)
            .with("inputs", inputs.clone())
            .with("vars", json!({ "DOCKERHUB_USERNAME": "acme" }))
            .with("secrets", secrets)
            .with("runner", json!({ "os": "Linux", "arch": "X64" }));
        Self {
            harness,
            contexts,
            artifacts: Artifacts::default(),
            failing_builds: BTreeSet::new(),
            executed_scripts: BTreeSet::new(),
        }
    }

    /// Runs all jobs of a workflow file. Returns their results by job id.
    pub(crate) fn run_workflow(&mut self, file: &str) -> BTreeMap<String, JobResult> {
        let workflow = yaml(file);
        let mut results: BTreeMap<String, JobResult> = BTreeMap::new();
        for (id, job) in entries(&workflow["jobs"]) {
            let needs: Vec<&str> = match &job["needs"] {
                Value::String(one) => vec![one],
                list => items(list).filter_map(Value::as_str).collect(),
            };
            let context = needs.iter().map(|need| {
                let JobResult { result, outputs, .. } = &results[*need];
                ((*need).to_owned(), json!({ "result": result, "outputs": outputs }))
            });
            let context = Value::Object(context.collect());
            let mut contexts = self.contexts.clone().with("needs", context);
            contexts.succeeded = needs.iter().all(|need| results[*need].result == "success");
            let result = self.run_job(file, job, &contexts);
            results.insert(id.to_owned(), result);
        }
        results
    }

    /// Runs a job for each entry of its matrix.
    fn run_job(&mut self, file: &str, job: &Value, contexts: &Contexts) -> JobResult {
        let empty = entries(&job["outputs"]).map(|(name, _)| (name.to_owned(), "".into()));
        let mut outcome =
            JobResult { result: "skipped", outputs: empty.collect(), log: String::new() };
        if !contexts.is_met(job["if"].as_str()) {
            return outcome;
        }
        let rows: Vec<Value> = match &job["strategy"]["matrix"] {
            Value::Null => vec![json!({})],
            Value::String(text) => items(&contexts.evaluate(text)["include"]).cloned().collect(),
            matrix => items(&matrix["include"]).cloned().collect(),
        };
        outcome.result = "success";
        for row in rows {
            let variants = items(&row["variants"]).filter_map(Value::as_str);
            let args = row["args"].as_str().unwrap_or_default().split(' ');
            let mut platforms = args.filter_map(|arg| arg.strip_prefix("--only-platform="));
            let platform: Option<Platform> =
                platforms.next().map(|platform| platform.parse().expect("a platform"));
            let fails = |id: &str| self.failing_builds.contains(&(id.to_owned(), platform.clone()));
            let built = variants.filter(|id| !fails(id));
            self.harness.stage_variants(built, platform.as_ref());
            let mut runner = self.new_runner();
            let arch = if row["runner"] == "ubuntu-24.04-arm" { "ARM64" } else { "X64" };
            let mut contexts = contexts.clone().with("matrix", row);
            contexts.values["runner"]["arch"] = arch.into();
            contexts.values["runner"]["temp"] = runner.temp.display().to_string().into();
            contexts.succeeded = true;
            let succeeded = self.run_steps(file, &job["steps"], &mut contexts, &mut runner);
            if !succeeded {
                outcome.result = "failure";
            }
            for (name, value) in entries(&job["outputs"]) {
                let value = contexts.expand(value.as_str().expect("an expression"));
                outcome.outputs.insert(name.to_owned(), value.into());
            }
            outcome.log.push_str(&runner.log);
        }
        outcome
    }

    /// Creates a fresh runner.
    pub(crate) fn new_runner(&self) -> Runner<'a> {
        let folder = self.harness.create_runner_folder();
        for name in ["temp", "home", "workspace"] {
            fs_err::create_dir_all(folder.join(name)).expect("a folder");
        }
        Runner {
            harness: self.harness,
            workspace: folder.join("workspace"),
            temp: folder.join("temp"),
            path: Vec::new(),
            log: String::new(),
            scripts: 0,
        }
    }

    /// Runs steps, and stores their outputs in `contexts`. Returns whether all succeeded.
    fn run_steps(
        &mut self,
        file: &str,
        steps: &Value,
        contexts: &mut Contexts,
        runner: &mut Runner<'a>,
    ) -> bool {
        let ids = items(steps).filter_map(|step| step["id"].as_str());
        let empty = ids.map(|id| (id.to_owned(), json!({ "outputs": {} })));
        contexts.values.insert("steps".to_owned(), Value::Object(empty.collect()));
        for step in items(steps) {
            if !contexts.is_met(step["if"].as_str()) {
                continue;
            }
            let texts = |key: &str| -> BTreeMap<String, String> {
                let text = |value: &Value| match value {
                    Value::String(text) => contexts.expand(text),
                    other => other.to_string(),
                };
                entries(&step[key]).map(|(key, value)| (key.to_owned(), text(value))).collect()
            };
            let outputs = match (step["uses"].as_str(), step["run"].as_str()) {
                (Some("./"), None) => self.run_action(&texts("with"), contexts, runner),
                (Some(uses), None) => {
                    run_external_action(uses, &texts("with"), runner, &mut self.artifacts)
                }
                (None, Some(script)) => {
                    self.executed_scripts.insert((file.to_owned(), script.to_owned()));
                    let folder = step["working-directory"].as_str().unwrap_or(".");
                    let folder = runner.workspace.join(contexts.expand(folder));
                    runner.run(script, step["shell"].as_str(), &texts("env"), &folder)
                }
                other => panic!("a step has either `uses` or `run`: {other:?}"),
            };
            match (outputs, step["id"].as_str()) {
                (Some(outputs), Some(id)) => {
                    contexts.values["steps"][id]["outputs"] = Value::Object(outputs);
                }
                (Some(_), None) => {}
                (None, _) => contexts.succeeded = false,
            }
        }
        contexts.succeeded
    }

    /// Runs the action of this repository, which is in the workspace. Returns its outputs, or `None` if it fails.
    pub(crate) fn run_action(
        &mut self,
        with: &BTreeMap<String, String>,
        outer: &Contexts,
        runner: &mut Runner<'a>,
    ) -> Option<Map<String, Value>> {
        let action = yaml("action.yml");
        let declared = entries(&action["inputs"]);
        let mut inputs: Map<String, Value> =
            declared.map(|(name, input)| (name.to_owned(), input["default"].clone())).collect();
        for (name, value) in with {
            assert!(inputs.contains_key(name), "the action has no input `{name}`");
            inputs.insert(name.clone(), value.clone().into());
        }
        let mut contexts = Contexts { succeeded: true, ..Contexts::default() }
            .with("inputs", Value::Object(inputs));
        for name in ["github", "runner"] {
            contexts = contexts.with(name, outer.values[name].clone());
        }
        let steps = &action["runs"]["steps"];
        let succeeded = self.run_steps("action.yml", steps, &mut contexts, runner);
        let outputs = entries(&action["outputs"]).map(|(name, output)| {
            let value = contexts.expand(output["value"].as_str().expect("an expression"));
            (name.to_owned(), value.into())
        });
        let outputs = outputs.collect();
        succeeded.then_some(outputs)
    }

    /// Returns the contexts that all jobs share.
    pub(crate) fn contexts(&self) -> &Contexts {
        &self.contexts
    }
}

impl Runner<'_> {
    /// Runs a script like GitHub's runner. Returns its outputs, or `None` if it fails.
    ///
    /// Reference: the invocations in
    /// <https://docs.github.com/actions/reference/workflow-syntax-for-github-actions#jobsjob_idstepsshell>
    fn run(
        &mut self,
        script: &str,
        shell: Option<&str>,
        variables: &BTreeMap<String, String>,
        folder: &Path,
    ) -> Option<Map<String, Value>> {
        assert!(!script.contains("${{"), "the script contains an expression: {script}");
        self.scripts += 1;
        let file = |kind: &str| self.temp.join(format!("{}-{kind}", self.scripts));
        fs_err::write(file("script"), script).expect("a script");
        let mut command = Command::new("bash");
        match shell {
            None => _ = command.arg("-e"),
            Some("bash") => _ = command.args(["--noprofile", "--norc", "-e", "-o", "pipefail"]),
            Some(shell) => panic!("unsupported shell: `{shell}`"),
        }
        let home = self.temp.with_file_name("home");
        let shims = self.harness.shims().display().to_string();
        let own = self.path.iter().rev().cloned();
        let path = own.chain([shims, "/usr/bin".to_owned(), "/bin".to_owned()]);
        command
            .arg(file("script"))
            .current_dir(folder)
            .env_clear()
            .env("PATH", path.collect::<Vec<_>>().join(":"))
            .env("HOME", home)
            .env("CI", "true")
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_ACTION_PATH", &self.workspace)
            .env("GITHUB_API_URL", self.harness.github.api())
            .env("GITHUB_REPOSITORY", REPOSITORY)
            .env("RUNNER_TEMP", &self.temp)
            // The harness adds the images in place of an engine. No step may reach a real one.
            .env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
        for name in ["GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_PATH", "GITHUB_ENV"] {
            fs_err::write(file(name), "").expect("a file");
            command.env(name, file(name));
        }
        let output = command.envs(variables).output().expect("bash runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.log.push_str(&text(&output.stdout));
        self.log.push_str(&text(&output.stderr));
        let read = |name: &str| fs_err::read_to_string(file(name)).expect("a file");
        assert_eq!(read("GITHUB_ENV"), "", "GITHUB_ENV is unsupported");
        self.log.push_str(&read("GITHUB_STEP_SUMMARY"));
        let added: Vec<String> = read("GITHUB_PATH").lines().map(str::to_owned).collect();
        let outputs = outputs(&read("GITHUB_OUTPUT"));
        self.path.extend(added);
        output.status.success().then_some(outputs)
    }
}

/// Parses the file of a step's outputs: `name=value`, or lines up to a delimiter.
fn outputs(text: &str) -> Map<String, Value> {
    let mut outputs = Map::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let (name, value) = match (line.split_once('='), line.split_once("<<")) {
            (Some((name, value)), other) if other.is_none_or(|(key, _)| key.len() > name.len()) => {
                (name, value.to_owned())
            }
            (_, Some((name, end))) => {
                let value: Vec<&str> = lines.by_ref().take_while(|line| *line != end).collect();
                (name, value.join("\n"))
            }
            _ => panic!("invalid output: {line}"),
        };
        outputs.insert(name.to_owned(), value.into());
    }
    outputs
}
