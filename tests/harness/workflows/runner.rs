//! A runner of workflows: jobs in the order of what they need, steps one by one, outputs from
//! step to step and from job to job.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Map, Value, json};

use crate::harness::github::REPOSITORY;
use crate::harness::workflows::actions::{Artifacts, act};
use crate::harness::workflows::expressions::Contexts;
use crate::harness::workflows::repository::{Harness, TOKEN};
use crate::harness::workflows::{entries, items, yaml};

/// What came of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JobResult {
    /// `success`, `failure` or `skipped`.
    pub(crate) result: &'static str,
    pub(crate) outputs: Map<String, Value>,
    /// What its steps wrote.
    pub(crate) log: String,
}

/// The machine of one job.
pub(crate) struct Job<'a> {
    pub(crate) harness: &'a Harness,
    pub(crate) workspace: PathBuf,
    temp: PathBuf,
    /// What steps have put on the path.
    path: Vec<String>,
    /// What its steps wrote.
    pub(crate) log: String,
    scripts: usize,
}

/// One run of a workflow.
pub(crate) struct Run<'a> {
    harness: &'a Harness,
    /// The contexts `github`, `inputs`, `vars`, `secrets` and `runner`.
    contexts: Contexts,
    artifacts: Artifacts,
    /// The variants that no engine can build.
    pub(crate) broken: BTreeSet<String>,
    /// Every `run:` that was carried out, with the file that it is in.
    pub(crate) carried_out: BTreeSet<(String, String)>,
}

impl<'a> Run<'a> {
    /// A run for an event: what is different of `github`, and the inputs of a manual run.
    pub(crate) fn new(harness: &'a Harness, github: &Value, inputs: &Value) -> Self {
        let mut known = json!({
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
            known[key] = value.clone();
        }
        let secrets = json!({
            "DOCKERHUB_TOKEN": "secret",
            "DOCKERHUB_READ_TOKEN": "reader",
            "RELEASE_PR_TOKEN": "",
        });
        let contexts = Contexts { succeeded: true, ..Contexts::default() }
            .with("github", known)
            .with("inputs", inputs.clone())
            .with("vars", json!({ "DOCKERHUB_USERNAME": "acme" }))
            .with("secrets", secrets)
            .with("runner", json!({ "os": "Linux", "arch": "X64" }));
        Self {
            harness,
            contexts,
            artifacts: Artifacts::default(),
            broken: BTreeSet::new(),
            carried_out: BTreeSet::new(),
        }
    }

    /// Runs all jobs of the workflow in `file`.
    pub(crate) fn workflow(&mut self, file: &str) -> BTreeMap<String, JobResult> {
        let workflow = yaml(file);
        let mut results: BTreeMap<String, JobResult> = BTreeMap::new();
        for (id, job) in entries(&workflow["jobs"]) {
            let needs: Vec<&str> = match &job["needs"] {
                Value::String(one) => vec![one],
                list => items(list).filter_map(Value::as_str).collect(),
            };
            let known = needs.iter().map(|need| {
                let JobResult { result, outputs, .. } = &results[*need];
                ((*need).to_owned(), json!({ "result": result, "outputs": outputs }))
            });
            let known = Value::Object(known.collect());
            let mut contexts = self.contexts.clone().with("needs", known);
            contexts.succeeded = needs.iter().all(|need| results[*need].result == "success");
            let result = self.job(file, job, &contexts);
            results.insert(id.to_owned(), result);
        }
        results
    }

    /// Runs a job, once for each entry of its matrix.
    fn job(&mut self, file: &str, job: &Value, contexts: &Contexts) -> JobResult {
        let none = entries(&job["outputs"]).map(|(name, _)| (name.to_owned(), "".into()));
        let mut ended =
            JobResult { result: "skipped", outputs: none.collect(), log: String::new() };
        if !contexts.holds(job["if"].as_str()) {
            return ended;
        }
        let rows: Vec<Value> = match &job["strategy"]["matrix"] {
            Value::Null => vec![json!({})],
            Value::String(text) => items(&contexts.value(text)["include"]).cloned().collect(),
            matrix => items(&matrix["include"]).cloned().collect(),
        };
        ended.result = "success";
        for row in rows {
            let variants = items(&row["variants"]).filter_map(Value::as_str);
            let (broken, harness) = (self.broken.clone(), self.harness);
            harness.build(variants.filter(|id| !broken.contains(*id)));
            let mut machine = self.machine();
            let arch = if row["runner"] == "ubuntu-24.04-arm" { "ARM64" } else { "X64" };
            let mut contexts = contexts.clone().with("matrix", row);
            contexts.names["runner"]["arch"] = arch.into();
            contexts.names["runner"]["temp"] = machine.temp.display().to_string().into();
            contexts.succeeded = true;
            let succeeded = self.steps(file, &job["steps"], &mut contexts, &mut machine);
            if !succeeded {
                ended.result = "failure";
            }
            for (name, value) in entries(&job["outputs"]) {
                let value = contexts.expand(value.as_str().expect("an expression"));
                ended.outputs.insert(name.to_owned(), value.into());
            }
            ended.log.push_str(&machine.log);
        }
        ended
    }

    /// A machine on which nothing has happened yet.
    pub(crate) fn machine(&self) -> Job<'a> {
        let folder = self.harness.runner();
        for name in ["temp", "home", "workspace"] {
            fs_err::create_dir_all(folder.join(name)).expect("a folder");
        }
        Job {
            harness: self.harness,
            workspace: folder.join("workspace"),
            temp: folder.join("temp"),
            path: Vec::new(),
            log: String::new(),
            scripts: 0,
        }
    }

    /// Runs steps; their outputs are in `contexts` then. Gives whether all succeeded.
    fn steps(
        &mut self,
        file: &str,
        steps: &Value,
        contexts: &mut Contexts,
        job: &mut Job<'a>,
    ) -> bool {
        let ids = items(steps).filter_map(|step| step["id"].as_str());
        let none = ids.map(|id| (id.to_owned(), json!({ "outputs": {} })));
        contexts.names.insert("steps".to_owned(), Value::Object(none.collect()));
        for step in items(steps) {
            if !contexts.holds(step["if"].as_str()) {
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
                (Some("./"), None) => self.action(&texts("with"), contexts, job),
                (Some(uses), None) => act(uses, &texts("with"), job, &mut self.artifacts),
                (None, Some(script)) => {
                    self.carried_out.insert((file.to_owned(), script.to_owned()));
                    let folder = step["working-directory"].as_str().unwrap_or(".");
                    let folder = job.workspace.join(contexts.expand(folder));
                    job.run(script, step["shell"].as_str(), &texts("env"), &folder)
                }
                other => panic!("a step is one of `uses` and `run`: {other:?}"),
            };
            match (outputs, step["id"].as_str()) {
                (Some(outputs), Some(id)) => {
                    contexts.names["steps"][id]["outputs"] = Value::Object(outputs);
                }
                (Some(_), None) => {}
                (None, _) => contexts.succeeded = false,
            }
        }
        contexts.succeeded
    }

    /// Runs the action of this repository, which is in the workspace; gives its outputs unless
    /// it fails.
    pub(crate) fn action(
        &mut self,
        given: &BTreeMap<String, String>,
        outer: &Contexts,
        job: &mut Job<'a>,
    ) -> Option<Map<String, Value>> {
        let action = yaml("action.yml");
        let declared = entries(&action["inputs"]);
        let mut inputs: Map<String, Value> =
            declared.map(|(name, input)| (name.to_owned(), input["default"].clone())).collect();
        for (name, value) in given {
            assert!(inputs.contains_key(name), "the action has no input `{name}`");
            inputs.insert(name.clone(), value.clone().into());
        }
        let mut contexts = Contexts { succeeded: true, ..Contexts::default() }
            .with("inputs", Value::Object(inputs));
        for name in ["github", "runner"] {
            contexts = contexts.with(name, outer.names[name].clone());
        }
        let steps = &action["runs"]["steps"];
        let succeeded = self.steps("action.yml", steps, &mut contexts, job);
        let outputs = entries(&action["outputs"]).map(|(name, output)| {
            let value = contexts.expand(output["value"].as_str().expect("an expression"));
            (name.to_owned(), value.into())
        });
        let outputs = outputs.collect();
        succeeded.then_some(outputs)
    }

    /// The contexts that all jobs share.
    pub(crate) fn contexts(&self) -> &Contexts {
        &self.contexts
    }
}

impl Job<'_> {
    /// Runs `script` as the runner does, and gives the outputs that it sets unless it fails.
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
        assert!(!script.contains("${{"), "an expression becomes a part of the script: {script}");
        self.scripts += 1;
        let file = |kind: &str| self.temp.join(format!("{}-{kind}", self.scripts));
        fs_err::write(file("script"), script).expect("a script");
        let mut command = Command::new("bash");
        match shell {
            None => _ = command.arg("-e"),
            Some("bash") => _ = command.args(["--noprofile", "--norc", "-e", "-o", "pipefail"]),
            Some(shell) => panic!("there is no rule for the shell `{shell}`"),
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
            // What is to be built is built by the harness: nothing here may reach an engine.
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
        assert_eq!(read("GITHUB_ENV"), "", "there is no rule for variables of later steps");
        self.log.push_str(&read("GITHUB_STEP_SUMMARY"));
        let added: Vec<String> = read("GITHUB_PATH").lines().map(str::to_owned).collect();
        let outputs = outputs(&read("GITHUB_OUTPUT"));
        self.path.extend(added);
        output.status.success().then_some(outputs)
    }
}

/// The outputs in a file: `name=value`, or a value between two lines of a delimiter.
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
            _ => panic!("this is no output: {line}"),
        };
        outputs.insert(name.to_owned(), value.into());
    }
    outputs
}
