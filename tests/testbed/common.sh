# shellcheck shell=bash
# What every part of the test bed uses: messages, recorded processes, the cache.

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

# fail MESSAGE [HINT]
fail() {
    printf '%s: error: %s\n' "${0##*/}" "$1" >&2
    if [ "$#" -gt 1 ]; then printf '%s: hint: %s\n' "${0##*/}" "$2" >&2; fi
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# When process $1 was started, in clock ticks since boot: with the id, this names a process for good.
process_start_time() {
    local stat
    { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
    stat=${stat##*) } # the name before it, in brackets, may hold anything
    # shellcheck disable=SC2086 # the fields are to be split
    set -- $stat
    printf '%s\n' "${20}"
}

# record_process NAME PID
record_process() {
    printf '%s %s\n' "$2" "$(process_start_time "$2")" >"$BED/$1.pid"
}

# Prints the process id of NAME, and fails unless that id is still the process which was recorded.
recorded_process() {
    local pid started
    [ -s "$BED/$1.pid" ] || return 1
    read -r pid started <"$BED/$1.pid" || return 1
    [ "$(process_start_time "$pid")" = "$started" ] || return 1
    printf '%s\n' "$pid"
}

# wait_until SECONDS COMMAND…: true as soon as the command succeeds.
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.1
    done
}

not() { ! "$@"; }

# stop_process NAME SIGNALLED_PID: asks it to end, and ends it by force after 20 seconds.
stop_process() {
    local pid
    if pid=$(recorded_process "$1"); then
        kill -TERM "$2" 2>/dev/null || true
        if ! wait_until 20 not recorded_process "$1" >/dev/null; then
            say "$1 does not end when asked to: killing it"
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

# A short name for the recipe that its arguments are.
recipe_key() { printf '%s\0' "$@" | sha256sum | cut -c1-12; }

# lock FD FILE: serialises what follows with other test beds. Where flock is missing (macOS) nothing of Debian runs either.
lock() {
    if have flock; then flock "$1"; fi
}

# cached NAME FUNCTION [ARGUMENT…]: makes the folder CACHE/NAME, once for all test beds of this user: FUNCTION FOLDER [ARGUMENT…]
# fills a new folder, which gets its name only when it is complete. NAME ends with the key of its recipe.
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
