//! Rules of contracts that run in images. An image that breaks one of them stops its release.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use basegen::contracts::{Severity, all_rules};

use crate::harness::testbed;

/// An image that breaks a rule.
struct Broken {
    rule: &'static str,
    /// The step that breaks it.
    step: &'static str,
}

/// Writes the metadata of installed packages: `NAME VERSION` in each line, and the requirements of the last.
macro_rules! packages {
    ($packages:literal) => {
        concat!(
            "RUN folder=$(python3 -c 'import sysconfig; print(sysconfig.get_paths()[\"purelib\"])') && printf '%b' '",
            $packages,
            "' | while read -r name version more; do mkdir -p \"$folder/$name-$version.dist-info\" && ",
            "printf 'Metadata-Version: 2.1\\nName: %s\\nVersion: %s\\n%s\\n' $name $version \"$more\" ",
            ">\"$folder/$name-$version.dist-info/METADATA\"; done"
        )
    };
}

const BROKEN: &[Broken] = &[
    Broken { rule: "baseten/debian", step: "RUN echo ID=arch >/etc/os-release" },
    Broken {
        rule: "baseten/python",
        step: "RUN printf '#!/bin/sh\\necho Python 3.8.20\\n' >/usr/local/sbin/python3 && chmod +x /usr/local/sbin/python3\n\
               ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    },
    Broken {
        rule: "baseten/port",
        // Each command of the image starts a server.
        step: "RUN mkdir /serving && printf '%s\\n' '#!/bin/sh' \
               'python3 -c \"import socket, time; s = socket.socket(); s.bind((\\\"\\\", 8080)); s.listen(); time.sleep(20)\" >/dev/null 2>&1 &' \
               'sleep 3; exec /bin/sh \"$@\"' >/serving/sh && chmod +x /serving/sh\nSHELL [\"/serving/sh\", \"-c\"]",
    },
    Broken { rule: "baseten/user", step: "RUN echo 'app:x:1000:1000::/:/bin/sh' >>/etc/passwd" },
    Broken { rule: "baseten/writable-paths", step: "RUN touch /workspace" },
    Broken { rule: "fal/curl", step: "RUN /bin/rm -f /usr/bin/curl" },
    Broken {
        rule: "fal/packages",
        step: concat!(
            packages!("pydantic 2.3.1\\nprotobuf 6.1.0\\n"),
            "\nRUN install -m 755 /bin/true /usr/bin/curl"
        ),
    },
    Broken { rule: "cerebrium/base", step: "RUN echo ID=fedora >/etc/os-release" },
    Broken {
        rule: "cerebrium/python",
        step: "RUN /bin/rm -f /usr/bin/python3 /usr/local/bin/python3",
    },
    Broken { rule: "cerebrium/cortex", step: "RUN ln -s /nowhere /cortex" },
    Broken { rule: "lint/dependencies", step: packages!("first 1.0 Requires-Dist: second>=2\\n") },
];

/// Images that pass all rules of a contract: the contract and the steps.
const PASSING: [(&str, &str); 3] = [
    ("baseten", "USER root"),
    (
        "fal",
        concat!(
            packages!("pydantic 2.12.3\\nprotobuf 6.33.0\\nboto3 1.42.0\\n"),
            "\nRUN printf '#!/bin/sh\\n' >/usr/bin/curl && chmod +x /usr/bin/curl"
        ),
    ),
    ("cerebrium", "RUN mkdir /cortex"),
];

/// Releases images, each with the contract and the steps given by name. Returns the exit code and stderr; asserts that no
/// tag is set if the release fails.
async fn release(settings: &str, images: &[(String, String, &str)]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let names: Vec<String> = images.iter().map(|(name, ..)| format!("\"{name}\"")).collect();
    let repository = format!("basegen-test/contracts-{}", testbed::unique());
    let mut matrix = format!(
        "[image]\nregistry = \"{}\"\nrepository = \"{repository}\"\ntag = \"{{{{image}}}}-{{{{version}}}}\"\n\
         dockerfile = \"{{{{image}}}}.hbs\"\nplatforms = [\"linux/amd64\"]\ncompression = \"gzip\"\n{settings}\n\
         [axes]\nimage = [{}]\n[version]\nfile = \"VERSION\"\n\
         [[waive]]\nrule = \"baseten/reserved-env\"\nreason = \"PATH selects another Python\"\n",
        testbed::registry(),
        names.join(", ")
    );
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        fs_err::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs_err::write(path, text).expect("a file");
    };
    for (name, contract, steps) in images {
        let _ = write!(
            matrix,
            "[[set]]\nwhen = {{ image = \"{name}\" }}\ncontracts = [\"{contract}\"]\n"
        );
        let dockerfile =
            format!("FROM python:3.11-slim-bookworm\n{steps}\nLABEL test={}\n", testbed::unique());
        write(&format!("dockerfiles/{name}.hbs"), &dockerfile);
    }
    write("matrix.toml", &matrix);
    write("VERSION", "v1\n");
    let mut command = tokio::process::Command::from(testbed::basegen(folder.path()));
    let output = command.args(["--push", "--keep-going"]).output().await.expect("the command runs");
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    if !output.status.success() {
        let tags = testbed::repository_tags(&repository).await;
        assert!(!tags.iter().any(|tag| tag.ends_with("-v1")), "{tags:?}");
    }
    (output.status.code(), stderr)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_breaks_a_rule_stops_the_release() {
    let mut images: Vec<(String, String, &str)> = BROKEN
        .iter()
        .map(|Broken { rule, step }| {
            (rule.replace('/', "-"), rule.split('/').next().unwrap_or_default().to_owned(), *step)
        })
        .collect();
    images.extend(PASSING.map(|(name, steps)| (format!("passing-{name}"), name.to_owned(), steps)));
    let (code, stderr) = release("", &images).await;
    assert_eq!(code, Some(10), "{stderr}");
    for Broken { rule, .. } in BROKEN {
        let image = format!("`{}`", rule.replace('/', "-"));
        assert!(
            stderr.contains(&format!("`{rule}`")),
            "{rule} of {image} is not reported:\n{stderr}"
        );
    }
    let passed = PASSING.map(|(name, _)| {
        stderr
            .lines()
            .any(|line| line.starts_with(&format!("passing-{name}")) && line.contains("✓"))
    });
    assert_eq!(passed, [true; 3], "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_user_of_a_deployment_must_exist() {
    let settings = "baseten = { run_as_user_id = 1234 }";
    let image = |name: &str, step| {
        (name.to_owned(), name.split('_').next().unwrap_or_default().to_owned(), step)
    };
    let images = [image("baseten", "ENV A=1"), image("baseten-no-build", "USER 1234\nCMD serve")];
    let (code, stderr) = release(settings, &images).await;
    assert_eq!(code, Some(10), "{stderr}");
    for rule in ["`baseten/user`", "`baseten-no-build/user`"] {
        assert!(stderr.contains(rule), "{stderr}");
    }
    let create = "RUN echo 'me:x:1234:1234::/:/bin/sh' >>/etc/passwd\nCMD serve";
    let images = images.map(|(name, contract, _)| (name, contract, create));
    let (code, stderr) = release(settings, &images).await;
    assert_eq!(code, Some(0), "{stderr}");
}

/// Variables of the base image do not stop a release.
#[tokio::test(flavor = "multi_thread")]
async fn inherited_variables_of_package_managers_are_only_reported() {
    let images = [("one".to_owned(), "baseten".to_owned(), "ENV PIP_CONSTRAINT=/c.txt A=1")];
    let (code, stderr) = release("", &images).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("baseten/inherited-env: `ENV PIP_CONSTRAINT`"), "{stderr}");
}

#[test]
fn every_rule_that_runs_in_images_has_a_broken_image() {
    let rules = all_rules().map(|(_, rule)| rule);
    let rules: BTreeSet<&str> = rules
        .filter(|rule| rule.is_in_image() && rule.severity == Severity::Error)
        .map(|rule| rule.id)
        .collect();
    let mut broken: BTreeSet<&str> = BROKEN.iter().map(|broken| broken.rule).collect();
    // `the_user_of_a_deployment_must_exist` tests this rule.
    broken.insert("baseten-no-build/user");
    assert_eq!(rules, broken);
}
