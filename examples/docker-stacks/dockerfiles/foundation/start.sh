#!/bin/bash
# Runs the hooks that images have added, and then the command.
set -e
for hook in /usr/local/bin/before-notebook.d/*; do
    # shellcheck disable=SC1090
    [ ! -r "$hook" ] || . "$hook"
done
exec "$@"
