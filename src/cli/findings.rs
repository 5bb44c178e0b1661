//! What `basegen check` looks at, one function a subject.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::error::{Explain as _, FileError, Report};
use crate::files::{self, Access, MAX_PROJECT_FILE, MAX_TEXT, ReadError};
use crate::image::Reference;
use crate::matrix::{self, GeneratedTable, Matrix, Selection, Spanned};
use crate::plan::{Lock, Plan, with_readme};
use crate::render::{self, Difference, Pins, Rendered, Renderer, familiar};
use crate::report::Printer;
use crate::version::{self, FileEdit, Said, VersionError};

use super::args::CheckArgs;
use super::check::{Finding, Level};
use super::released::Differences;
use super::render::report_left_out;
use super::{Session, publish, released, update};
use crate::ops::Naming;

/// What was found.
pub(super) struct Found {
    /// Everything that is out of step.
    pub(super) findings: Vec<Finding>,
    /// Why registries could not be asked.
    pub(super) unasked: Option<Report>,
}

/// Looks for what is out of step; what can be written is, where that is wished for.
pub(super) fn of(matrix: &Matrix, args: &CheckArgs, session: &Session) -> Result<Found, Report> {
    let Session { context, printer, .. } = session;
    let checker = Checker { matrix, fix: args.fix, printer };
    let mut findings = checker.schema()?;
    let (first, of_places) = checker.version();
    findings.extend(of_places);
    let lookup = update::Lookup { session };
    let (of_lock, mut unasked) = checker.lock(args, &lookup)?;
    findings.extend(of_lock);
    findings.extend(checker.rendered()?);
    // Without a version nothing has a name.
    if first.is_some() || matrix.version.is_none() {
        let version = first.as_ref().map(|said| said.version.clone());
        let request = Naming::default().with_version(version);
        let plan = Plan::new(matrix, &matrix.select(&Selection::default())?, request)?;
        findings.extend(checker.aliases(&plan));
        findings.extend(checker.readme(&plan)?);
        if !args.offline && unasked.is_none() {
            match released::differences(&plan, args.released, context) {
                Ok(differences) => {
                    let level = if args.allow_unbumped { Level::Note } else { Level::Error };
                    findings.extend(checker.unbumped(&plan, first.as_ref(), &differences, level));
                    findings.extend(checker.release(first.as_ref(), differences.problems));
                }
                Err(error) => unasked = Some(error),
            }
        }
    }
    Ok(Found { findings, unasked })
}

struct Checker<'a> {
    matrix: &'a Matrix,
    fix: bool,
    printer: &'a Printer,
}

impl Checker<'_> {
    /// `path` is relative to the matrix' folder.
    fn finding(
        &self,
        check: &'static str,
        path: &Path,
        line: usize,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Finding {
        let hint = hint.into();
        Finding {
            path: version::named(self.matrix.folder(), path),
            line,
            level: Level::Error,
            check,
            message: message.into(),
            hint: (!hint.is_empty()).then_some(hint),
        }
    }

    fn matrix_file(&self) -> PathBuf {
        self.matrix.source.path.file_name().unwrap_or_default().into()
    }

    /// The schema that the matrix file names in its first line, or that lies beside it.
    fn schema(&self) -> Result<Vec<Finding>, Report> {
        let first = self.matrix.source.text.lines().next().unwrap_or_default();
        let named = first.strip_prefix("#:schema").map(str::trim).filter(|path| !path.is_empty());
        let path = Path::new(named.unwrap_or("matrix.schema.json"));
        let is_url = named.is_some_and(|named| named.contains("://"));
        let on_disk = self.matrix.folder().join(path);
        if is_url || (named.is_none() && !on_disk.exists()) {
            return Ok(Vec::new());
        }
        if let Some(named) = named {
            let start = first.find(named).unwrap_or_default();
            let named = Spanned::new(start..start + named.len(), named.to_owned());
            self.matrix.resolve_path(&named, Access::Read)?;
        }
        let now = matrix::json_schema();
        let there = match self.matrix.checkout.read_text(path, MAX_TEXT) {
            Ok(text) => Some(text),
            Err(error @ (ReadError::Outside(_) | ReadError::NotAFile { .. })) => {
                return Err(error.into());
            }
            Err(_) => None,
        };
        if there.as_ref().is_some_and(|there| there.replace("\r\n", "\n") == now) {
            return Ok(Vec::new());
        }
        if self.fix {
            let is_gone = fs_err::symlink_metadata(&on_disk).is_err();
            let is_ours = there.is_some_and(|there| is_schema_of(&there, &now));
            let reason = match GeneratedTable::refuses(&path.to_string_lossy()) {
                None if is_gone || is_ours => {
                    self.write(path, &now)?;
                    return Ok(Vec::new());
                }
                None => "`--fix` writes over a schema of basegen alone".to_owned(),
                Some(reason) => reason,
            };
            let shown = path.display().to_string();
            let message = format!("the schema `{}` is not written", shown.escape_debug());
            return Ok(vec![self.finding("schema", &self.matrix_file(), 1, message, reason)]);
        }
        let (message, line) = match on_disk.exists() {
            true => ("it is not the schema that this basegen prints".to_owned(), (path, 1)),
            false => {
                (format!("there is no schema at `{}`", path.display()), (&*self.matrix_file(), 1))
            }
        };
        let hint = format!("`basegen schema > {}` writes it", on_disk.display());
        Ok(vec![self.finding("schema", line.0, line.1, message, hint)])
    }

    /// What the first place says, if it says something, and what the places do not agree on.
    fn version(&self) -> (Option<Said>, Vec<Finding>) {
        let Some(table) = &self.matrix.version else { return (None, Vec::new()) };
        let mut found = Vec::new();
        let mut said = Vec::new();
        for place in table.places() {
            match version::say(&place, &self.matrix.checkout) {
                Ok(one) => said.push(Some(one)),
                Err(error) => {
                    found.push(self.unreadable(Path::new(place.file.get_ref()), &error));
                    said.push(None);
                }
            }
        }
        let mut said = said.into_iter();
        let Some(first) = said.next().flatten() else { return (None, found) };
        for other in said.flatten().filter(|other| !other.agrees_with(&first)) {
            let message =
                format!("it says {}, and {} says {}", other.version, first.place(), first.version);
            let hint = format!("`basegen bump {}` makes them the same", first.version);
            found.push(self.finding("version", &other.path, other.line, message, hint));
        }
        (Some(first), found)
    }

    fn unreadable(&self, path: &Path, error: &VersionError) -> Finding {
        let line = error.line();
        let hint = error.hint().unwrap_or_default();
        let text = crate::error::one_line(error);
        self.finding("version", path, line, text, hint)
    }

    /// Aliases that their registry cannot move.
    fn aliases(&self, plan: &Plan<'_>) -> Option<Finding> {
        let error = publish::check_aliases(plan).err()?;
        let text = self.matrix.source.text.lines();
        let line = text.map(str::trim_start).position(|line| line.starts_with("aliases"));
        let line = line.map_or(1, |at| at + 1);
        let hint = error.hint().unwrap_or_default();
        Some(self.finding("aliases", &self.matrix_file(), line, error.to_string(), hint))
    }

    /// Images that differ from those that their version is published with.
    fn unbumped(
        &self,
        plan: &Plan<'_>,
        first: Option<&Said>,
        differences: &Differences,
        level: Level,
    ) -> Option<Finding> {
        let changed = &differences.changed;
        let version = plan.version.as_ref().filter(|_| !changed.is_empty())?;
        let shown: Vec<&str> = changed.iter().take(5).map(String::as_str).collect();
        let more = if changed.len() > shown.len() { ", …" } else { "" };
        let message = format!(
            "{version} is already published with different content ({} of {} images: {}{more})",
            changed.len(),
            plan.targets.len(),
            shown.join(", ")
        );
        let file = self.matrix_file();
        let (path, line) = first.map_or((file.as_path(), 1), |said| (&*said.path, said.line));
        let hint = "bump the version: `basegen bump patch`";
        Some(Finding { level, ..self.finding("registry", path, line, message, hint) })
    }

    /// What is not there of the release, told of the place that names its version.
    fn release(&self, first: Option<&Said>, differences: Vec<(String, String)>) -> Vec<Finding> {
        let file = self.matrix_file();
        let (path, line) = first.map_or((file.as_path(), 1), |said| (&*said.path, said.line));
        let differences = differences.into_iter();
        differences
            .map(|(message, hint)| self.finding("registry", path, line, message, hint))
            .collect()
    }

    /// Whether `basegen.lock`, where there is one, has what Dockerfiles name and nothing else; and why
    /// the registries could not be asked for what they have now.
    fn lock(
        &self,
        args: &CheckArgs,
        lookup: &update::Lookup<'_>,
    ) -> Result<(Vec<Finding>, Option<Report>), Report> {
        let path = Lock::path(self.matrix);
        if !path.exists() {
            // That much is looked at in any case: whether every template can be rendered.
            report_left_out(&update::upstreams(self.matrix)?.left_out, self.printer);
            return Ok((Vec::new(), None));
        }
        let mut lock = Lock::read(self.matrix)?;
        let upstreams = update::upstreams(self.matrix)?;
        report_left_out(&upstreams.left_out, self.printer);
        let needed = upstreams.references;
        let (mut now, mut unasked) = (Pins::new(), None);
        if !args.offline {
            match lookup.pins(&needed.iter().cloned().collect::<Vec<_>>()) {
                Ok(pins) => now = pins,
                Err(error) => unasked = Some(error),
            }
        }
        if self.fix && mend(&mut lock, &needed, &now) {
            self.write(Path::new(Lock::NAME), &lock.print())?;
        }
        let text = self.matrix.checkout.read_text(Path::new(Lock::NAME), MAX_TEXT)?;
        let names: BTreeSet<_> = lock.pins.keys().chain(&needed).collect();
        let findings = names.into_iter().filter_map(|name| {
            let pin = lock.pins.get(name);
            let has_moved = now.get(name).is_some_and(|now| pin.is_some_and(|pin| pin != now));
            let told = familiar(&name.canonical()).to_owned();
            let update = format!("`basegen update {told}`");
            let (message, hint) = match pin {
                None => (format!("`{told}` is not pinned"), update),
                Some(_) if !needed.contains(name) => {
                    let hint = "`basegen update` removes it".to_owned();
                    (format!("`{told}` is pinned, and nothing is built on it"), hint)
                }
                Some(_) if has_moved => (format!("`{told}` has moved since it was pinned"), update),
                Some(_) => return None,
            };
            let quoted = format!("\"{}\"", name.canonical());
            let line = text.lines().position(|line| line.contains(&quoted)).map_or(1, |at| at + 1);
            let finding = self.finding("lock", Path::new(Lock::NAME), line, message, hint);
            let is_note = has_moved && !args.strict;
            Some(Finding { level: if is_note { Level::Note } else { Level::Error }, ..finding })
        });
        Ok((findings.collect(), unasked))
    }

    /// The folder that `basegen render -o` wrote.
    fn rendered(&self) -> Result<Vec<Finding>, Report> {
        let Some(named) = &self.matrix.generated.rendered else { return Ok(Vec::new()) };
        let relative = Path::new(named.get_ref());
        let folder = self.matrix.folder().join(relative);
        let real =
            self.matrix.resolve_path(named, if self.fix { Access::Write } else { Access::Read })?;
        let selected = self.matrix.select(&Selection::default())?;
        let mut renderer = Renderer::new(self.matrix)?.pinned(Lock::read(self.matrix)?.pins);
        let rendered = Rendered::new(&selected, &renderer.render_all(&selected.variants)?);
        let mut found = rendered.differences(&real)?;
        if self.fix {
            render::write(&real, &rendered.files)?;
            for (difference, path) in found {
                if matches!(difference, Difference::Missing | Difference::Changed) {
                    self.wrote(&relative.join(path));
                }
            }
            found = rendered.differences(&real)?;
        }
        let write = format!("`basegen render -o {}` writes it", folder.display());
        let findings = found.into_iter().map(|(difference, path)| {
            let (message, hint) = match difference {
                Difference::Missing => {
                    ("it is not there, and the matrix renders to it", write.as_str())
                }
                Difference::Changed => ("it is not what the matrix renders to", write.as_str()),
                Difference::Extra => ("the matrix does not render to it", "remove it"),
            };
            self.finding("rendered", &relative.join(path), 1, message, hint)
        });
        Ok(findings.collect())
    }

    /// The table of images in the README.
    fn readme(&self, plan: &Plan<'_>) -> Result<Vec<Finding>, Report> {
        let Some(readme) = &self.matrix.generated.readme else { return Ok(Vec::new()) };
        let path = Path::new(readme.get_ref());
        let edits = match with_readme(plan, Vec::new()) {
            Ok(edits) => edits,
            Err(error) => {
                let (line, hint) = (error.line(), error.hint().unwrap_or_default());
                let message = crate::error::one_line(&error);
                return Ok(vec![self.finding("readme", path, line, message, hint)]);
            }
        };
        if self.fix {
            version::write(&self.matrix.checkout, &edits)?;
            for edit in &edits {
                self.wrote(&edit.path);
            }
            return Ok(Vec::new());
        }
        let findings = edits.iter().map(|edit| {
            let pairs = edit.before.lines().zip(edit.after.lines());
            let same = pairs.take_while(|(before, after)| before == after).count();
            let message = "the table of images is not what the matrix makes";
            self.finding("readme", path, same + 1, message, "`basegen check --fix` writes it")
        });
        Ok(findings.collect())
    }

    /// A file that is there keeps its mode, and a symbolic link to one stays that.
    fn write(&self, path: &Path, text: &str) -> Result<(), Report> {
        let on_disk = self.matrix.folder().join(path);
        let real = self.matrix.checkout.resolve(path, Access::Write)?;
        if real.exists() {
            let before = self.matrix.checkout.read_text(path, MAX_PROJECT_FILE)?;
            let edit = FileEdit { path: path.to_owned(), before, after: text.to_owned() };
            version::write(&self.matrix.checkout, &[edit])?;
        } else {
            let action = format!("write the generated file `{}`", on_disk.display());
            files::replace(&real, text.as_bytes(), false).map_err(FileError::failed_to(action))?;
        }
        self.wrote(path);
        Ok(())
    }

    fn wrote(&self, path: &Path) {
        let path = version::named(self.matrix.folder(), path);
        self.printer.note(&format!("wrote {}", path.display()));
    }
}

/// Whether `text` is a schema of basegen, of this version or another: it says so as `ours` does.
fn is_schema_of(text: &str, ours: &str) -> bool {
    let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    let (Some(there), Some(ours)) = (read(text), read(ours)) else { return false };
    ["$schema", "title"]
        .iter()
        .all(|key| there.get(key).is_some() && there.get(key) == ours.get(key))
}

/// Takes out of a lock what is not needed, and puts in what it has no pin for; whether that changed it.
fn mend(lock: &mut Lock, needed: &BTreeSet<Reference>, now: &Pins) -> bool {
    let before = lock.clone();
    lock.pins.retain(|reference, _| needed.contains(reference));
    for (reference, digest) in now {
        lock.pins.entry(reference.clone()).or_insert_with(|| digest.clone());
    }
    *lock != before
}
