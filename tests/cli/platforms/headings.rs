//! The sections of the platforms' documents, and the section of `docs/platforms.md` about each of them.

/// A heading of a document, and an anchor of the page.
type Covered = (&'static str, &'static str);

/// Baseten: Custom Docker containers.
pub(super) const BASETEN: &[Covered] = &[
    ("Custom Docker containers", "baseten-the-server-in-an-image"),
    ("Non-root user", "baseten-users"),
    ("Container filesystem", "baseten-writable-paths"),
    ("Writable directories", "baseten-writable-paths"),
    ("Working directory", "baseten-the-working-directory"),
    ("Secrets", "baseten-secrets"),
    ("Runtime environment", "baseten-reserved-variables"),
    ("Platform-injected environment variables", "baseten-injected-variables"),
    ("Base image environment variables", "baseten-inherited-variables"),
    ("Base image requirements", "baseten-the-base"),
    ("Per-request logging", "baseten-request-ids-in-logs"),
    ("No-build deployment", "baseten-images-without-a-build"),
    ("Runtime contract differences", "baseten-ports-and-paths-without-a-build"),
    ("Routing", "baseten-ports-and-paths-without-a-build"),
    ("Constraints", "baseten-limits-without-a-build"),
    ("Pass configuration as environment variables", "baseten-limits-without-a-build"),
    ("Next steps", "baseten-private-registries"),
];

/// Cerebrium: Defining Container Images.
pub(super) const CEREBRIUM: &[Covered] = &[
    ("Defining Container Images", "cerebrium-cerebriumtoml"),
    ("Introduction", "cerebrium-cerebriumtoml"),
    ("Why TOML?", "cerebrium-cerebriumtoml"),
    ("Getting Started", "cerebrium-cerebriumtoml"),
    ("Hardware Configuration", "cerebrium-hardware"),
    ("Dependency management", "cerebrium-python-packages"),
    ("Selecting a Python Version", "cerebrium-python-versions"),
    ("Adding Python Packages", "cerebrium-python-packages"),
    ("Adding APT Packages", "cerebrium-system-packages"),
    ("Conda Packages", "cerebrium-conda-packages"),
    ("Build Commands", "cerebrium-the-order-of-a-build"),
    ("Pre-build Commands", "cerebrium-commands-before-packages"),
    ("Shell Commands", "cerebrium-commands-after-packages"),
    ("Custom Docker Base Images", "cerebrium-base-images"),
    ("Supported Base Images", "cerebrium-base-images"),
    ("Public Docker Hub Images with Namespaces", "cerebrium-images-on-docker-hub"),
    ("Public AWS ECR Images", "cerebrium-images-on-amazon-ecr"),
    ("Custom Runtimes", "cerebrium-custom-runtimes"),
    ("Basic Configuration", "cerebrium-custom-runtimes"),
    ("Self-Contained Servers", "cerebrium-self-contained-servers"),
    ("Important Notes", "cerebrium-ports-paths-and-packages-of-a-server"),
    ("Deployment process", "cerebrium-the-order-of-a-build"),
    ("Stage 1: App Upload", "cerebrium-the-order-of-a-build"),
    ("Stage 2: Image Creation", "cerebrium-the-order-of-a-build"),
    ("Stage 3: Production Image", "cerebrium-the-order-of-a-build"),
];

/// fal: Use a Custom Container Image.
pub(super) const FAL: &[Covered] = &[
    ("Use a Custom Container Image", "fal-an-app-on-an-image"),
    ("Basic Usage", "fal-an-app-on-an-image"),
    ("fal Platform Requirements", "fal-required-packages"),
    ("COPY and Build Context", "fal-copied-files"),
    ("Supported COPY Patterns", "fal-copied-files"),
    (".dockerignore", "fal-ignored-files"),
    ("Alternative: Upload Large Files to CDN", "fal-large-files"),
    ("Cache Behavior", "fal-caches"),
    ("Build Secrets", "fal-secrets-of-build-steps"),
    ("Build Args", "fal-arguments-of-a-build"),
    ("Using Private Registries", "fal-private-registries"),
    ("ContainerImage Parameters", "fal-the-parameters-of-containerimage"),
    ("build_args", "fal-arguments-of-a-build"),
    ("secrets", "fal-secrets-of-build-steps"),
    ("context_dir", "fal-copied-files"),
    ("dockerignore / dockerignore_path", "fal-ignored-files"),
    ("Pre-Deploy Checklist", "fal-before-a-deployment"),
    ("Next Steps", "fal-before-a-deployment"),
];
