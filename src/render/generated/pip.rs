//! Installs Python packages with uv.

use super::script::{Run, Script, quoted};
use super::{FIXED_TIME, Generator, more};
use crate::matrix::{PackageItem, SourceError, Text};

/// The image whose pip installs uv, in a stage that is the same for all base images.
const BUILDER: &str = "python:3.13-slim-bookworm";

/// The release of uv and its wheels. A test compares them with `dockerfiles/uv/requirements.txt`.
const UV: &str = "0.13.9";
const UV_AMD64: &str = "d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19";
const UV_ARM64: &str = "5435c5ce14a56431208ca0996416d310f1598e8c2c8ba707688985a16bb82dbe";

const INSTALL: &str = "UV_HTTP_RETRIES=10 uv pip install --link-mode=copy --no-progress";

/// Where packages go without an environment of their own: to the first Python in `PATH`.
const SYSTEM: &str = "--system --break-system-packages";

/// The environment of the Python that the option `--python` names.
const ENVIRONMENT: &str = "/opt/venv";

/// Bytecode of the installed modules that is the same in every build. Modules that are not valid in this Python have none.
const COMPILE: &str = "{ find \"$(python3 -B -c 'import sysconfig; print(sysconfig.get_path(\"purelib\"))')\" -name '*.py' \
                       -newer /tmp/before | sort | PYTHONHASHSEED=0 python3 -B -m compileall -q -q \
                       --invalidation-mode checked-hash -i - || true; }";

impl Generator<'_> {
    pub(super) fn pip(&self) -> Result<Script, SourceError> {
        let mut script = self.python_environment();
        let target = if script.text.is_empty() {
            SYSTEM.to_owned()
        } else {
            format!("--python {ENVIRONMENT}/bin/python")
        };
        // A later layer repeats the requirements of earlier ones, so that all are resolved together.
        let mut arguments = Vec::new();
        let mut run = self.with_uv();
        for (number, layer) in self.contents.pip.iter().enumerate() {
            for item in &layer.items {
                let argument = match item {
                    PackageItem::Option { name: "--python", .. } => continue,
                    PackageItem::Package(package) => (quoted(package), package.span()),
                    PackageItem::File(path) => {
                        let files = self.requirement_files(path)?;
                        let files: Vec<String> = files.iter().map(|file| run.bind(file)).collect();
                        (format!("-r {}", quoted(&files[0])), path.span())
                    }
                    PackageItem::Option { name, value: None } => ((*name).to_owned(), 0..0),
                    PackageItem::Option { name, value: Some(value) } => {
                        let text = if is_path(name, value) {
                            run.bind(&self.context_path(value, value)?)
                        } else {
                            value.to_string()
                        };
                        (format!("{name} {}", quoted(&text)), value.span())
                    }
                };
                arguments.push(argument);
            }
            script.comment(&more("Python packages", number, &layer.source));
            let mut step = run.clone();
            step.begin();
            let variables = if self.has_certificates() {
                "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt "
            } else {
                ""
            };
            step.then_with(format!("{variables}{INSTALL} {target}"), arguments.clone());
            step.then(COMPILE).then(FIXED_TIME);
            script.run(&step);
        }
        Ok(script)
    }

    /// A step with uv.
    fn with_uv(&self) -> Run {
        let mut run = Run::default();
        run.mount("type=bind,from=uv,source=/uv,target=/usr/local/bin/uv".to_owned());
        run.mount("type=cache,id=uv,target=/root/.cache/uv".to_owned());
        self.certificates(&mut run);
        self.netrc(&mut run);
        run
    }

    /// An environment with the Python that the option `--python` names, if any.
    fn python_environment(&self) -> Script {
        let mut script = Script::default();
        let Some(version) = self.python_option() else {
            return script;
        };
        script.comment(&format!("Python {}, in {ENVIRONMENT}.", **version));
        let mut run = self.with_uv();
        run.begin();
        let python = (format!("--python {}", quoted(version)), version.span());
        run.then_with(
            format!("UV_PYTHON_INSTALL_DIR=/opt/python uv venv --no-progress {ENVIRONMENT}"),
            vec![python],
        );
        run.then(FIXED_TIME);
        script.run(&run);
        let line = format!("ENV VIRTUAL_ENV={ENVIRONMENT} PATH={ENVIRONMENT}/bin:$PATH");
        script.line(&line, &version.span());
        script
    }

    /// Returns the value of the option `--python`.
    pub(super) fn python_option(&self) -> Option<&Text> {
        let mut items = self.contents.pip.iter().flat_map(|layer| &layer.items);
        items.find_map(|item| match item {
            PackageItem::Option { name: "--python", value } => value.as_ref(),
            _ => None,
        })
    }

    /// The stage with uv: from a wheel, or from the URL in the matrix file.
    pub(super) fn uv(&self) -> Script {
        if !self.tool("uv").is_empty() {
            return self
                .downloaded("uv", "uv, which installs Python packages. Only build steps use it.");
        }
        let mut script = Script::default();
        script.comment("uv, which installs Python packages. Only build steps use it.");
        script.line(&format!("FROM --platform=$BUILDPLATFORM {BUILDER} AS uv"), &(0..0));
        script.line("ARG TARGETARCH", &(0..0));
        let mut run = Run::default();
        self.certificates(&mut run);
        let variables = if self.has_certificates() {
            "PIP_CERT=/etc/ssl/certs/ca-certificates.crt "
        } else {
            ""
        };
        run.then("case $TARGETARCH in arm64) machine=aarch64 ;; *) machine=x86_64 ;; esac");
        run.then(format!(
            "echo 'uv=={UV} --hash=sha256:{UV_AMD64} --hash=sha256:{UV_ARM64}' >/tmp/uv.txt"
        ));
        run.then_with(
            format!("{variables}pip install --no-cache-dir --no-deps --no-compile --require-hashes"),
            vec![
                (
                    "--platform \"manylinux2014_$machine\" --only-binary :all: --target /tmp/uv -r /tmp/uv.txt"
                        .to_owned(),
                    0..0,
                ),
            ],
        );
        run.then("mv /tmp/uv/bin/uv /uv");
        script.run(&run);
        script
    }
}

/// Returns true if the value of an option is a path in the build context.
fn is_path(option: &str, value: &str) -> bool {
    let takes_path =
        matches!(option, "--constraint" | "--build-constraint" | "--override" | "--find-links");
    takes_path && !value.contains("://")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uv_is_that_of_the_images() {
        let pinned = include_str!("../../../dockerfiles/uv/requirements.txt");
        assert!(pinned.contains(&format!("uv=={UV} ")), "{UV}");
        for hash in [UV_AMD64, UV_ARM64] {
            assert!(pinned.contains(&format!("--hash=sha256:{hash}")), "{hash}");
        }
    }
}
