"""Facts about a CUDA library that are known without a GPU: its size, and the GPUs that it has kernels for.

Kernels are in fat binaries, which have a module for each GPU architecture: machine code (`sm`) or PTX (`ptx`), which
the driver compiles. They are not in the section `.nv_fatbin` alone: cuFFT has its kernels in a data section of its own.
So `read` looks for them in whole files.
"""

import mmap
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# A header: the magic number, the version 1 and its own size, all followed by the size of the modules.
FATBIN = struct.pack("<IHH", 0xBA55ED50, 1, 16)
FATBIN_SIZE = struct.Struct("<8xQ")
# A module: kind, version, sizes of the header and of the code, size without padding, …, architecture, flags.
MODULE = struct.Struct("<HHIQIIHHI8xQ")
KINDS = {1: "ptx", 2: "sm"}
# Code for one architecture alone, such as 90a, or for its family, such as 100f.
SUFFIXES = {0x100000: "a", 0x200000: "f"}
# A source file without kernels has a module too. In CUDA 12.8 these have up to 872 bytes, and others more than 1,000.
EMPTY = 1000


def left_out(path: Path) -> list[str]:
    """Read the patterns of a list, without its comments."""
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return [line for line in lines if line]


def libraries(wheel: Path, patterns: list[str]) -> list[Path]:
    """List the files of an installed wheel that images have in lib64."""
    files = (file for file in wheel.glob("nvidia/*/lib/*") if file.is_file() and file.name != "__init__.py")
    return sorted(file for file in files if not any(file.match(pattern) for pattern in patterns))


def headers(wheel: Path) -> list[Path]:
    """List the files of an installed wheel that images have in include."""
    return sorted(file for file in wheel.glob("nvidia/*/include/**/*") if file.is_file() and file.suffix != ".py")


def modules(file: Path) -> Iterator[tuple[str, str]]:
    """List the kind and the architecture of each module of a file that has kernels."""
    if file.stat().st_size == 0:
        return
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = content.find(FATBIN)
        while start >= 0:
            (size,) = FATBIN_SIZE.unpack_from(content, start)
            module, end = start + len(FATBIN) + 8, start + len(FATBIN) + 8 + size
            while module < end <= len(content):
                kind, _, header, code, _, _, _, _, architecture, flags = MODULE.unpack_from(content, module)
                if header < MODULE.size:
                    raise SystemExit(f"{file} has a fat binary in an unknown format")
                if kind in KINDS and code > EMPTY:
                    suffix = next((suffix for bit, suffix in SUFFIXES.items() if flags & bit), "")
                    yield KINDS[kind], f"{architecture}{suffix}"
                module += header + code
            start = content.find(FATBIN, max(module, start + 1))


def read(wheel: Path, patterns: list[str]) -> dict[str, Any]:
    """Read the facts of an installed wheel, without the files that match the patterns and without empty lists."""
    files = libraries(wheel, patterns)
    found = {module for file in files for module in modules(file)}

    def architectures(kind: str) -> list[str]:
        return sorted((name for other, name in found if other == kind), key=lambda name: (len(name.rstrip("af")), name))

    size = sum(file.stat().st_size for file in [*files, *headers(wheel)])
    lists = {kind: architectures(kind) for kind in ("sm", "ptx")}
    return {"size": size, **{kind: names for kind, names in lists.items() if names}}


def cuda_version(wheel: Path) -> str | None:
    """Read the CUDA version of the runtime library's header. Other wheels have none."""
    for header in wheel.glob("nvidia/*/include/cuda_runtime_api.h"):
        version = re.search(r"#define CUDART_VERSION +(\d+)", header.read_text())
        if version:
            return f"{int(version[1]) // 1000}.{int(version[1]) % 1000 // 10}"
    return None


def write(version: str, cuda: str | None, platforms: dict[str, dict[str, Any]]) -> str:
    """Format the facts of a library as TOML. Machine code needs a driver of the same major version."""

    def array(names: list[str]) -> str:
        return "[" + ", ".join(f'"{name}"' for name in names) + "]"

    lines = [
        "# Written by refresh-pins, and compared with the wheel whenever it is unpacked.",
        f'version = "{version}"',
    ]
    if cuda:
        lines += [f'cuda = "{cuda}"', f'driver = "{cuda.partition(".")[0]}.0"']
    for platform, facts in platforms.items():
        lines += ["", f'["{platform}"]', f"size = {facts['size']}"]
        lines += [f"{kind} = {array(facts[kind])}" for kind in ("sm", "ptx") if kind in facts]
    return "\n".join(lines) + "\n"
