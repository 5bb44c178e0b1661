# Functions for the action's scripts and for scripts/pack.
# shellcheck shell=bash

# version_of MANIFEST: prints the version of the package.
version_of() { sed -n 's/^version = "\(.*\)"$/\1/p' "$1" | head -n 1; }
