//! Installs Python packages that are the same for all versions of Python, such as the libraries of CUDA.
//!
//! Their stage depends only on their names, and they are copied with `--link`: one layer for the images of all versions of
//! Python. In each image, the packages are links to the files of this layer. pip and uv find them there,
//! and do not download them again when a package such as torch needs them.

use super::pip::{BUILDER, COMPILE};
use super::script::{Run, Script};
use super::{FIXED_TIME, Generator};
use crate::matrix::SourceError;

/// Refuses packages whose wheels are for one version of Python.
const CHECK: [&str; 2] = [
    "others=$(grep --files-without-match '^Tag: \\(py2[.]\\)\\?py3-none-' /out/opt/libraries/*.dist-info/WHEEL || true)",
    "if [ -n \"$others\" ]; then echo \"not the same for all versions of Python: $others; use pip\" >&2; exit 1; fi",
];

/// Links from the folder of installed packages to the files of the layer.
const LINK: [&str; 3] = [
    "site=$(python3 -B -c 'import sysconfig; print(sysconfig.get_path(\"purelib\"))')",
    "mkdir -p \"$site\"",
    "cp --recursive --symbolic-link --remove-destination /opt/libraries/. \"$site\"",
];

impl Generator<'_> {
    /// The stage with the packages below `/out`.
    pub(super) fn libraries_stage(&self) -> Result<Script, SourceError> {
        let mut script = Script::default();
        let mut run = self.with_uv();
        let mut arguments = Vec::new();
        for layer in &self.contents.libraries {
            arguments.extend(self.requirements(layer, &mut run)?);
        }
        script.comment("Python packages that are the same for all versions of Python.");
        script.line(&format!("FROM {BUILDER} AS libraries"), &(0..0));
        run.then_with(
            format!("{} --only-binary :all: --target /out/opt/libraries", self.install()),
            arguments,
        );
        // Programs would start the Python of this stage.
        run.then("rm -rf /out/opt/libraries/.lock /out/opt/libraries/bin");
        for command in CHECK {
            run.then(command);
        }
        run.then("find /out -exec touch --no-dereference --date=1980-01-01T00:00:00Z {} +");
        script.run(&run);
        Ok(script)
    }

    /// The layer with the packages, and the links of this Python.
    pub(super) fn libraries() -> Script {
        let mut script = Script::default();
        script.comment("Python packages that images of all versions of Python share: a layer, and links to its files.");
        script.line("COPY --link --from=libraries /out/ /", &(0..0));
        let mut run = Run::default();
        run.begin();
        for command in LINK {
            run.then(command);
        }
        run.then(COMPILE).then(FIXED_TIME);
        script.run(&run);
        script
    }
}
