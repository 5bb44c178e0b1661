# What the action's scripts, and those that make what it installs, have in common.
# shellcheck shell=bash

# version_of MANIFEST: the version of the package.
version_of() { sed -n 's/^version = "\(.*\)"$/\1/p' "$1" | head -n 1; }
