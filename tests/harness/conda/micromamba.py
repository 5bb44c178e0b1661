"""A substitute for micromamba, which no package registry has: its command line, with the solver and installer of rattler.

usage: micromamba create|install --prefix FOLDER [--channel CHANNEL]... [--file ENVIRONMENT]... PACKAGE...
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
import zipfile


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["create", "install"])
    for flag in ["--yes", "--no-rc", "--no-pyc", "--override-channels"]:
        parser.add_argument(flag, action="store_true", required=flag != "--override-channels")
    parser.add_argument("--root-prefix", required=True)
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--channel", action="append", default=[])
    parser.add_argument("--file", action="append", default=[])
    parser.add_argument("packages", nargs="*")
    return parser.parse_intermixed_args()


def environment_file(path):
    """Returns the channels and packages of an environment file. Parses only the YAML that the tests write."""
    lists = {}
    for line in open(path, encoding="utf-8").read().splitlines():
        if line.startswith("  - "):
            lists[key].append(line[4:].strip())
        elif ":" in line:
            key = line.split(":")[0]
            lists[key] = []
    return lists.get("channels", []), lists.get("dependencies", [])


async def main(options):
    from rattler import Channel, install, solve

    channels, packages = list(options.channel), list(options.packages)
    for path in options.file:
        more = environment_file(path)
        channels.extend(more[0])
        packages.extend(more[1])
    if os.path.isdir(os.path.join(options.prefix, "conda-meta")) != (options.command == "install"):
        sys.exit(f"cannot {options.command} {options.prefix}")
    records = await solve([Channel(channel) for channel in channels], packages)
    await install(records, options.prefix, cache_dir=os.environ["CONDA_PKGS_DIRS"], show_progress=False)
    with open(os.path.join(options.prefix, "conda-meta", "history"), "a", encoding="utf-8") as history:
        history.write(time.strftime("==> %Y-%m-%d %H:%M:%S <==\n"))
        history.writelines(f"# update specs: {package}\n" for package in packages)


# Python cannot load rattler's shared library from the archive. The build step's /tmp is not part of the image.
folder = tempfile.mkdtemp()
zipfile.ZipFile(sys.argv[0]).extractall(folder)
sys.path.insert(0, folder)
asyncio.run(main(arguments()))
# Skips the interpreter's shutdown: rattler's threads may outlive it.
os._exit(0)
