//! Registries on other machines that speak HTTP without TLS.

use std::collections::BTreeMap;

use basegen::engine::{
    BuildJob, BuildKitEngine, BuildOptions, ConnectedEngine, Destination, EngineAddress,
};
use basegen::event::{Failure, FailureKind};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use crate::addresses::{Behind, tcp};
use crate::harness::testbed;

/// The test bed's registry at an address that no engine takes for its own machine: that of the
/// bridge of Docker's network.
async fn registry() -> String {
    let options = None::<bollard::query_parameters::InspectNetworkOptions>;
    let network = testbed::docker().inspect_network("bridge", options).await.expect("a network");
    let mut networks = network.ipam.and_then(|ipam| ipam.config).unwrap_or_default().into_iter();
    let gateway = networks.find_map(|network| network.gateway).expect("a gateway");
    let listener = TcpListener::bind((gateway, 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut registry =
                    TcpStream::connect(testbed::registry()).await.expect("the registry");
                // Either side may hang up as it likes.
                let _ended = copy_bidirectional(&mut stream, &mut registry).await;
            });
        }
    });
    address.to_string()
}

async fn buildkitd() -> ConnectedEngine {
    let port = tcp(Behind::BuildKit, None).await;
    let address = EngineAddress::buildkit(&format!("tcp://127.0.0.1:{port}"), None);
    ConnectedEngine::at(address.expect("an address")).await.expect("an engine")
}

fn builder(engine: &ConnectedEngine, plain_http: &[&str]) -> BuildKitEngine {
    let said: BTreeMap<_, _> = plain_http.iter().map(|host| ((*host).to_owned(), true)).collect();
    let options = BuildOptions { plain_http: said, ..BuildOptions::to(Destination::Registry) };
    engine.builder(options).expect("a builder")
}

fn job(name: &str, registry: &str) -> BuildJob {
    let mut job = testbed::job(name, "FROM scratch\nCOPY a /a\n", &[("a", &testbed::unique())]);
    job.references = vec![testbed::reference(&format!("{registry}/basegen-test/{name}:1"))];
    job
}

fn assert_refused(failure: &Failure, registry: &str, setting: &str) {
    assert_eq!(failure.kind, FailureKind::Export, "{failure:?}");
    let hint = failure.hint.as_deref().unwrap_or_default();
    let told = format!("`{registry}` uses plain HTTP");
    assert!(hint.contains(&told) && hint.contains(setting), "{failure:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_without_tls_is_pushed_to_where_the_matrix_says_so() {
    let registry = registry().await;
    let engines =
        [(testbed::engine().await, "insecure-registries"), (buildkitd().await, "buildkitd")];
    for (engine, setting) in engines {
        let job = job("plain-http", &registry);
        if testbed::has_graph_driver().await {
            // Docker pushes by itself, as its own configuration says, and its BuildKit not at all.
            let failure = testbed::build(&builder(&engine, &[&registry]), &job).await;
            let failure = failure.expect_err("no push");
            if engine.name().starts_with("Docker") {
                assert_refused(&failure, &registry, setting);
            }
            continue;
        }
        let failure = testbed::build(&builder(&engine, &[]), &job).await.expect_err("no push");
        assert_refused(&failure, &registry, setting);
        let image = testbed::build(&builder(&engine, &[&registry]), &job).await.expect("an image");
        assert_eq!(
            testbed::pushed_manifest(&job, &image).await["schemaVersion"],
            2,
            "{}",
            engine.name()
        );
    }
}

/// The engine pulls as its own configuration says, which nobody else can change.
#[tokio::test(flavor = "multi_thread")]
async fn a_base_of_a_registry_without_tls_is_told_with_the_engines_setting() {
    let registry = registry().await;
    let engines =
        [(testbed::engine().await, "insecure-registries"), (buildkitd().await, "buildkitd")];
    for (engine, setting) in engines {
        let mut job = job("plain-base", &registry);
        job.context.dockerfile = format!("FROM {registry}/library/python:3.11-slim-bookworm\n");
        let failure = testbed::build(&builder(&engine, &[&registry]), &job).await;
        let failure = failure.expect_err("no base");
        if !engine.name().starts_with("Docker") && testbed::has_graph_driver().await {
            // It has no exporter for a push, and comes no further than that.
            continue;
        }
        assert_eq!(failure.kind, FailureKind::Build, "{failure:?}");
        let hint = failure.hint.as_deref().unwrap_or_default();
        assert!(hint.contains(&registry) && hint.contains(setting), "{failure:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_goes_where_the_matrix_says_that_there_is_no_tls() {
    let registry = registry().await;
    let folder = tempfile::tempdir().expect("a folder");
    let name = format!("plain-{}", testbed::unique());
    let matrix = format!(
        "[image]\nregistry = \"{registry}\"\nrepository = \"basegen-test/{name}\"\n\
         dockerfile = \"Dockerfile.hbs\"\ntag = \"{{{{variant}}}}\"\n\
         platforms = [\"linux/amd64\"]\n[axes]\nword = [\"one\"]\n\
         [registries.\"{registry}\"]\nplain_http = true\n"
    );
    let templates = folder.path().join("dockerfiles");
    fs_err::create_dir(&templates).expect("a folder");
    fs_err::write(folder.path().join("matrix.toml"), matrix).expect("a file");
    fs_err::write(templates.join("Dockerfile.hbs"), "FROM scratch\nCOPY a /a\n").expect("a file");
    fs_err::write(templates.join("a"), testbed::unique()).expect("a file");
    let mut command = tokio::process::Command::from(testbed::basegen(folder.path()));
    command.arg("--push");
    let output = command.output().await.expect("the command runs");
    let told = String::from_utf8_lossy(&output.stderr);
    if testbed::has_graph_driver().await {
        assert_eq!(output.status.code(), Some(7), "{told}");
        assert!(told.contains("insecure-registries"), "{told}");
        return;
    }
    assert!(output.status.success(), "{told}");
    let pushed = format!("{}/basegen-test/{name}:one", testbed::registry());
    assert_eq!(testbed::manifest(&testbed::reference(&pushed)).await.1["schemaVersion"], 2);
}
