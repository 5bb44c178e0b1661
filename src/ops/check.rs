//! `basegen check`: the version, the lock file, generated files, contracts and the registry, one function a subject.
//!
//! [`run`] calls all of them. `generated` has the functions of files that basegen writes, `version` those of the version and
//! its release.

mod generated;
mod version;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::finding::{Finding, Level};
use super::render::report_left_out;
use super::update::{self, Upstreams};
use super::{Context, NameOptions, Recipe, lint, release_set, selection};
use crate::contracts::Scope;
use crate::error::{Explain, Report, one_line};
use crate::files::MAX_TEXT;
use crate::image::Reference;
use crate::matrix::{Matrix, Selection};
use crate::plan::{Lock, OwnImage, Plan};
use crate::render::{Pins, UnusedContents, familiar};
use crate::version::{Version, display_path};

#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is independent of the others")]
pub struct CheckRequest {
    /// Whether to leave out the checks that need registries.
    pub offline: bool,
    /// Whether to write generated files and missing pins first.
    pub fix: bool,
    /// Whether base images that moved since they were pinned are errors.
    pub strict: bool,
    /// Whether a version without a release is an error.
    pub released: bool,
    /// Whether changed images under a released version are notes.
    pub allow_unbumped: bool,
}

/// The findings of a check.
#[derive(Debug)]
pub struct CheckResult {
    /// The findings; errors come first.
    pub findings: Vec<Finding>,
    /// Why the registry could not be checked.
    pub lookup_error: Option<Report>,
}

/// Runs the checks. Writes generated files and missing pins first if the request says so.
pub async fn run(context: &Context, request: CheckRequest) -> Result<CheckResult, Report> {
    let matrix = context.matrix()?;
    let checker = Checker { context, matrix, request };
    let mut findings: Vec<Finding> = checker.schema()?.into_iter().collect();
    let (first, of_version) = checker.version();
    findings.extend(of_version);
    let (product, of_product) = checker.product(first.as_ref());
    findings.extend(of_product);
    let upstreams = Upstreams::of(matrix)?;
    report_left_out(context, &upstreams.left_out);
    let mut lookup_error = None;
    if Lock::path(matrix).exists() {
        let mut now = Pins::new();
        if !request.offline {
            let wanted: Vec<Reference> = upstreams.references.iter().cloned().collect();
            match update::look_up(context, &wanted).await {
                Ok(pinned) => now = pinned.pins,
                Err(error) => lookup_error = Some(error),
            }
        }
        findings.extend(checker.lock(&upstreams.references, &now)?);
    }
    findings.extend(upstreams.own_images.into_iter().map(own_image));
    findings.extend(upstreams.unused.into_iter().map(unused_contents));
    findings.extend(checker.rendered()?);
    findings.extend(lint::findings(matrix, Scope::Contracts)?);
    let version = first.as_ref().map(|place| place.version.clone());
    let naming = NameOptions::default().with_version(version);
    let plan =
        selection::plan_with_any_version(matrix, &matrix.select(&Selection::default())?, naming)?;
    Recipe::check_templates(&plan)?;
    findings.extend(checker.aliases(&plan));
    if plan.version.as_ref().is_some_and(Version::is_any) {
        findings.extend(checker.unchecked());
    } else {
        findings.extend(checker.readme(&plan)?);
        if let Some(first) = &first
            && !request.offline
            && lookup_error.is_none()
        {
            match checker.release(&plan, first, product.as_ref()).await {
                Ok(of_release) => findings.extend(of_release),
                Err(error) => lookup_error = Some(error),
            }
        }
    }
    findings.sort_by_key(|finding| finding.level);
    Ok(CheckResult { findings, lookup_error })
}

/// Returns the note about the published name of an image of the matrix in one of its Dockerfiles.
fn own_image(found: OwnImage) -> Finding {
    Finding {
        message: found.to_string(),
        hint: Some(format!("write `{}`", found.call)),
        path: PathBuf::from(found.file),
        line: found.line,
        column: found.column,
        level: Level::Note,
        check: "templates",
        rule: None,
    }
}

fn unused_contents(found: UnusedContents) -> Finding {
    Finding {
        message: found.to_string(),
        hint: Some(found.advice),
        path: found.file,
        line: found.line,
        column: Some(found.column),
        level: Level::Note,
        check: "templates",
        rule: None,
    }
}

struct Checker<'a> {
    context: &'a Context,
    matrix: &'a Matrix,
    request: CheckRequest,
}

impl Checker<'_> {
    /// Creates an error; `path` is relative to the folder of the matrix.
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
            path: display_path(self.matrix.folder(), path),
            line,
            column: None,
            level: Level::Error,
            check,
            rule: None,
            message: message.into(),
            hint: (!hint.is_empty()).then_some(hint),
        }
    }

    /// Converts an error into a finding.
    fn fault(
        &self,
        check: &'static str,
        path: &Path,
        line: usize,
        error: &impl Explain,
    ) -> Finding {
        self.finding(check, path, line, one_line(error), error.hint().unwrap_or_default())
    }

    fn matrix_file(&self) -> PathBuf {
        self.matrix.source.path.file_name().unwrap_or_default().into()
    }

    /// Finds aliases that their registry cannot move.
    fn aliases(&self, plan: &Plan<'_>) -> Option<Finding> {
        let error = release_set::check_aliases(plan).err()?;
        let text = self.matrix.source.text.lines();
        let line = text.map(str::trim_start).position(|line| line.starts_with("aliases"));
        let line = line.map_or(1, |at| at + 1);
        let hint = error.hint().unwrap_or_default();
        Some(self.finding("aliases", &self.matrix_file(), line, error.to_string(), hint))
    }

    /// Compares `basegen.lock` with the base images that are needed, and with their digests in the registry.
    fn lock(&self, needed: &BTreeSet<Reference>, now: &Pins) -> Result<Vec<Finding>, Report> {
        let mut lock = Lock::read(self.matrix)?;
        if self.request.fix && fix_pins(&mut lock, needed, now) {
            self.write(Path::new(Lock::NAME), &lock.print())?;
        }
        let text = self.matrix.checkout.read_text(Path::new(Lock::NAME), MAX_TEXT)?;
        let names: BTreeSet<_> = lock.pins.keys().chain(needed).collect();
        let mut findings = Vec::new();
        for name in names {
            let canonical = name.canonical();
            let image = familiar(&canonical);
            let update = format!("`basegen update {image}`");
            let mut level = Level::Error;
            let (message, hint) = match lock.pins.get(name) {
                None => (format!("`{image}` is not pinned"), update),
                Some(_) if !needed.contains(name) => {
                    let hint = "`basegen update` removes it".to_owned();
                    (format!("`{image}` is pinned, but no image is based on it"), hint)
                }
                Some(pin) if now.get(name).is_some_and(|now| pin != now) => {
                    level = if self.request.strict { Level::Error } else { Level::Note };
                    (format!("`{image}` has a new digest in the registry"), update)
                }
                Some(_) => continue,
            };
            let quoted = format!("\"{canonical}\"");
            let line = text.lines().position(|line| line.contains(&quoted)).map_or(1, |at| at + 1);
            let finding = self.finding("lock", Path::new(Lock::NAME), line, message, hint);
            findings.push(Finding { level, ..finding });
        }
        Ok(findings)
    }
}

/// Removes pins that are not needed and adds missing ones. Returns true if this changed the lock.
fn fix_pins(lock: &mut Lock, needed: &BTreeSet<Reference>, now: &Pins) -> bool {
    let before = lock.clone();
    lock.pins.retain(|reference, _| needed.contains(reference));
    for (reference, digest) in now {
        lock.pins.entry(reference.clone()).or_insert_with(|| digest.clone());
    }
    *lock != before
}
