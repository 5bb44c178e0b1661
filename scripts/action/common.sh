# What the action's scripts, and those that make what it installs, have in common.
# shellcheck shell=bash

# sha256 FILE…, or sha256 --check --strict FILE: not every macOS has `sha256sum`.
sha256() {
    if command -v sha256sum >/dev/null; then sha256sum "$@"; else shasum -a 256 "$@"; fi
}

# version_of MANIFEST: the version of the package.
version_of() { sed -n 's/^version = "\(.*\)"$/\1/p' "$1" | head -n 1; }
