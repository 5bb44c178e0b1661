# shellcheck shell=bash
# The engine: the machine's own if it is suitable, or Debian's Docker Engine in a root file system of its own.

ENGINE_PACKAGES="docker.io docker-cli docker-buildx iptables iproute2 ca-certificates"
SOCKET=$BED/engine/docker.sock

# Sets ENGINE to "machine" or the Debian suite whose packages the engine runs, and STORE to "containerd" or "graphdriver". A running bed
# keeps both.
choose_engine() {
    local current="" store=""
    case $STORE in
        '' | containerd | graphdriver) ;;
        *) fail "no such store: \`$STORE\`" "containerd or graphdriver" ;;
    esac
    if [ -s "$BED/engine.name" ]; then read -r current store <"$BED/engine.name"; fi
    if recorded_process engine >/dev/null; then
        if [ "$ENGINE" != auto ] && [ "$ENGINE" != "$current" ]; then
            fail "this test bed is running with the engine \`$current\`" "stop it first, or set another folder in BASEGEN_TESTBED_DIR"
        fi
        if [ -n "$STORE" ] && [ "$STORE" != "$store" ]; then
            fail "the engine of this test bed is running with the store \`$store\`" "stop it first, or set another folder in BASEGEN_TESTBED_DIR"
        fi
        ENGINE=$current STORE=$store
    elif [ "$ENGINE" = auto ]; then
        if machine_engine_is_suitable; then ENGINE=machine; else ENGINE=trixie; fi
    fi
    case $ENGINE in
        machine)
            unset SOCKET
            store=$(machine_engine_store)
            [ "${STORE:-$store}" = "$store" ] || fail "the Docker Engine of this machine has the store \`$store\`, not \`$STORE\`"
            STORE=$store
            ;;
        trixie | sid) STORE=${STORE:-containerd} ;;
        *) fail "no such engine: \`$ENGINE\`" "auto, machine, trixie or sid" ;;
    esac
}

# Succeeds if the machine has Docker 23 or newer that reaches the real upstream image.
machine_engine_is_suitable() {
    have docker || return 1
    local version
    version=$(timeout 10 docker version --format '{{.Server.Version}}' 2>/dev/null) || return 1
    case ${version%%.*} in '' | *[!0-9]*) return 1 ;; esac
    if [ "${version%%.*}" -lt 23 ]; then
        say "the Docker Engine of this machine is $version, older than 23: it is not used"
        return 1
    fi
    if [ -n "$STORE" ] && [ "$(machine_engine_store)" != "$STORE" ]; then
        say "the Docker Engine of this machine does not have the store $STORE: it is not used"
        return 1
    fi
    if ! machine_engine_finds python:3.11-slim-bookworm; then
        say "this machine has a Docker Engine $version but does not reach the upstream images: using substitutes"
        return 1
    fi
}

# Prints the image store of the machine's engine. Only snapshotters of containerd have a driver type.
machine_engine_store() {
    if timeout 10 docker info --format '{{.DriverStatus}}' 2>/dev/null | grep -q driver-type; then
        printf 'containerd\n'
    else
        printf 'graphdriver\n'
    fi
}

# Succeeds if the engine, or its mirror, has an image. A build with only this FROM downloads no layers.
machine_engine_finds() {
    if docker buildx version >/dev/null 2>&1; then
        printf 'FROM %s\n' "$1" | timeout 60 docker buildx build --quiet --output type=cacheonly - >/dev/null 2>&1
    else
        timeout 180 docker pull --quiet "$1" >/dev/null 2>&1
    fi
}

# machine_engine_runs ARCHITECTURE: succeeds if the machine's engine runs programs of this architecture.
machine_engine_runs() {
    docker buildx version >/dev/null 2>&1 &&
        printf 'FROM python:3.11-slim-bookworm\nRUN true\n' |
        timeout 300 docker buildx build --platform "linux/$1" --quiet --no-cache --output type=cacheonly - >/dev/null 2>&1
}

engine_curl() { curl --silent --fail --max-time 5 --unix-socket "$SOCKET" --noproxy '*' "http://engine$1"; }

engine_answers() { engine_curl /_ping >/dev/null 2>&1; }

engine_is_up() {
    if [ "$ENGINE" = machine ]; then
        timeout 10 docker version --format '{{.Server.Version}}' >/dev/null 2>&1
    else
        recorded_process engine >/dev/null && engine_answers
    fi
}

# Fails before anything is started if this machine cannot run the test bed's own engine.
require_own_engine() {
    local hint="start a Docker Engine (23 or newer) that reaches Docker Hub"
    [ "$(uname)" = Linux ] || fail "only Linux can run the test bed's own engine" "$hint"
    require_root "running a Docker Engine" "run this as root on Debian or Ubuntu, or $hint"
}

engine_rootfs() { printf '%s\n' "$CACHE/engine-$ENGINE-$(recipe_key 1 "$ENGINE_PACKAGES" "$(uname -m)")"; }

engine_up() {
    if engine_is_up; then
        printf '%s %s\n' "$ENGINE" "$STORE" >"$BED/engine.name"
        return 0
    fi
    [ "$ENGINE" != machine ] || fail "the Docker Engine of this machine does not answer"
    engine_down # removes the remains of a killed engine
    local rootfs data=$BED/engine-data-$ENGINE-$STORE
    rootfs=$(engine_rootfs)
    # shellcheck disable=SC2086 # one argument a package
    cached "${rootfs##*/}" debian_rootfs "$ENGINE" "$(own_architecture)" $ENGINE_PACKAGES
    engine_tools "$rootfs"
    mkdir -p "$BED/engine" "$data" "$BED/engine-root"
    printf '%s %s\n' "$ENGINE" "$STORE" >"$BED/engine.name"
    setsid unshare --mount --propagation private --pid --fork --kill-child \
        "$HERE/engine-enter" "$rootfs" "$BED" "$data" "$REGISTRY" "$(bed_number)" "$STORE" \
        </dev/null >"$BED/engine.log" 2>&1 7>&- 8>&- 9>&- &
    record_process engine "$!"
    if ! wait_until 60 engine_started_or_ended || ! engine_is_up; then
        show_log "$BED/engine.log"
        engine_down
        fail "the engine did not start; its log is $BED/engine.log" "\`testbed clean\` deletes the remains of earlier runs"
    fi
    record_started engine
    say "the engine is running: Docker $(engine_curl /version | grep -o '"Version":"[^"]*"' | head -n 1 | cut -d'"' -f4), $STORE store, on $SOCKET"
}

engine_started_or_ended() { engine_answers || ! recorded_process engine >/dev/null; }

# Prints the number from 1 to 250 of this bed's bridge, network and control group: the first free one, starting from a hash of
# the bed's folder.
bed_number() {
    local number offset sum
    if [ ! -s "$BED/number" ]; then
        sum=$(printf '%s' "$BED" | cksum | cut -d' ' -f1)
        for offset in {0..249}; do
            number=$(((sum + offset) % 250 + 1))
            if [ ! -d "/sys/class/net/basegen$number" ]; then break; fi
        done
        printf '%s\n' "$number" >"$BED/number"
    fi
    printf '%s\n' "$(<"$BED/number")"
}

# Creates scripts that run the engine's client and buildx outside of its root file system, with their own libraries.
engine_tools() {
    local rootfs=$1 loader
    loader=$(find "$rootfs"/lib64/ "$rootfs"/lib/ -maxdepth 1 -name 'ld-linux*.so.*' -print -quit 2>/dev/null)
    mkdir -p "$BED/bin" "$BED/docker-config/cli-plugins"
    engine_tool "$rootfs" "$loader" /usr/bin/docker "$BED/bin/docker"
    engine_tool "$rootfs" "$loader" /usr/libexec/docker/cli-plugins/docker-buildx "$BED/bin/docker-buildx"
    ln -sf "$BED/bin/docker-buildx" "$BED/docker-config/cli-plugins/docker-buildx"
}

engine_tool() {
    local rootfs=$1 loader=$2 program=$3 wrapper=$4
    cat >"$wrapper" <<-EOT
		#!/bin/sh
		exec "$loader" --library-path "$(echo "$rootfs"/usr/lib/*-linux-gnu)" --argv0 "\$0" "$rootfs$program" "\$@"
	EOT
    chmod +x "$wrapper"
}

engine_down() {
    local pid child=""
    if pid=$(recorded_process engine); then
        # The recorded process only keeps the namespaces. Its child, their first process, handles signals.
        read -r child _ <"/proc/$pid/task/$pid/children" || true
        stop_process engine "${child:-$pid}"
    fi
    rm -f "$BED/engine.pid" "$BED/engine.name" "$BED/engine/docker.sock"
    engine_remove_leftovers
}

# Deletes the bridge, its rules and the empty control groups of a killed engine. Everything else ended with its namespaces.
engine_remove_leftovers() {
    local number bridge rootfs
    number=$(bed_number)
    bridge=basegen$number
    if [ -d "/sys/class/net/$bridge" ]; then
        rootfs=$(find "$CACHE" -maxdepth 1 -name 'engine-*' -print -quit)
        unshare --mount --propagation private "$HERE/engine-enter" "$rootfs" "$BED" "" "" "$number" "" || true
    fi
    find /sys/fs/cgroup -depth -type d -path "*/basegen-testbed-$number*" -exec rmdir {} + 2>/dev/null || true
}
