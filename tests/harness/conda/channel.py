"""Writes a conda channel with one package.

usage: channel.py FOLDER NAME VERSION
"""

import hashlib
import io
import json
import os
import sys
import tarfile

folder, name, version = sys.argv[1:]
script = f"#!/bin/sh\necho {name} {version}\n".encode()
index = {
    "name": name,
    "version": version,
    "build": "0",
    "build_number": 0,
    "depends": [],
    "noarch": "generic",
    "subdir": "noarch",
    "platform": None,
    "arch": None,
}
path = f"bin/{name}"
paths = {
    "paths": [
        {"_path": path, "path_type": "hardlink", "sha256": hashlib.sha256(script).hexdigest(), "size_in_bytes": len(script)}
    ],
    "paths_version": 1,
}
archive = io.BytesIO()
with tarfile.open(fileobj=archive, mode="w:bz2") as tar:
    for file, content in [
        ("info/index.json", json.dumps(index).encode()),
        ("info/paths.json", json.dumps(paths).encode()),
        ("info/files", f"{path}\n".encode()),
        (path, script),
    ]:
        entry = tarfile.TarInfo(file)
        entry.size, entry.mode, entry.mtime = len(content), 0o755, 1700000000
        tar.addfile(entry, io.BytesIO(content))
archive = archive.getvalue()
file = f"{name}-{version}-0.tar.bz2"
record = dict(index, md5=hashlib.md5(archive).hexdigest(), sha256=hashlib.sha256(archive).hexdigest(), size=len(archive))
for subdir, packages in [("noarch", {file: record}), ("linux-64", {}), ("linux-aarch64", {})]:
    os.makedirs(os.path.join(folder, subdir))
    repodata = {"info": {"subdir": subdir}, "packages": packages, "packages.conda": {}, "repodata_version": 1}
    with open(os.path.join(folder, subdir, "repodata.json"), "w", encoding="utf-8") as stream:
        json.dump(repodata, stream)
with open(os.path.join(folder, "noarch", file), "wb") as stream:
    stream.write(archive)
print("null")
