# shellcheck shell=bash
# Functions for all parts of the test bed: messages, recorded processes, the cache.

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

# fail MESSAGE [HINT]
fail() {
    printf '%s: error: %s\n' "${0##*/}" "$1" >&2
    if [ "$#" -gt 1 ]; then printf '%s: hint: %s\n' "${0##*/}" "$2" >&2; fi
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# Prints the start time of process $1, in clock ticks since boot. Together with the id, it identifies a process.
process_start_time() {
    local stat
    { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
    stat=${stat##*) } # the name before it, in brackets, can contain anything
    # shellcheck disable=SC2086 # splits the fields
    set -- $stat
    printf '%s\n' "${20}"
}

# record_process NAME PID
record_process() {
    printf '%s %s\n' "$2" "$(process_start_time "$2")" >"$BED/$1.pid"
}

# recorded_process NAME: prints its process id, and fails unless the recorded process is still running.
recorded_process() {
    local pid started
    [ -s "$BED/$1.pid" ] || return 1
    read -r pid started <"$BED/$1.pid" || return 1
    [ "$(process_start_time "$pid")" = "$started" ] || return 1
    printf '%s\n' "$pid"
}

# wait_until SECONDS COMMAND…: returns as soon as the command succeeds, and fails after SECONDS.
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.1
    done
}

not() { ! "$@"; }

# stop_process NAME SIGNALLED_PID: sends SIGTERM, and SIGKILL after 20 seconds.
stop_process() {
    local pid
    if pid=$(recorded_process "$1"); then
        kill -TERM "$2" 2>/dev/null || true
        if ! wait_until 20 not recorded_process "$1" >/dev/null; then
            say "$1 does not stop: killing it"
            kill -KILL "$pid" 2>/dev/null || true
            wait_until 5 not recorded_process "$1" >/dev/null || true
        fi
    fi
    rm -f "$BED/$1.pid"
}

show_log() {
    say "the last lines of $1:"
    tail -n 25 "$1" >&2 || true
}

# recipe_key ARGUMENT…: prints a short hash of the arguments.
recipe_key() { printf '%s\0' "$@" | sha256sum | cut -c1-12; }

# lock FD FILE: waits for an exclusive lock. Without flock (macOS) there is none, because the bed's own engine needs Linux.
lock() {
    if have flock; then flock "$1"; fi
}

# cached NAME FUNCTION [ARGUMENT…]: creates the folder CACHE/NAME once for all test beds of this user. FUNCTION FOLDER [ARGUMENT…]
# fills a new folder, which is renamed when it is complete. NAME ends with a recipe_key.
cached() {
    local name=$1 function=$2 part=${1%-*}
    shift 2
    [ ! -d "$CACHE/$name" ] || return 0
    mkdir -p "$CACHE/locks"
    exec 8>"$CACHE/locks/$part"
    lock 8
    if [ ! -d "$CACHE/$name" ]; then
        rm -rf --one-file-system "$CACHE/new-$part"
        mkdir "$CACHE/new-$part"
        "$function" "$CACHE/new-$part" "$@" 8>&- 9>&-
        mv "$CACHE/new-$part" "$CACHE/$name"
    fi
    exec 8>&-
}
