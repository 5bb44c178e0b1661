//! Registries on other machines that use plain HTTP.

use basegen::engine::{
    BuildJob, BuildKitEngine, BuildOptions, ConnectedEngine, Destination, EngineAddress,
};
use basegen::event::{Failure, FailureKind};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use crate::addresses::{Api, tcp_proxy};
use crate::harness::testbed;

/// Starts a proxy for the test bed's registry, and returns its address: that of Docker's bridge network, which engines do
/// not treat as their own machine.
async fn registry_proxy() -> String {
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
                // Either side can close the connection.
                let _ended = copy_bidirectional(&mut stream, &mut registry).await;
            });
        }
    });
    address.to_string()
}

async fn buildkitd() -> ConnectedEngine {
    let port = tcp_proxy(Api::BuildKit, None).await;
    let address = EngineAddress::buildkit(&format!("tcp://127.0.0.1:{port}"), None);
    ConnectedEngine::at(address.expect("an address")).await.expect("an engine")
}

fn builder(engine: &ConnectedEngine, plain_http: &[&str]) -> BuildKitEngine {
    let plain_http = plain_http.iter().map(|host| ((*host).to_owned(), true)).collect();
    let options = BuildOptions { plain_http, ..BuildOptions::to(Destination::Registry) };
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
    let problem = format!("`{registry}` uses plain HTTP");
    assert!(hint.contains(&problem) && hint.contains(setting), "{failure:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_over_plain_http_only_to_the_hosts_in_the_options() {
    let registry = registry_proxy().await;
    let engines =
        [(testbed::engine().await, "insecure-registries"), (buildkitd().await, "buildkitd")];
    for (engine, setting) in engines {
        let job = job("plain-http", &registry);
        if testbed::has_graph_driver().await {
            // Docker pushes with its own configuration, and its BuildKit cannot push.
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

/// The engine pulls with its own configuration, which a build cannot change.
#[tokio::test(flavor = "multi_thread")]
async fn a_base_image_over_plain_http_fails_with_a_hint_about_the_engine() {
    let registry = registry_proxy().await;
    let engines =
        [(testbed::engine().await, "insecure-registries"), (buildkitd().await, "buildkitd")];
    for (engine, setting) in engines {
        let mut job = job("plain-base", &registry);
        job.context.dockerfile = format!("FROM {registry}/library/python:3.11-slim-bookworm\n");
        let failure = testbed::build(&builder(&engine, &[&registry]), &job).await;
        let failure = failure.expect_err("no base");
        if !engine.name().starts_with("Docker") && testbed::has_graph_driver().await {
            // This engine has no exporter for a push, so its builds fail earlier.
            continue;
        }
        assert_eq!(failure.kind, FailureKind::Build, "{failure:?}");
        let hint = failure.hint.as_deref().unwrap_or_default();
        assert!(hint.contains(&registry) && hint.contains(setting), "{failure:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_uses_plain_http_if_the_matrix_permits_it() {
    let registry = registry_proxy().await;
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
    let stderr = String::from_utf8_lossy(&output.stderr);
    if testbed::has_graph_driver().await {
        assert_eq!(output.status.code(), Some(7), "{stderr}");
        assert!(stderr.contains("insecure-registries"), "{stderr}");
        return;
    }
    assert!(output.status.success(), "{stderr}");
    let pushed = format!("{}/basegen-test/{name}:one", testbed::registry());
    assert_eq!(testbed::manifest(&testbed::reference(&pushed)).await.1["schemaVersion"], 2);
}
