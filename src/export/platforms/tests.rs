use super::*;

/// The configurations of all platforms for an image, with their warnings.
fn all(image: &PublishedImage<'_>, server: Option<&Server>) -> String {
    let mut text = String::new();
    for (platform, configuration) in [
        ("config.yaml", baseten(image, server)),
        ("cerebrium.toml", cerebrium(image, server)),
        ("app.py", fal(image, server)),
    ] {
        let _ = writeln!(text, "--- {platform}\n{}", configuration.text);
        for warning in configuration.warnings {
            let _ = writeln!(text, "warning: {warning}");
        }
    }
    text
}

/// Calls `test` with an image of the repository, which it may modify.
fn with_image<T>(repository: &str, test: impl FnOnce(PublishedImage<'_>) -> T) -> T {
    let reference: Reference =
        format!("{repository}:3.11-gpu-v1.2.3").parse().expect("a reference");
    test(PublishedImage {
        reference: &reference,
        digest: &Digest::of(b"image"),
        variant: "3.11-gpu-server",
        python: Some("3.11"),
        has_gpu: false,
        user: "",
        keeps_fal: false,
        registry: RegistryKind::Other,
        auth: None,
    })
}

fn server() -> Server {
    Server {
        start_command: Some("python -m uvicorn main:app --host 0.0.0.0 --port 8000".to_owned()),
        port: 8000,
        predict_endpoint: "/predict".to_owned(),
        health_endpoint: "/health".to_owned(),
        no_build: false,
    }
}

#[test]
fn a_public_image() {
    with_image("acme/base", |image| insta::assert_snapshot!(all(&image, None)));
}

#[test]
fn a_gpu_image_with_a_server_and_a_user() {
    with_image("ghcr.io/acme/base", |image| {
        let image = PublishedImage { has_gpu: true, user: "1000:1000", ..image };
        insta::assert_snapshot!(all(&image, Some(&server())));
    });
}

#[test]
fn each_kind_of_registry() {
    const ECR: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/acme/base";
    const GOOGLE: &str = "europe-docker.pkg.dev/project/acme/base";
    let aws = RegistryKind::Aws { account: "123456789012", region: "eu-west-1" };
    let (google, other) = (RegistryKind::Google, RegistryKind::Other);
    for (name, repository, registry, auth) in [
        ("aws_iam", ECR, aws, DockerAuth::AwsIam),
        ("aws_oidc", ECR, aws, DockerAuth::AwsOidc),
        ("aws_token", ECR, aws, DockerAuth::RegistrySecret),
        ("google_key", GOOGLE, google, DockerAuth::GcpServiceAccountJson),
        ("google_oidc", GOOGLE, google, DockerAuth::GcpOidc),
        ("docker_hub", "acme/base", other, DockerAuth::RegistrySecret),
        ("ghcr", "ghcr.io/acme/base", other, DockerAuth::RegistrySecret),
        ("ngc", "nvcr.io/acme/base", other, DockerAuth::RegistrySecret),
        ("own", "registry.example.org:5000/acme/base", other, DockerAuth::RegistrySecret),
    ] {
        assert!(registry.accepts(auth) && registry.accepts(registry.usual_auth()), "{name}");
        with_image(repository, |image| {
            let image = PublishedImage { registry, auth: Some(auth), ..image };
            insta::assert_snapshot!(name, all(&image, None));
        });
    }
}

#[test]
fn an_unmodified_image_may_use_any_port() {
    with_image("acme/base", |image| {
        let image = PublishedImage { has_gpu: true, python: None, user: "triton", ..image };
        let server = Server { no_build: true, start_command: None, port: 8080, ..server() };
        let configuration = baseten(&image, Some(&server));
        insta::assert_snapshot!(configuration.text);
        assert_eq!(
            configuration.warnings,
            ["the image's user is `triton`: add `run_as_user_id` with its number"]
        );
    });
}

#[test]
fn refused_properties_are_warnings() {
    with_image("acme/base", |image| {
        let image = PublishedImage { python: Some("3.15"), user: "60000", ..image };
        let server = Server { port: 8080, ..server() };
        insta::assert_snapshot!(all(&image, Some(&server)));
    });
}

#[test]
fn values_cannot_leave_their_strings() {
    with_image("acme/base", |image| {
        let hostile = "a \"b\" 'c' \\ # %\n\t\u{7f}\u{2028}\u{1f600}: [d] ${e}".to_owned();
        let server = Server {
            start_command: Some(hostile.clone()),
            predict_endpoint: hostile.clone(),
            health_endpoint: hostile.clone(),
            ..server()
        };
        let text = cerebrium(&image, Some(&server)).text;
        let table: toml::Table = text.parse().expect("TOML");
        let custom = &table["cerebrium"]["runtime"]["custom"];
        assert_eq!(custom["entrypoint"].as_str(), Some(&*hostile));
        let text = baseten(&image, Some(&server)).text;
        let document: serde_json::Value = serde_saphyr::from_str(&text).expect("YAML");
        assert_eq!(document["docker_server"]["start_command"], *hostile);
        assert_eq!(document["docker_server"]["liveness_endpoint"], *hostile);
        insta::assert_snapshot!(fal(&image, Some(&server)).text);
    });
}

#[test]
fn the_port_of_a_command_is_found() {
    assert_eq!(port_of("uvicorn main:app --port 8000"), Some(8000));
    assert_eq!(port_of("vllm serve --port=8001 model"), Some(8001));
    for command in ["", "serve", "serve --port", "serve --portable 80", "serve --port $PORT"] {
        assert_eq!(port_of(command), None, "{command}");
    }
}
