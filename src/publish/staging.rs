//! Between build and name: an image that was pushed by its digest is kept by its staging tag.

use std::collections::HashMap;
use std::sync::Arc;

use super::Journal;
use crate::engine::{BuildJob, BuiltImage, Engine, Turn};
use crate::error::{Explain, one_line};
use crate::event::{Event, Events, Failure, FailureKind};
use crate::plan::Fingerprint;
use crate::registry::{Registries, RegistryErrorKind};

use super::{PublishError, Row};

/// An engine whose images are findable by their fingerprints once they are built.
pub(super) struct Staging<E> {
    engine: E,
    registries: Registries,
    journal: Arc<Journal>,
    fingerprints: HashMap<String, Fingerprint>,
    events: Events,
}

impl<E: Engine> Staging<E> {
    pub(super) fn new(
        engine: E,
        registries: &Registries,
        journal: &Arc<Journal>,
        rows: &[Row],
        events: &Events,
    ) -> Self {
        let fingerprints = rows
            .iter()
            .filter_map(|row| Some((row.job.target.clone(), row.fingerprint.clone()?)))
            .collect();
        let (registries, journal) = (registries.clone(), Arc::clone(journal));
        Self { engine, registries, journal, fingerprints, events: events.clone() }
    }

    async fn stage(&self, job: &BuildJob, image: &BuiltImage) -> Result<(), PublishError> {
        let repository = &job.references[0].repository;
        let found = self.registries.manifest(repository, &image.digest).await?;
        let manifest = found.ok_or_else(|| PublishError::Lost {
            reference: job.references[0].clone(),
            digest: image.digest.clone(),
        })?;
        let fingerprint = self.fingerprints.get(&job.target);
        if let Some(fingerprint) = fingerprint {
            let tag = fingerprint.staging_tag();
            let put = self.registries.put_manifest(repository, &tag, &manifest).await;
            match put {
                // Built anew with `--force`, while what was built before keeps the tag.
                Err(error) if matches!(error.kind(), RegistryErrorKind::TagImmutable { .. }) => {
                    let message =
                        format!("`{repository}:{tag}` keeps the image of an earlier build");
                    let target = Some(job.target.clone());
                    self.events.emit(&Event::Warning { target, message });
                }
                other => other?,
            }
        }
        let fingerprint = fingerprint.map(ToString::to_string);
        self.journal.pushed(&job.target, fingerprint, &image.digest).await?;
        Ok(())
    }
}

impl<E: Engine> Engine for Staging<E> {
    fn name(&self) -> &str {
        self.engine.name()
    }

    fn capacity(&self) -> usize {
        self.engine.capacity()
    }

    async fn build(
        &self,
        job: &BuildJob,
        events: &Events,
        turn: Turn,
    ) -> Result<BuiltImage, Box<Failure>> {
        let image = self.engine.build(job, events, turn).await?;
        match self.stage(job, &image).await {
            Ok(()) => Ok(image),
            Err(error) => Err(Box::new(Failure {
                kind: FailureKind::Export,
                message: one_line(&error),
                step: None,
                source: None,
                exit_code: None,
                platform: None,
                hint: error.hint(),
            })),
        }
    }
}
