//! Facts about the CUDA libraries of an image, which need no GPU.
//!
//! Files that end in `.facts.toml` in a build context list the version, the size and the kernels of a library for each
//! platform. [`GpuFacts::of_contexts`] reads them. They become labels of the image, by which a later release is compared
//! with it.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Target;
use crate::image::Platform;
use crate::matrix::{Diagnostic, Matrix, SourceError, SourceFile, from_toml};
use crate::render::{BuildContext, ContextFile};

/// The ending of the names of files with facts.
const SUFFIX: &str = ".facts.toml";

/// The CUDA libraries of an image, by platform and by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GpuFacts {
    pub platforms: BTreeMap<String, BTreeMap<String, Library>>,
    /// The CUDA version, such as `12.8`, and the oldest driver, as the CUDA version that it supports.
    #[serde(skip)]
    pub cuda: Option<(String, String)>,
    /// The architectures that a release may lose, `drop_sm` of the matrix.
    #[serde(skip)]
    pub droppable: Vec<String>,
}

/// A CUDA library for one platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Library {
    pub version: String,
    /// The size of its files in the image, in bytes.
    pub size: u64,
    /// The GPU architectures with machine code: `90`, `90a` for this one alone, or `100f` for its family.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sm: Vec<String>,
    /// The architectures with PTX, which the driver compiles for them and for newer ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ptx: Vec<String>,
}

/// A file with the facts of one library.
#[derive(Debug, Deserialize)]
struct FactsFile {
    version: String,
    cuda: Option<String>,
    driver: Option<String>,
    #[serde(flatten)]
    platforms: BTreeMap<String, PlatformFacts>,
}

#[derive(Debug, Clone, Deserialize)]
struct PlatformFacts {
    size: u64,
    #[serde(default)]
    sm: Vec<String>,
    #[serde(default)]
    ptx: Vec<String>,
}

impl GpuFacts {
    /// The label with the facts of all libraries, as JSON.
    pub const LABEL: &'static str = "dev.basegen.gpu.libraries";
    /// The label with the GPU architectures that all libraries support, such as `80,86,89,90`.
    const SM_LABEL: &'static str = "dev.basegen.gpu.sm";
    const CUDA_LABEL: &'static str = "dev.basegen.gpu.cuda";
    const DRIVER_LABEL: &'static str = "dev.basegen.gpu.driver";

    /// Reads the facts of each target; `None` if its context has none. A file shared by several contexts is parsed once.
    pub fn of_contexts(
        targets: &[Target<'_>],
        contexts: &[BuildContext],
    ) -> Result<Vec<Option<Self>>, SourceError> {
        let mut parsed: HashMap<(&str, *const u8), (SourceFile, FactsFile)> = HashMap::new();
        for context in contexts {
            for file in facts_files(context) {
                let key = (file.path.as_str(), file.content.as_ptr());
                if let Entry::Vacant(entry) = parsed.entry(key) {
                    let path = Path::new(&context.origin.folder).join(&file.path);
                    let source = SourceFile::new(&path, &String::from_utf8_lossy(&file.content));
                    let facts = from_toml(&source)?;
                    entry.insert((source, facts));
                }
            }
        }
        let rows = targets.iter().zip(contexts).map(|(target, context)| {
            let files = facts_files(context).map(|file| {
                (library_name(&file.path), &parsed[&(file.path.as_str(), file.content.as_ptr())])
            });
            Self::of_files(&target.platforms, files)
        });
        rows.collect()
    }

    /// Refuses targets whose libraries do not support a GPU architecture that the matrix requires. `all` has the facts of
    /// each target. Targets without facts have no libraries that could lack it.
    pub fn require(
        matrix: &Matrix,
        targets: &[Target<'_>],
        all: &[Option<Self>],
    ) -> Result<(), SourceError> {
        let mut refused: BTreeMap<usize, Diagnostic> = BTreeMap::new();
        for (target, gpu) in targets.iter().zip(all) {
            let settings = matrix.settings(target.variant);
            let required = settings.last(|settings| settings.require_sm.as_ref());
            for required in required.into_iter().flatten() {
                let lacking = gpu.as_ref().map(|gpu| gpu.lacking(**required)).unwrap_or_default();
                if !lacking.is_empty() {
                    let message =
                        format!("`{}` does not support GPUs of sm_{}", target.id(), **required);
                    let label = format!("no kernels for it in {}", lacking.join(", "));
                    let help = "build the image with other versions of these libraries, or remove the requirement; \
                                `basegen explain` lists their kernels";
                    let span = required.span();
                    let diagnostic = || Diagnostic::new(span.clone(), message, label).help(help);
                    refused.entry(span.start).or_insert_with(diagnostic);
                }
            }
        }
        if refused.is_empty() {
            return Ok(());
        }
        Err(SourceError::new(&matrix.source, refused.into_values().collect()))
    }

    fn of_files<'a>(
        platforms: &[Platform],
        files: impl Iterator<Item = (&'a str, &'a (SourceFile, FactsFile))>,
    ) -> Result<Option<Self>, SourceError> {
        let mut all = Self::default();
        for (name, (source, file)) in files {
            all.cuda = all.cuda.or_else(|| file.cuda.clone().zip(file.driver.clone()));
            for platform in platforms {
                let platform = platform.to_string();
                let Some(facts) = file.platforms.get(&platform) else {
                    let message =
                        format!("{} lists no facts for {platform}", source.path.display());
                    let diagnostic = Diagnostic::new(0..1, message, "");
                    let help = format!("add a table `[\"{platform}\"]`");
                    return Err(SourceError::new(source, vec![diagnostic.help(help)]));
                };
                let PlatformFacts { size, sm, ptx } = facts.clone();
                let library = Library { version: file.version.clone(), size, sm, ptx };
                all.platforms.entry(platform).or_default().insert(name.to_owned(), library);
            }
        }
        Ok((!all.platforms.is_empty()).then_some(all))
    }

    /// Returns the labels of the image.
    #[must_use]
    pub fn labels(&self) -> BTreeMap<String, String> {
        let json = serde_json::to_string(self).expect("facts are JSON");
        let supported: Vec<String> = self.supported().iter().map(ToString::to_string).collect();
        let mut labels = BTreeMap::from([(Self::LABEL.to_owned(), json)]);
        if !supported.is_empty() {
            labels.insert(Self::SM_LABEL.to_owned(), supported.join(","));
        }
        if let Some((cuda, driver)) = &self.cuda {
            labels.insert(Self::CUDA_LABEL.to_owned(), cuda.clone());
            labels.insert(Self::DRIVER_LABEL.to_owned(), driver.clone());
        }
        labels
    }

    /// Parses the label with the facts. Returns `None` if it is invalid.
    #[must_use]
    pub fn from_label(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    fn libraries(&self) -> impl Iterator<Item = (&String, &Library)> {
        self.platforms.values().flatten()
    }

    /// Returns the GPU architectures for which a library has machine code and that all libraries support.
    #[must_use]
    pub fn supported(&self) -> Vec<u16> {
        let names = self.libraries().flat_map(|(_, library)| &library.sm);
        let mut numbers: Vec<u16> = names.filter_map(|name| name.parse().ok()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers.retain(|number| self.libraries().all(|(_, library)| library.supports(*number)));
        numbers
    }

    /// Returns the names of the libraries that do not support an architecture.
    #[must_use]
    pub fn lacking(&self, architecture: u16) -> Vec<&str> {
        let lacking = self.libraries().filter(|(_, library)| !library.supports(architecture));
        let mut names: Vec<&str> = lacking.map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Returns for each library the architectures with machine code that it had `before` and has no more, and that it
    /// must not lose. A library that only one of the images has is left out.
    #[must_use]
    pub fn lost_since(&self, before: &Self) -> Vec<Lost> {
        let mut lost: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (platform, libraries) in &self.platforms {
            let Some(earlier) = before.platforms.get(platform) else { continue };
            for (name, library) in libraries {
                let Some(earlier) = earlier.get(name) else { continue };
                let gone = earlier
                    .sm
                    .iter()
                    .filter(|sm| !library.sm.contains(sm) && !self.droppable.contains(sm));
                for sm in gone {
                    let known = lost.entry(name.clone()).or_default();
                    if !known.contains(sm) {
                        known.push(sm.clone());
                    }
                }
            }
        }
        lost.into_iter().map(|(library, sm)| Lost { library, sm }).collect()
    }

    /// Returns the size of all libraries for one platform, the largest of all platforms, in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        let sums = self.platforms.values();
        sums.map(|libraries| libraries.values().map(|library| library.size).sum())
            .max()
            .unwrap_or(0)
    }
}

/// The architectures that a library has no machine code for any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    pub library: String,
    pub sm: Vec<String>,
}

impl Lost {
    /// Formats what several libraries have lost: `cublas lacks sm_50 and sm_60`, separated by commas.
    #[must_use]
    pub fn list(all: &[Self]) -> String {
        let lost = all.iter().map(|Self { library, sm }| {
            let names: Vec<String> = sm.iter().map(|sm| format!("sm_{sm}")).collect();
            format!("{library} lacks {}", names.join(" and "))
        });
        lost.collect::<Vec<_>>().join(", ")
    }
}

impl Library {
    /// Returns true if the library runs on GPUs of an architecture. Machine code runs on the architecture that it is for
    /// and on newer ones of the same generation, and the newest PTX on every newer one. A library without kernels runs on
    /// all of them.
    #[must_use]
    pub fn supports(&self, architecture: u16) -> bool {
        let has_code = self.sm.iter().any(|sm| {
            let (number, is_alone) = match sm.strip_suffix('a') {
                Some(number) => (number, true),
                None => (sm.trim_end_matches('f'), false),
            };
            number.parse().is_ok_and(|number: u16| {
                number == architecture
                    || !is_alone && number / 10 == architecture / 10 && number < architecture
            })
        });
        let newest_ptx = self.ptx.iter().filter_map(|name| name.parse::<u16>().ok()).max();
        let has_none = self.sm.is_empty() && self.ptx.is_empty();
        has_none || has_code || newest_ptx.is_some_and(|newest| newest <= architecture)
    }
}

fn facts_files(context: &BuildContext) -> impl Iterator<Item = &ContextFile> {
    let files = context.all().flat_map(BuildContext::all_files).map(|(_, file)| file);
    files.filter(|file| file.path.ends_with(SUFFIX))
}

/// Returns the name of the library of a file with facts.
fn library_name(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.strip_suffix(SUFFIX).unwrap_or(name)
}

#[cfg(test)]
mod tests;
