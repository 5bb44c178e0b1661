use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use super::{BuildJob, Layer};

/// The layers that several jobs of a run upload, each by one of them.
///
/// The engine would upload a layer twice for two jobs that push it at the same time. So the first job that is
/// ready uploads its layers, and jobs that share one of these wait. Then the layer is in their repository, or
/// can be mounted there.
#[derive(Default)]
pub(super) struct Uploads {
    /// The layers of each job.
    jobs: Vec<BTreeSet<Layer>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The job that uploads each layer.
    uploading: HashMap<Layer, usize>,
    uploaded: BTreeSet<Layer>,
}

impl Uploads {
    pub(super) fn new(jobs: &[BuildJob]) -> Self {
        Self { jobs: jobs.iter().map(BuildJob::layers).collect(), state: Mutex::default() }
    }

    /// Returns true if no other job uploads a layer of `job`. The job is then recorded as uploading its layers,
    /// until [`Self::finish`]. It can begin again to repeat its upload.
    pub(super) fn begin(&self, job: usize) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let layers = self.jobs.get(job).into_iter().flatten();
        let missing: Vec<&Layer> =
            layers.filter(|layer| !state.uploaded.contains(*layer)).collect();
        let is_free = missing
            .iter()
            .all(|layer| state.uploading.get(*layer).is_none_or(|uploader| *uploader == job));
        if is_free {
            state.uploading.extend(missing.into_iter().map(|layer| (layer.clone(), job)));
        }
        is_free
    }

    /// Records that `job` has finished, and whether it has exported its image.
    pub(super) fn finish(&self, job: usize, is_exported: bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let layers = state.uploading.extract_if(|_, uploader| *uploader == job);
        let layers: Vec<Layer> = layers.map(|(layer, _)| layer).collect();
        if is_exported {
            state.uploaded.extend(layers);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uploads(dockerfiles: &[&str]) -> Uploads {
        Uploads::new(
            &dockerfiles.iter().map(|text| BuildJob::of_dockerfile(text)).collect::<Vec<_>>(),
        )
    }

    #[test]
    fn a_job_waits_for_the_upload_of_a_layer_that_it_shares() {
        let uploads = uploads(&["FROM a\nRUN x\n", "FROM a\nRUN y\n", "FROM b\nRUN y\n"]);
        assert!(uploads.begin(1), "the first job that is ready starts the upload");
        assert!(!uploads.begin(0));
        assert!(uploads.begin(2), "job 2 shares no layer");
        assert!(uploads.begin(1), "job 1 repeats its upload");
        uploads.finish(1, true);
        assert!(uploads.begin(0));
    }

    #[test]
    fn jobs_that_share_only_uploaded_layers_do_not_wait() {
        let uploads = uploads(&["FROM a\nRUN x\n", "FROM a\nRUN y\n", "FROM a\nRUN z\n"]);
        assert!(uploads.begin(0));
        uploads.finish(0, true);
        assert!(uploads.begin(1) && uploads.begin(2));
    }

    #[test]
    fn a_job_uploads_the_shared_layer_if_the_first_one_fails() {
        let uploads = uploads(&["FROM a\nRUN x\n", "FROM a\nRUN y\n", "FROM a\nRUN z\n"]);
        assert!(uploads.begin(0));
        uploads.finish(0, false);
        assert!(uploads.begin(1));
        assert!(!uploads.begin(2));
    }
}
