"""Checks the content of an image from within a container.

usage: python check.py PYTHON JOB_TYPE [--reload] [--cuda LIBRARY…]

PYTHON is a version such as 3.11. LIBRARY is the file name of a library, such as libcudart.so.12.
Prints the checked properties, and fails at the first difference.
"""

import argparse
import ctypes
import importlib
import os
import pathlib
import pwd
import queue
import subprocess
import sys
import tempfile
import threading

COMMON = [
    "boto3",
    "google.cloud.storage",
    "google.protobuf",
    "httpx",
    "loguru",
    "psutil",
    "pydantic",
    "pythonjsonlogger",
    "requests",
    "tenacity",
    "yaml",
]
MODULES = {
    "server": [
        *COMMON,
        "fastapi",
        "httptools",
        "msgpack",
        "msgpack_numpy",
        "numpy",
        "opentelemetry.exporter.otlp.proto.http",
        "opentelemetry.sdk",
        "orjson",
        "uvicorn",
        "uvloop",
        "websockets",
    ],
    "training": [*COMMON, "tqdm"],
}
SECONDS = 30


def check_python(wanted):
    found = "%d.%d" % sys.version_info[:2]
    assert found == wanted, f"python is {found}, not {wanted}"
    assert os.environ["PYTHONUNBUFFERED"] == "1"


def check_user_is_free():
    for user in pwd.getpwall():
        assert user.pw_uid != 60000 and user.pw_name != "app", user


def check_modules(job_type):
    for module in MODULES[job_type]:
        importlib.import_module(module)


def check_cuda(libraries):
    assert "LD_LIBRARY_PATH" not in os.environ
    for library in libraries:
        ctypes.CDLL(library)
    if libraries:
        version = ctypes.c_int()
        assert ctypes.CDLL("libcudart.so.12").cudaRuntimeGetVersion(ctypes.byref(version)) == 0
        assert version.value == 12080, version.value
    else:
        assert not pathlib.Path("/usr/local/cuda").exists()


def check_reload(is_wanted):
    """Checks that a changed file restarts the server."""
    serve = pathlib.Path("/opt/live-reload/serve")
    assert serve.exists() == is_wanted, serve
    if not is_wanted:
        return
    with tempfile.TemporaryDirectory() as folder:
        code = pathlib.Path(folder, "server.py")
        code.write_text("import time\nprint('first')\ntime.sleep(600)\n")
        command = [str(serve), "--watch", folder, "--", "python", str(code)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            lines = queue.Queue()
            threading.Thread(target=lambda: [lines.put(line) for line in server.stdout]).start()
            try:
                assert lines.get(timeout=SECONDS) == "first\n"
                code.write_text("import time\nprint('second')\ntime.sleep(600)\n")
                assert lines.get(timeout=SECONDS) == "second\n"
            finally:
                server.terminate()
                server.wait(SECONDS)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("python")
    parser.add_argument("job_type", choices=sorted(MODULES))
    parser.add_argument("--reload", action="store_true")
    parser.add_argument("--cuda", nargs="*", default=[])
    wanted = parser.parse_args()
    check_python(wanted.python)
    check_user_is_free()
    check_modules(wanted.job_type)
    check_cuda(wanted.cuda)
    check_reload(wanted.reload)
    parts = [f"Python {wanted.python}", f"{len(MODULES[wanted.job_type])} modules import"]
    if wanted.cuda:
        parts.append(f"{len(wanted.cuda)} CUDA libraries load")
    if wanted.reload:
        parts.append("live reload restarts a server")
    print(", ".join(parts))


main()
