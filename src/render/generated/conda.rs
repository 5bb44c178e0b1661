//! Installs conda packages with micromamba.

use super::script::{Run, Script, quoted};
use super::{FIXED_TIME, Generator, more};
use crate::matrix::{PackageItem, SourceError};

/// The folder of the environment. Its programs come first in `PATH`.
const PREFIX: &str = "/opt/conda";

/// Sets the command that adds packages: a base image can have an environment already, such as another image of the matrix.
const ADD: &str = "if [ -d /opt/conda/conda-meta ]; then add=install; else add=create; fi";

/// The history of an environment contains the time of each change.
const HISTORY: &str =
    "sed -i 's/^==> .* <==$/==> 1980-01-01 00:00:00 <==/' /opt/conda/conda-meta/history";

const COMPILE: &str = "if [ -x /opt/conda/bin/python ]; then\n\
                       PYTHONHASHSEED=0 /opt/conda/bin/python -B -m compileall -f -q -q \
                       --invalidation-mode checked-hash /opt/conda/lib || true; fi";

impl Generator<'_> {
    pub(super) fn conda(&self) -> Result<Script, SourceError> {
        let mut script = Script::default();
        let mut run = Run::default();
        run.mount(
            "type=bind,from=micromamba,source=/micromamba,target=/usr/local/bin/micromamba"
                .to_owned(),
        );
        run.mount("type=cache,id=conda,target=/var/cache/conda".to_owned());
        self.certificates(&mut run);
        self.netrc(&mut run);
        let mut channels = Vec::new();
        for (number, layer) in self.contents.conda.iter().enumerate() {
            let mut packages = Vec::new();
            for item in &layer.items {
                match item {
                    PackageItem::Package(package) => {
                        packages.push((quoted(package), package.span()));
                    }
                    PackageItem::File(path) => {
                        let file = run.bind(&self.context_path(path, path)?);
                        packages.push((format!("--file {}", quoted(&file)), path.span()));
                    }
                    PackageItem::Option { name, value: None } => {
                        channels.push(((*name).to_owned(), 0..0));
                    }
                    PackageItem::Option { name, value: Some(value) } => {
                        let text = if value.starts_with("./") {
                            format!("file://{}", run.bind(&self.context_path(value, value)?))
                        } else {
                            value.to_string()
                        };
                        channels.push((format!("{name} {}", quoted(&text)), value.span()));
                    }
                }
            }
            script.comment(&more(&format!("Conda packages, in {PREFIX}"), number, &layer.source));
            let mut step = run.clone();
            step.begin();
            let command = if number == 0 {
                step.then(ADD);
                "$add"
            } else {
                "install"
            };
            let install = format!(
                "{}CONDA_PKGS_DIRS=/var/cache/conda micromamba {command} --yes --no-rc --no-pyc \
                 --root-prefix /tmp/micromamba --prefix {PREFIX}",
                self.certificates_in("SSL_CERT_FILE")
            );
            step.then_with(install, channels.iter().cloned().chain(packages).collect());
            step.then(HISTORY).then(COMPILE).then(FIXED_TIME);
            script.run(&step);
        }
        if !self.contents.conda.is_empty() {
            script.line(&format!("ENV PATH={PREFIX}/bin:$PATH"), &(0..0));
        }
        Ok(script)
    }
}
