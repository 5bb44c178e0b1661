//! Imports a file with the images that it describes.

use std::path::Path;

use super::error::InitError;
use super::{ImportedImage, MAX_ORIGIN, read};
use crate::files::read_text;
use crate::matrix::SourceFile;

/// An image that a file describes.
#[derive(Debug, Clone)]
pub(crate) struct Import {
    /// The path of the imported file, as the user wrote it.
    pub(crate) origin: String,
    pub(crate) image: ImportedImage,
}

impl Import {
    /// Reads the file at `path`. Its images copy files from `context`, or from the folder of the file.
    pub(crate) fn load(path: &Path, context: Option<&Path>) -> Result<Vec<Self>, InitError> {
        let text = read_text(path, MAX_ORIGIN)?;
        let source = SourceFile::new(path, text.strip_prefix('\u{feff}').unwrap_or(&text));
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let images = read::read(&source, &read::name_of(&absolute), context)?;
        let origin = path.display().to_string();
        Ok(images.into_iter().map(|image| Self { origin: origin.clone(), image }).collect())
    }
}
