//! Installs Debian packages.

use super::script::{Run, Script, Word, quoted};
use super::{FIXED_TIME, Generator, more};
use crate::matrix::{PackageItem, SourceError, Text};

/// Options of `apt-get install` in every step. The configuration of Debian's images deletes downloads in the default folder.
const INSTALL: &str = "DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends\n\
                       -o Acquire::Retries=10 -o Dir::Cache::Archives=/var/cache/apt/kept";

/// By default, `apt-get update` succeeds when a download fails, and the lists of an earlier build name packages that are gone.
const UPDATE: &str = "apt-get update -o Acquire::Retries=10 -o APT::Update::Error-Mode=any";

/// Files that differ between equal installations.
const VOLATILE: &str = "rm -rf /var/cache/debconf/*-old /var/lib/dpkg/*-old /var/cache/ldconfig/aux-cache\n\
                        /var/log/apt /var/log/alternatives.log /var/log/dpkg.log";

impl Generator<'_> {
    pub(super) fn apt(&self) -> Result<Script, SourceError> {
        let mut script = Script::default();
        for (number, layer) in self.contents.apt.iter().enumerate() {
            let mut packages = Vec::new();
            for item in &layer.items {
                self.debian_package(item, &mut packages)?;
            }
            script.comment(&more("Debian packages", number, &layer.source));
            let mut run = Run::default();
            self.apt_mounts(&mut run);
            run.begin();
            self.update_lists(&mut run);
            run.then_with(INSTALL, packages);
            run.then(VOLATILE).then(FIXED_TIME);
            script.run(&run);
        }
        Ok(script)
    }

    fn debian_package(
        &self,
        item: &PackageItem<Text>,
        words: &mut Vec<Word>,
    ) -> Result<(), SourceError> {
        match item {
            PackageItem::Package(package) => words.push((quoted(package), package.span())),
            PackageItem::Option { name, value: None } => words.push(((*name).to_owned(), 0..0)),
            PackageItem::Option { name, value: Some(value) } => {
                words.push((format!("{name} {}", quoted(value)), value.span()));
            }
            // The step then changes only if the packages do.
            PackageItem::File(path) => {
                for package in self.packages_in(path)? {
                    words.push((quoted(&package), path.span()));
                }
            }
        }
        Ok(())
    }

    /// Installs the programs that later steps call, if the base image lacks them.
    pub(super) fn programs(&self) -> Result<Script, SourceError> {
        let programs = self.missing_programs()?;
        let mut script = Script::default();
        if programs.is_empty() {
            return Ok(script);
        }
        script.comment("Programs that the steps below call, unless the base image has them.");
        let mut run = Run::default();
        self.apt_mounts(&mut run);
        run.begin();
        run.then(format!(
            "for program in {}; do\ncommand -v \"$program\" >/dev/null || set -- \"$@\" \"$program\"; done",
            programs.join(" ")
        ));
        run.then("{ [ -e /etc/ssl/certs/ca-certificates.crt ] || set -- \"$@\" ca-certificates; }");
        let mut install = Run::default();
        self.update_lists(&mut install);
        install.then(format!("{INSTALL} \"$@\""));
        run.then(format!("if [ $# -gt 0 ]; then\n{}; fi", install.joined()));
        run.then(VOLATILE).then(FIXED_TIME);
        script.run(&run);
        Ok(script)
    }

    /// Downloads are kept by base image: packages of two distributions can have the same name and version.
    fn apt_mounts(&self, run: &mut Run) {
        let base = self.contents.base.rsplit('/').next().unwrap_or_default();
        let base = base.replace([':', '@'], "-");
        run.mount(format!("type=cache,id=apt-{base},target=/var/cache/apt,sharing=locked"));
        run.mount(format!(
            "type=cache,id=apt-lists-{base},target=/var/lib/apt/lists,sharing=locked"
        ));
        if self.has_certificates() {
            // Not in /etc/ssl: an installation of ca-certificates replaces the file there.
            run.mount(
                "type=secret,id=ca_certificates,target=/run/ca-certificates.crt,mode=0444,required=false"
                    .to_owned(),
            );
        }
    }

    fn update_lists(&self, run: &mut Run) {
        run.then("mkdir -p /var/cache/apt/kept/partial");
        if self.has_certificates() {
            run.then(
                "if [ -e /run/ca-certificates.crt ]; then\n\
                 printf 'Acquire::https::CAInfo \"/run/ca-certificates.crt\";' >/tmp/apt.conf\n\
                 && export APT_CONFIG=/tmp/apt.conf; fi",
            );
        }
        run.then(UPDATE);
    }
}
