//! The settings of a variant's Dockerfile: its text, build arguments, target and contexts.

use std::collections::BTreeMap;

use super::diagnostic::SourceFile;
use super::dockerfile::{ContextSource, Dockerignore};
use super::model::{Matrix, Variant};
use super::pattern::{Pattern, is_image_call};
use super::spanned::Spanned;

/// The scheme of images among named contexts, as in Docker.
const IMAGE: &str = "docker-image://";

impl Matrix {
    /// Returns the Dockerfiles that the matrix file contains, by name.
    pub fn inline_dockerfiles(&self) -> impl Iterator<Item = (String, &SourceFile)> {
        self.all_settings().filter_map(|settings| {
            let name = settings.dockerfile.as_ref()?.fill(|_| "".into());
            Some((name, &**settings.dockerfile_text.as_ref()?))
        })
    }

    /// Returns the build arguments of a variant with their places in the matrix file.
    #[must_use]
    pub fn build_arguments<'a>(
        &'a self,
        variant: &'a Variant,
    ) -> BTreeMap<&'a str, Spanned<String>> {
        let arguments = self.settings(variant).merged(|settings| &settings.args);
        arguments
            .into_iter()
            .map(|(name, value)| (name, self.spanned_text(variant, value)))
            .collect()
    }

    /// Returns the stage that is the image of a variant; `None` is the last.
    #[must_use]
    pub fn target(&self, variant: &Variant) -> Option<Spanned<String>> {
        let target = self.settings(variant).last(|settings| settings.target.as_ref())?;
        Some(self.spanned_text(variant, target)).filter(|target| !target.is_empty())
    }

    /// Returns the folder that a variant copies files from; `None` is that of the templates.
    #[must_use]
    pub fn context(&self, variant: &Variant) -> Option<Spanned<String>> {
        let context = self.settings(variant).last(|settings| settings.context.as_ref())?;
        Some(self.spanned_text(variant, context))
    }

    /// Returns the patterns of files that a variant does not get, unless those of its context apply.
    #[must_use]
    pub fn dockerignore<'a>(&'a self, variant: &'a Variant) -> Option<&'a Dockerignore> {
        self.settings(variant).last(|settings| settings.dockerignore.as_ref())
    }

    /// Returns the files and folders outside of the templates' folder that the image of a variant can contain files from or
    /// that have patterns for them. They are relative to the folder of the matrix file.
    #[must_use]
    pub fn context_paths(&self, variant: &Variant) -> Vec<String> {
        let mut paths: Vec<String> =
            self.context(variant).into_iter().map(Spanned::into_inner).collect();
        for source in self.named_contexts(variant).into_values() {
            if let ContextSource::Folder(folder) = source.into_inner() {
                paths.push(folder);
            }
        }
        if let Some(Dockerignore::File(path)) = self.dockerignore(variant) {
            paths.push(path.to_string());
        }
        paths
    }

    /// Returns the named contexts of a variant, with their places in the matrix file.
    #[must_use]
    pub fn named_contexts<'a>(
        &'a self,
        variant: &'a Variant,
    ) -> BTreeMap<&'a str, Spanned<ContextSource>> {
        let contexts = self.build.contexts.iter().map(|(name, source)| {
            let filled = self.spanned_text(variant, source);
            let source = match filled.strip_prefix(IMAGE) {
                Some(image) => ContextSource::Image(image.to_owned()),
                None if is_image_call(&filled) => ContextSource::Variant(filled.to_string()),
                None => ContextSource::Folder(filled.to_string()),
            };
            (name.as_str(), Spanned::new(filled.span(), source))
        });
        contexts.collect()
    }

    fn spanned_text(&self, variant: &Variant, pattern: &Pattern) -> Spanned<String> {
        let text = pattern.fill(|name| self.name_part(variant, name));
        Spanned::new(pattern.span().unwrap_or_default(), text)
    }
}
