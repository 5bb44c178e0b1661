//! Installs Python packages with uv.

use super::script::{Run, Script, Word, quoted};
use super::{FIXED_TIME, Generator, more};
use crate::matrix::{PackageItem, PackageLayer, SourceError, Text};

/// The image whose pip installs uv, in a stage that is the same for all base images.
pub(super) const BUILDER: &str = "python:3.13-slim-bookworm";

/// The release of uv and its wheels, as a file of requirements. `dockerfiles/refresh-pins` writes it.
const UV: &str = include_str!("uv.txt");

const INSTALL: &str = "UV_HTTP_RETRIES=10 uv pip install --link-mode=copy --no-progress";

/// Where packages go without an environment of their own: to the first Python in `PATH`.
const SYSTEM: &str = "--system --break-system-packages";

/// The environment of the Python that the option `--python` names.
const ENVIRONMENT: &str = "/opt/venv";

/// Bytecode of the installed modules that is the same in every build. Modules that are not valid in this Python have none.
pub(super) const COMPILE: &str = "{ find \"$(python3 -B -c 'import sysconfig; print(sysconfig.get_path(\"purelib\"))')\" -name '*.py' -newer /tmp/before\n\
                       | sort | PYTHONHASHSEED=0 python3 -B -m compileall -q -q --invalidation-mode checked-hash -i - || true; }";

impl Generator<'_> {
    pub(super) fn pip(&self) -> Result<Script, SourceError> {
        let mut script = self.python_environment();
        let target = if script.text.is_empty() {
            SYSTEM.to_owned()
        } else {
            format!("--python {ENVIRONMENT}/bin/python")
        };
        // The libraries come before the packages of their table, which may need them, and after those that other images
        // have without them.
        let mut libraries = self.contents.libraries.first().map(|layer| layer.table);
        // A later layer repeats the requirements of earlier ones, so that all are resolved together.
        let mut arguments = Vec::new();
        let mut run = self.with_uv();
        for (number, layer) in self.contents.pip.iter().enumerate() {
            if libraries.take_if(|table| *table <= layer.table).is_some() {
                script.append(Self::libraries());
            }
            arguments.extend(self.requirements(layer, &mut run)?);
            script.comment(&more("Python packages", number, &layer.source));
            let mut step = run.clone();
            step.begin();
            step.then_with(format!("{} {target}", self.install()), arguments.clone());
            step.then(COMPILE).then(FIXED_TIME);
            script.run(&step);
        }
        if libraries.is_some() {
            script.append(Self::libraries());
        }
        Ok(script)
    }

    /// Returns the arguments of uv for the packages of a layer, and mounts the files that they name.
    pub(super) fn requirements(
        &self,
        layer: &PackageLayer<'_>,
        run: &mut Run,
    ) -> Result<Vec<Word>, SourceError> {
        let mut arguments = Vec::new();
        for item in &layer.items {
            arguments.push(match item {
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
            });
        }
        Ok(arguments)
    }

    /// Returns the command that installs packages, without its arguments.
    pub(super) fn install(&self) -> String {
        format!("{}{INSTALL}", self.certificates_in("SSL_CERT_FILE"))
    }

    /// A step with uv.
    pub(super) fn with_uv(&self) -> Run {
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
        let comment = "uv, which installs Python packages. Only build steps use it.";
        if !self.tool("uv").is_empty() {
            return self.downloaded("uv", comment);
        }
        let mut script = Script::default();
        script.comment(comment);
        script.line(&format!("FROM --platform=$BUILDPLATFORM {BUILDER} AS uv"), &(0..0));
        script.line("ARG TARGETARCH", &(0..0));
        script.line(&format!("COPY <<'EOF' /uv.txt\n{UV}EOF"), &(0..0));
        let mut run = Run::default();
        self.certificates(&mut run);
        let certificates = self.certificates_in("PIP_CERT");
        run.then("case $TARGETARCH in arm64) machine=aarch64 ;; *) machine=x86_64 ;; esac");
        run.then_with(
            format!("{certificates}pip install --no-cache-dir --no-deps --no-compile --require-hashes"),
            vec![
                (
                    "--platform \"manylinux2014_$machine\" --only-binary :all: --target /tmp/uv -r /uv.txt"
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
    fn uv_has_the_version_of_the_images() {
        let pinned = include_str!("../../../dockerfiles/uv/requirements.txt");
        for line in UV.lines() {
            assert!(pinned.contains(line.trim_end_matches(" \\")), "{line}");
        }
    }
}
