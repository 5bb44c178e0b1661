# Tools that scripts need: installed once, into the user's cache folder.
# shellcheck shell=bash

TOOLS=${XDG_CACHE_HOME:-$HOME/.cache}/basegen/tools

# pypi_environment PACKAGE==VERSION…: prints the folder of a Python environment with these packages.
pypi_environment() {
    local name="$*" folder
    folder=$TOOLS/${name// /+}
    if [ ! -e "$folder/complete" ]; then
        say "installing $* (once)"
        rm -rf "$folder"
        require_tool python3 python3
        python3 -c 'import venv, ensurepip' 2>/dev/null || apt_install python3-venv
        python3 -m venv "$folder"
        "$folder/bin/pip" install --quiet --disable-pip-version-check "$@" >&2
        touch "$folder/complete"
    fi
    printf '%s\n' "$folder"
}

# pypi_tool COMMAND PACKAGE==VERSION: prints the path of COMMAND, and installs it first if it is missing.
pypi_tool() {
    local folder
    if command -v "$1"; then return 0; fi
    folder=$(pypi_environment "$2")
    printf '%s\n' "$folder/bin/$1"
}
