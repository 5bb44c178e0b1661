//! `basegen check`: the version, the lock file, generated files, contracts and the registry, one function a subject.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::finding::{Finding, Level};
use super::follow::Product;
use super::lint;
use super::release_drift::{self, Problem, ReleaseDrift};
use super::render::{contexts as render_for_docker, report_left_out};
use super::update::{self, Upstreams};
use super::{Context, NameOptions, Recipe, bump, release_set};
use crate::contracts::Scope;
use crate::error::{Explain, FileError, Report, one_line};
use crate::files::{self, Access, MAX_PROJECT_FILE, MAX_TEXT, ReadError};
use crate::image::Reference;
use crate::matrix::{self, GeneratedTable, Matrix, Selection, Spanned};
use crate::plan::{Lock, OwnImage, Plan, with_readme};
use crate::render::{self, Difference, Pins, Rendered, Renderer, UnusedContents, familiar};
use crate::version::{self, FileEdit, VersionError, VersionOccurrence};

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
    let checker = Checker { context, matrix, fix: request.fix };
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
        findings.extend(checker.lock(&upstreams.references, &now, request.strict)?);
    }
    findings.extend(upstreams.own_images.into_iter().map(own_image));
    findings.extend(upstreams.unused.into_iter().map(unused_contents));
    findings.extend(checker.rendered()?);
    findings.extend(lint::findings(matrix, Scope::Contracts)?);
    // Images have no names without a version.
    if first.is_some() || matrix.version.is_none() {
        let version = first.as_ref().map(|place| place.version.clone());
        let naming = NameOptions::default().with_version(version);
        let plan = Plan::new(matrix, &matrix.select(&Selection::default())?, naming)?;
        Recipe::check_templates(&plan)?;
        findings.extend(checker.aliases(&plan));
        findings.extend(checker.readme(&plan)?);
        if !request.offline && lookup_error.is_none() {
            match release_drift::find(context, &plan, request.released).await {
                Ok(drift) => {
                    let level = if request.allow_unbumped { Level::Note } else { Level::Error };
                    if let Some((product, first)) = product.as_ref().zip(first.as_ref())
                        && drift.changed.is_empty()
                        && !bump::is_released(context, &plan).await?
                    {
                        findings.push(checker.unreleased(product, first, level));
                    }
                    let hint = bump_hint(checker.matrix, product.as_ref());
                    findings.extend(checker.release(&plan, first.as_ref(), drift, level, &hint));
                }
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
    fix: bool,
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
            path: version::display_path(self.matrix.folder(), path),
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

    /// Checks the schema that the first line of the matrix file names, or the one beside the matrix file.
    fn schema(&self) -> Result<Option<Finding>, Report> {
        let first = self.matrix.source.text.lines().next().unwrap_or_default();
        let named = first.strip_prefix("#:schema").map(str::trim).filter(|path| !path.is_empty());
        let path = Path::new(named.unwrap_or("matrix.schema.json"));
        let is_url = named.is_some_and(|named| named.contains("://"));
        let on_disk = self.matrix.folder().join(path);
        if is_url || (named.is_none() && !on_disk.exists()) {
            return Ok(None);
        }
        if let Some(named) = named {
            let start = first.find(named).unwrap_or_default();
            let named = Spanned::new(start..start + named.len(), named.to_owned());
            self.matrix.resolve_path(&named, Access::Read)?;
        }
        let schema = matrix::json_schema();
        let current = match self.matrix.checkout.read_text(path, MAX_TEXT) {
            Ok(text) => Some(text),
            Err(error @ (ReadError::Outside(_) | ReadError::NotAFile { .. })) => {
                return Err(error.into());
            }
            Err(_) => None,
        };
        if current.as_ref().is_some_and(|text| text.replace("\r\n", "\n") == schema) {
            return Ok(None);
        }
        if self.fix {
            let is_gone = fs_err::symlink_metadata(&on_disk).is_err();
            let is_ours = current.is_some_and(|text| is_schema(&text, &schema));
            let reason = match GeneratedTable::refuses(&path.to_string_lossy()) {
                None if is_gone || is_ours => {
                    self.write(path, &schema)?;
                    return Ok(None);
                }
                None => "`--fix` replaces only schemas of basegen".to_owned(),
                Some(reason) => reason,
            };
            let name = path.display().to_string();
            let message = format!("cannot write the schema `{}`", name.escape_debug());
            return Ok(Some(self.finding("schema", &self.matrix_file(), 1, message, reason)));
        }
        let hint = format!("`basegen schema > {}` writes it", on_disk.display());
        Ok(Some(if on_disk.exists() {
            self.finding("schema", path, 1, "the schema is out of date", hint)
        } else {
            let message = format!("the schema `{}` does not exist", path.display());
            self.finding("schema", &self.matrix_file(), 1, message, hint)
        }))
    }

    /// Returns the first place of the version, and a finding for each place that cannot be read or differs from it.
    fn version(&self) -> (Option<VersionOccurrence>, Vec<Finding>) {
        let Some(table) = &self.matrix.version else { return (None, Vec::new()) };
        let mut findings = Vec::new();
        let mut places = Vec::new();
        for place in table.places() {
            match version::locate(&place, &self.matrix.checkout) {
                Ok(found) => places.push(Some(found)),
                Err(error) => {
                    let path = Path::new(place.file.get_ref());
                    findings.push(self.version_fault(path, &error));
                    places.push(None);
                }
            }
        }
        let mut places = places.into_iter();
        let Some(first) = places.next().flatten() else { return (None, findings) };
        for other in places.flatten().filter(|other| !other.agrees_with(&first)) {
            let message = format!(
                "the version is {} here, but {} in {}",
                other.version,
                first.version,
                first.place()
            );
            let hint = format!("`basegen bump {}` sets it everywhere", first.version);
            findings.push(self.finding("version", &other.path, other.line, message, hint));
        }
        (Some(first), findings)
    }

    /// Returns the version of the product if that of the images, `first`, is lower, and a finding if it cannot be read or is
    /// lower itself.
    fn product(&self, first: Option<&VersionOccurrence>) -> (Option<Product>, Option<Finding>) {
        let table = self.matrix.version.as_ref();
        let Some(place) = table.and_then(|table| table.follows.as_ref()) else {
            return (None, None);
        };
        let product = match version::locate(place, &self.matrix.checkout).map(Product::new) {
            Ok(product) => product,
            Err(error) => {
                let path = Path::new(place.file.get_ref());
                return (None, Some(self.version_fault(path, &error)));
            }
        };
        let Some(first) = first else { return (None, None) };
        if product.is_below(first) {
            let message = format!(
                "the version of the images is {}, but that of the product is {product}",
                first.version
            );
            let hint = "raise the version of the product, or set that of the images back: \
                        `basegen bump VERSION --allow-downgrade`";
            return (None, Some(self.finding("version", &first.path, first.line, message, hint)));
        }
        ((!product.agrees_with(first)).then_some(product), None)
    }

    /// Reports images that are not released yet and do not have the version of their product.
    fn unreleased(&self, product: &Product, first: &VersionOccurrence, level: Level) -> Finding {
        let message = format!(
            "{} is not released yet, and the version of the product is {product}",
            first.version
        );
        let hint = "`basegen bump follow` sets the version of the product";
        let finding = self.finding("version", &first.path, first.line, message, hint);
        Finding { level, ..finding }
    }

    fn version_fault(&self, path: &Path, error: &VersionError) -> Finding {
        self.fault("version", path, error.line(), error)
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

    /// Reports the drift between the plan and the release of its version, at the first place of the version. `bump` says how
    /// to bump it.
    fn release(
        &self,
        plan: &Plan<'_>,
        first: Option<&VersionOccurrence>,
        drift: ReleaseDrift,
        level: Level,
        bump: &str,
    ) -> Vec<Finding> {
        let file = self.matrix_file();
        let (path, line) = first.map_or((file.as_path(), 1), |place| (&*place.path, place.line));
        let mut findings = Vec::new();
        let changed = &drift.changed;
        if let Some(version) = plan.version.as_ref().filter(|_| !changed.is_empty()) {
            let shown: Vec<&str> = changed.iter().take(5).map(String::as_str).collect();
            let more = if changed.len() > shown.len() { ", …" } else { "" };
            let message = format!(
                "{version} is already published with different content ({} of {} images: {}{more})",
                changed.len(),
                plan.targets.len(),
                shown.join(", ")
            );
            let finding = self.finding("registry", path, line, message, bump);
            findings.push(Finding { level, ..finding });
        }
        for Problem { message, hint } in drift.problems {
            findings.push(self.finding("registry", path, line, message, hint));
        }
        findings
    }

    /// Compares `basegen.lock` with the base images that are needed, and with their digests in the registry.
    fn lock(
        &self,
        needed: &BTreeSet<Reference>,
        now: &Pins,
        strict: bool,
    ) -> Result<Vec<Finding>, Report> {
        let mut lock = Lock::read(self.matrix)?;
        if self.fix && fix_pins(&mut lock, needed, now) {
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
                    level = if strict { Level::Error } else { Level::Note };
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

    /// Compares the folder of `basegen render -o` with the rendered files.
    fn rendered(&self) -> Result<Vec<Finding>, Report> {
        let Some(named) = &self.matrix.generated.rendered else { return Ok(Vec::new()) };
        let relative = Path::new(named.get_ref());
        let folder = self.matrix.folder().join(relative);
        let access = if self.fix { Access::Write } else { Access::Read };
        let real = self.matrix.resolve_path(named, access)?;
        let selected = self.matrix.select(&Selection::default())?;
        let mut renderer = Renderer::new(self.matrix)?.pinned(Lock::read(self.matrix)?.pins);
        let rendered = Rendered::new(&selected, &render_for_docker(&mut renderer, &selected)?);
        let mut differences = rendered.differences(&real)?;
        if self.fix {
            render::write(&real, &rendered.files)?;
            for (difference, path) in &differences {
                if *difference != Difference::Extra {
                    self.report_write(&relative.join(path));
                }
            }
            differences = rendered.differences(&real)?;
        }
        let render = format!("`basegen render -o {}` writes it", folder.display());
        let findings = differences.into_iter().map(|(difference, path)| {
            let (message, hint) = match difference {
                Difference::Missing => ("missing: rendered by the matrix", render.as_str()),
                Difference::Changed => ("stale: differs from the output of the matrix", &*render),
                Difference::Extra => ("stale: no longer rendered by the matrix", "remove it"),
            };
            self.finding("rendered", &relative.join(path), 1, message, hint)
        });
        Ok(findings.collect())
    }

    /// Checks the table of images in the README.
    fn readme(&self, plan: &Plan<'_>) -> Result<Vec<Finding>, Report> {
        let Some(readme) = &self.matrix.generated.readme else { return Ok(Vec::new()) };
        let path = Path::new(readme.get_ref());
        let edits = match with_readme(plan, &plan.matrix.checkout, Vec::new()) {
            Ok(edits) => edits,
            Err(error) => return Ok(vec![self.fault("readme", path, error.line(), &error)]),
        };
        if self.fix {
            version::write(&self.matrix.checkout, &edits)?;
            for edit in &edits {
                self.report_write(&edit.path);
            }
            return Ok(Vec::new());
        }
        let findings = edits.iter().map(|edit| {
            let pairs = edit.before.lines().zip(edit.after.lines());
            let same = pairs.take_while(|(before, after)| before == after).count();
            let message = "the table of images is out of date";
            self.finding("readme", path, same + 1, message, "`basegen check --fix` updates it")
        });
        Ok(findings.collect())
    }

    /// Writes a generated file. An existing file keeps its mode, and a symbolic link stays one.
    fn write(&self, path: &Path, text: &str) -> Result<(), Report> {
        let real = self.matrix.checkout.resolve(path, Access::Write)?;
        if real.exists() {
            let before = self.matrix.checkout.read_text(path, MAX_PROJECT_FILE)?;
            let edit = FileEdit { path: path.to_owned(), before, after: text.to_owned() };
            version::write(&self.matrix.checkout, &[edit])?;
        } else {
            let on_disk = self.matrix.folder().join(path);
            let action = format!("write the generated file `{}`", on_disk.display());
            files::replace(&real, text.as_bytes(), false).map_err(FileError::failed_to(action))?;
        }
        self.report_write(path);
        Ok(())
    }

    fn report_write(&self, path: &Path) {
        let path = version::display_path(self.matrix.folder(), path);
        self.context.messages.note(&format!("wrote {}", path.display()));
    }
}

/// Returns how to bump the version of changed images. `product` is the one whose version is higher, if they follow one.
fn bump_hint(matrix: &Matrix, product: Option<&Product>) -> String {
    let follows = matrix.version.as_ref().and_then(|table| table.follows.as_ref());
    match (product, follows) {
        (Some(product), _) => {
            format!("`basegen bump follow` sets the version of the product, {product}")
        }
        (None, Some(place)) => {
            format!(
                "bump the version in `{}`, then run `basegen bump follow`",
                place.file.get_ref()
            )
        }
        (None, None) => "bump the version: `basegen bump patch`".to_owned(),
    }
}

/// Returns true if `text` is a schema of this or another version of basegen.
fn is_schema(text: &str, ours: &str) -> bool {
    let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    let (Some(other), Some(ours)) = (read(text), read(ours)) else { return false };
    ["$schema", "title"]
        .iter()
        .all(|key| other.get(key).is_some() && other.get(key) == ours.get(key))
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
