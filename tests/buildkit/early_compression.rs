//! Layers that are compressed before the export of their image.
//!
//! One stage waits for a download until the layer of another stage is in the engine's content store. Docker's old image
//! store keeps no compressed layers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use basegen::engine::Destination;
use basegen::image::CompressionAlgorithm;

use crate::harness::registry::{FakeRegistry, Fault, Rule};
use crate::harness::testbed;

const DOWNLOAD: &str = "/v2/acme/slow/manifests/1";

/// Returns the folder with the blobs of the test bed's own engine, and `None` for the machine's engine.
fn content_store() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var(format!("BASEGEN_TESTBED_{name}")).ok();
    let (engine, store) = (variable("ENGINE")?, variable("STORE")?);
    let data = format!("engine-data-{engine}-{store}/containerd/daemon");
    let content =
        PathBuf::from(variable("DIR")?).join(data).join("io.containerd.content.v1.content");
    content.is_dir().then(|| content.join("blobs/sha256"))
}

/// Returns the digest of a small blob in `folder` that contains `word`.
fn blob_with(folder: &Path, word: &str) -> Option<String> {
    let is_layer = |path: &Path| {
        let bytes = fs_err::read(path).unwrap_or_default();
        bytes.windows(word.len()).any(|part| part == word.as_bytes()) && !bytes.starts_with(b"{")
    };
    let blobs = fs_err::read_dir(folder).expect("the blobs").filter_map(Result::ok);
    let small = blobs.filter(|blob| blob.metadata().is_ok_and(|blob| blob.len() < 1 << 16));
    let path = small.map(|blob| blob.path()).find(|path| is_layer(path))?;
    Some(format!("sha256:{}", path.file_name()?.to_str()?))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_linked_layer_is_compressed_while_other_steps_run() {
    let has_graph_driver = testbed::has_graph_driver().await;
    let Some(folder) = content_store().filter(|_| !has_graph_driver) else { return };
    let (word, registry) = (testbed::unique(), FakeRegistry::start().await);
    registry.add_manifest("acme/slow", "1", "text/plain", word.clone());
    let hangs = registry.fail(Rule::every("*", DOWNLOAD, Fault::Hang));
    let dockerfile = format!(
        "FROM python:3.11-slim-bookworm AS fast\nRUN mkdir /out && echo {word} > /out/fast\n\
         FROM scratch AS slow\nADD {}{DOWNLOAD} /out/slow\n\
         FROM python:3.11-slim-bookworm\n\
         COPY --link --from=fast /out/ /\nCOPY --link --from=slow /out/ /\n",
        registry.origin()
    );
    let mut job = testbed::job("early", &dockerfile, &[]);
    job.compression.algorithm = CompressionAlgorithm::Uncompressed;
    let builder = testbed::builder(Destination::Registry).await;
    let (image, early) = tokio::join!(testbed::build(&builder, &job), async {
        let search = async {
            loop {
                if let Some(blob) = blob_with(&folder, &word) {
                    return blob;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let found = tokio::time::timeout(Duration::from_secs(60), search).await;
        hangs.release();
        found.expect("the layer is not compressed before the other step ends")
    });
    let pushed = testbed::pushed_manifest(&job, &image.expect("an image")).await;
    let layers = testbed::layers(&pushed);
    assert_eq!(layers[layers.len() - 2], early);
}
