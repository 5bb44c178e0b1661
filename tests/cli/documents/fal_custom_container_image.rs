//! fal: Use a Custom Container Image.

use super::broken_rules;
use crate::harness::project::{init_repository, output, stdout};
use crate::init::{Import, files_below};

/// The files beside an app.
const FILES: [(&str, &str); 9] = [
    (".env", "TOKEN=value\n"),
    ("config/a.json", "{}\n"),
    ("data/large.bin", "data\n"),
    ("docker/.dockerignore", "src/\n"),
    ("file1.py", "print(1)\n"),
    ("file2.py", "print(2)\n"),
    ("module.pyc", "compiled\n"),
    ("requirements.txt", "six==1.17.0\n"),
    ("src/model.py", "print('model')\n"),
];

/// An app with this text after the imports, and the files.
fn app(text: &str) -> Import {
    let import = Import::new(&FILES);
    let imports =
        "import fal\nfrom fal.container import ContainerImage\nfrom pathlib import Path\n";
    import.write("app/app.py", &format!("{imports}\n{text}"));
    import
}

/// An app whose image has this Dockerfile, and other parameters.
fn image(dockerfile: &str, parameters: &str) -> Import {
    app(&format!(
        "dockerfile_str = \"\"\"\n{dockerfile}\"\"\"\n\nclass MyApp(fal.App):\n    \
         image = ContainerImage.from_dockerfile_str(dockerfile_str{parameters})\n"
    ))
}

/// A Dockerfile, and the files.
fn dockerfile(text: &str) -> Import {
    let import = Import::new(&FILES);
    import.write("app/Dockerfile", text);
    import
}

/// Imports the app, and returns that and the files of the rendered build context.
fn with_context(import: &Import) -> String {
    let imported = import.imported("app.py");
    stdout(import.command("render -f new/matrix.toml -o rendered"));
    let files = files_below(import.folder(), "rendered").join("\n");
    format!("{imported}\n##### context\n{files}\n")
}

const COPIES: &str = "FROM python:3.11\nWORKDIR /app\nCOPY . .\n";

#[test]
fn basic_usage() {
    insta::assert_snapshot!(
        app(r#"
from fal.toolkit import Image, optimize
from pydantic import BaseModel, Field

dockerfile_str = """
FROM pytorch/pytorch:2.8.0-cuda12.8-cudnn9-runtime
RUN apt-get update && apt-get install -y ffmpeg curl && rm -rf /var/lib/apt/lists/*
RUN pip install --no-cache-dir diffusers==0.35.1
"""

class Question(BaseModel):
    text: str = Field(description="What to answer.")

class Painter(fal.App):
    machine_type = "GPU-A100"
    image = ContainerImage.from_dockerfile_str(dockerfile_str)

    def setup(self):
        import torch

        self.kind = torch.float16

    @fal.endpoint("/")
    def answer(self, question: Question) -> dict:
        return {"answer": f"{question.text}"}
"#)
        .imported("app.py")
    );
}

#[test]
fn fal_platform_requirements() {
    let import = dockerfile(
        "FROM pytorch/pytorch:2.8.0-cuda12.8-cudnn9-runtime\n\n\
         RUN apt-get update && apt-get install -y curl && rm -rf /var/lib/apt/lists/*\n\n\
         # The packages of the app\nRUN pip install --no-cache-dir transformers==4.57.1\n\n\
         # Last: the versions that fal accepts\nRUN pip install --no-cache-dir fal==1.83.0\n",
    );
    insta::assert_snapshot!(import.imported("Dockerfile"));
    assert_eq!(broken_rules("fal", "base = \"python:3.11-slim\""), ["fal/curl"]);
    assert!(broken_rules("fal", "base = \"python:3.11-slim\"\napt = [\"curl=8.*\"]").is_empty());
}

#[test]
fn copy_and_build_context() {
    let text = "FROM python:3.11\nWORKDIR /app\nCOPY requirements.txt .\nRUN pip install -r requirements.txt\n\
                COPY src/ ./src/\n";
    insta::assert_snapshot!("working_folder", image(text, "").imported("app.py"));
    let import = image(text, ", context_dir=Path(__file__).parent / \"docker_context\"");
    import.write("app/docker_context/requirements.txt", "idna==3.10\n");
    import.write("app/docker_context/src/other.py", "\n");
    insta::assert_snapshot!("other_folder", import.imported("app.py"));
}

#[test]
fn supported_copy_patterns() {
    let import = dockerfile(
        "FROM python:3.11\nWORKDIR /app\nCOPY . .\nCOPY requirements.txt .\nCOPY src/ ./src/\nCOPY *.py /app/\n\
         COPY config/*.json /app/config/\nCOPY file1.py file2.py /app/\n",
    );
    insta::assert_snapshot!(import.imported("Dockerfile"));
}

#[test]
fn dockerignore() {
    let inline = image(
        COPIES,
        ", dockerignore=[\n    \".git\", \"*.pyc\", \"__pycache__\", \".env\", \"data/\"\n]",
    );
    insta::assert_snapshot!("inline", with_context(&inline));
    let file = image(COPIES, ",\n    dockerignore_path=\".dockerignore\"\n");
    file.write("app/.dockerignore", "*.pyc\nconfig/\n");
    insta::assert_snapshot!("file", with_context(&file));
    let methods = app(&format!(
        "image = ContainerImage.from_dockerfile_str(\"\"\"\n{COPIES}\"\"\")\n\
         image.add_dockerignore(patterns=[\".git\", \"*.pyc\", \".env\"])\n\
         image.add_dockerignore(path=\"docker/.dockerignore\")\n\n\
         class MyApp(fal.App):\n    image = image\n"
    ));
    insta::assert_snapshot!("methods", with_context(&methods));
    // Without any, defaults leave out what developers have beside an app.
    let defaults = image(COPIES, "");
    insta::assert_snapshot!("defaults", with_context(&defaults));
}

#[test]
fn alternative_upload_large_files_to_cdn() {
    // The address is known only when the app runs.
    let import = app(
        "from fal.toolkit import File\n\njson_url = File.from_path(\"my-file.json\", repository=\"cdn\").url\n\n\
         dockerfile_str = f\"\"\"\nFROM python:3.11-slim\nRUN curl '{json_url}' > my-file.json\n\"\"\"\n\n\
         class MyApp(fal.App):\n    image = ContainerImage.from_dockerfile_str(dockerfile_str)\n",
    );
    insta::assert_snapshot!("computed", output(import.command("init new --from app/app.py")));
    // A known one is part of the Dockerfile.
    let text = "FROM python:3.11-slim\nADD https://downloads.example.com/requirements.txt /app/requirements.txt\n\
                WORKDIR /app\nRUN pip install -r requirements.txt\n";
    insta::assert_snapshot!("literal", image(text, "").imported("app.py"));
}

/// The Dockerfile and the copied files decide, and not the app.
#[test]
fn cache_behavior() {
    let import = image("FROM python:3.11\nCOPY src/ /app/src/\n", "");
    import.init("app.py");
    init_repository(import.folder());
    let changed = || stdout(import.command("plan --since HEAD -f new/matrix.toml"));
    import.write("app/app.py", "import fal\n");
    insta::assert_snapshot!("changed_app", changed());
    import.write("new/contexts/my-app/src/model.py", "print('other')\n");
    insta::assert_snapshot!("changed_file", changed());
    let help = stdout(import.command("--help"));
    assert!(help.contains("--no-cache"), "{help}");
}

/// An app whose class contains the Dockerfile, indented as its code.
fn indented(dockerfile: &str, parameters: &str) -> Import {
    let lines = dockerfile.lines().map(|line| format!("        {line}\n")).collect::<String>();
    app(&format!(
        "class MyApp(fal.App):\n    image = ContainerImage.from_dockerfile_str(\"\"\"\n{lines}    \"\"\", {parameters})\n"
    ))
}

#[test]
fn build_secrets() {
    let import = indented(
        "FROM python:3.11\nRUN --mount=type=secret,id=pip_token \\\\\n    pip install --extra-index-url \\\\\n    \
         https://$(cat /run/secrets/pip_token)@packages.example.com/simple \\\\\n    acme-tools==2.1.0\n",
        "secrets={\"pip_token\": \"$MY_PIP_TOKEN\"}",
    );
    insta::assert_snapshot!(import.imported("app.py"));
    let import = indented("FROM python:3.11\n", "secrets={\"pip_token\": \"sekret\"}");
    insta::assert_snapshot!("secret_value", import.imported("app.py"));
}

#[test]
fn build_args() {
    let import = indented(
        "ARG PY_VERSION=3.11\nFROM python:${PY_VERSION}-slim\nARG EXTRA_INDEX_URL\n\
         RUN pip install --no-cache-dir --extra-index-url ${EXTRA_INDEX_URL} acme-tools==2.1.0\n",
        "build_args={\n        \"PY_VERSION\": \"3.11\",\n        \
         \"EXTRA_INDEX_URL\": \"https://packages.example.com/simple\",\n    }",
    );
    insta::assert_snapshot!("python", import.imported("app.py"));
    let import = indented(
        "ARG CUDA_VERSION=12.1\nFROM nvidia/cuda:${CUDA_VERSION}-runtime-ubuntu22.04\nRUN pip install torch==2.8.0\n",
        "build_args={\"CUDA_VERSION\": \"12.4\"}",
    );
    insta::assert_snapshot!("cuda", import.imported("app.py"));
}

#[test]
fn containerimage_parameters() {
    let import = app(
        "class MyApp(fal.App):\n    image = ContainerImage.from_dockerfile(\n        \"docker/Dockerfile\",\n        \
         build_args={\"PYTHON\": \"3.11\"},\n        secrets={\"token\": \"$TOKEN\"},\n        \
         registries={\"ghcr.io\": {\"username\": \"acme\", \"password\": \"$GHCR_TOKEN\"}},\n        \
         context_dir=\"project\",\n        dockerignore=[\"*.pyc\"],\n        compression=\"zstd\",\n        \
         force_compression=True,\n    )\n",
    );
    import.write(
        "app/docker/Dockerfile",
        "ARG PYTHON\nFROM python:${PYTHON}-slim\nRUN --mount=type=secret,id=token true\nCOPY . /app/\n",
    );
    import.write("app/project/main.py", "print('main')\n");
    import.write("app/project/main.pyc", "compiled\n");
    insta::assert_snapshot!(with_context(&import));
}

#[test]
fn context_dir() {
    let import = app(
        "image = ContainerImage.from_dockerfile(\"docker/Dockerfile\",\n    context_dir=\"./my-project\"\n)\n\n\
         class MyApp(fal.App):\n    image = image\n",
    );
    import.write("app/docker/Dockerfile", "FROM python:3.11\nCOPY main.py /app/\n");
    import.write("app/my-project/main.py", "print('main')\n");
    insta::assert_snapshot!(import.imported("app.py"));
}

#[test]
fn dockerignore_dockerignore_path() {
    // Both at once are one list.
    let import =
        image(COPIES, ", dockerignore=[\"*.pyc\"], dockerignore_path=\"docker/.dockerignore\"");
    insta::assert_snapshot!(with_context(&import));
}

#[test]
fn pre_deploy_checklist() {
    let image =
        |packages: &str| broken_rules("fal", &format!("base = \"python:3.11-slim\"\n{packages}"));
    let rules = image("apt = [\"curl\"]\npip = [\"numpy\"]");
    assert_eq!(rules, ["lint/pinned-packages", "lint/pinned-system-packages"]);
    assert_eq!(image("pip = [\"numpy==2.3.4\"]"), ["fal/curl"]);
    assert!(image("apt = [\"curl=8.*\"]\npip = [\"fal==1.83.0\"]").is_empty());
}
