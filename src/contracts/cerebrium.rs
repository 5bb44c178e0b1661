//! Cerebrium: base images of apps, with a custom runtime or without.

use super::image::{
    command_ports, creatable, debian_base, debian_script, python_range, python_script,
};
use super::{Kind, Rule, Severity, Subject, Violation};

/// The minor versions of Python 3 that Cerebrium offers.
const PYTHON: (u16, u16) = (10, 13);

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "cerebrium/base",
        requirement: "The base is an image of Debian, Ubuntu, NVIDIA CUDA or Python that is based on Debian",
        fix: "use one of them as the base image",
        source: "Cerebrium, Defining Container Images: Supported Base Images",
        severity: Severity::Error,
        kind: Kind::Both(
            |subject| debian_base(subject, "Cerebrium"),
            |_| Some(debian_script("Cerebrium")),
        ),
    },
    Rule {
        id: "cerebrium/python",
        requirement: "`python3` on `PATH` is Python 3.10 to 3.13",
        fix: "use a Python from 3.10 to 3.13, or deploy a Dockerfile",
        source: "Cerebrium, Defining Container Images: Selecting a Python Version",
        severity: Severity::Error,
        kind: Kind::Both(
            |subject| python_range(subject, "Cerebrium", PYTHON),
            |_| Some(python_script("Cerebrium", PYTHON)),
        ),
    },
    Rule {
        id: "cerebrium/port",
        requirement: "The port in the command of the image equals `port` in `[image]`, which `cerebrium.toml` repeats",
        fix: "make both equal",
        source: "Cerebrium, Defining Container Images: Important Notes",
        severity: Severity::Error,
        kind: Kind::Static(different_port),
    },
    Rule {
        id: "cerebrium/cortex",
        requirement: "Cerebrium can create `/cortex` for the code of the app",
        fix: "remove the file in the way",
        source: "Cerebrium, Defining Container Images: Important Notes",
        severity: Severity::Error,
        kind: Kind::InImage(|_| Some(creatable("Cerebrium", &["/cortex"]))),
    },
];

fn different_port(subject: &Subject<'_>) -> Vec<Violation> {
    let Some(wanted) = subject.settings.port.as_ref().map(|port| **port) else { return Vec::new() };
    let others = command_ports(subject).into_iter().filter(|(_, ports)| !ports.contains(&wanted));
    let violations = others.map(|(at, ports)| {
        Violation::new(
            at,
            format!("the server uses port {}, but `port` in `[image]` is {wanted}", ports.start()),
        )
    });
    violations.collect()
}
