//! Checks the files that basegen generates: the schema, rendered files and the table of images. `--fix` writes them.

use std::path::Path;

use super::Checker;
use crate::error::{FileError, Report};
use crate::files::{self, Access, MAX_PROJECT_FILE, MAX_TEXT, ReadError};
use crate::matrix::{self, GeneratedTable, Selection, Spanned};
use crate::ops::finding::Finding;
use crate::ops::render::contexts as render_for_docker;
use crate::plan::{Lock, Plan, with_readme};
use crate::render::{self, Difference, Rendered, Renderer};
use crate::version::{self, FileEdit};

impl Checker<'_> {
    /// Checks the schema that the first line of the matrix file names, or the one beside the matrix file.
    pub(super) fn schema(&self) -> Result<Option<Finding>, Report> {
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
        if self.request.fix {
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

    /// Compares the folder of `basegen render -o` with the rendered files.
    pub(super) fn rendered(&self) -> Result<Vec<Finding>, Report> {
        let Some(named) = &self.matrix.generated.rendered else { return Ok(Vec::new()) };
        let relative = Path::new(named.get_ref());
        let folder = self.matrix.folder().join(relative);
        let access = if self.request.fix { Access::Write } else { Access::Read };
        let real = self.matrix.resolve_path(named, access)?;
        let selected = self.matrix.select(&Selection::default())?;
        let mut renderer = Renderer::new(self.matrix)?.pinned(Lock::read(self.matrix)?.pins);
        let rendered = Rendered::new(&selected, &render_for_docker(&mut renderer, &selected)?);
        let mut differences = rendered.differences(&real)?;
        if self.request.fix {
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
    pub(super) fn readme(&self, plan: &Plan<'_>) -> Result<Vec<Finding>, Report> {
        let Some(readme) = &self.matrix.generated.readme else { return Ok(Vec::new()) };
        let path = Path::new(readme.get_ref());
        let edits = match with_readme(plan, &plan.matrix.checkout, Vec::new()) {
            Ok(edits) => edits,
            Err(error) => return Ok(vec![self.fault("readme", path, error.line(), &error)]),
        };
        if self.request.fix {
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
    pub(super) fn write(&self, path: &Path, text: &str) -> Result<(), Report> {
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

/// Returns true if `text` is a schema of this or another version of basegen.
fn is_schema(text: &str, ours: &str) -> bool {
    let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    let (Some(other), Some(ours)) = (read(text), read(ours)) else { return false };
    ["$schema", "title"]
        .iter()
        .all(|key| other.get(key).is_some() && other.get(key) == ours.get(key))
}
