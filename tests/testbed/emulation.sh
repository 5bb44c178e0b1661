# shellcheck shell=bash
# arm64 programs on another machine: the kernel runs them with QEMU (binfmt_misc), also in containers.

BINFMT=/proc/sys/fs/binfmt_misc

# The first bytes of arm64 programs, with a mask: a little-endian ELF file, executable or shared.
ARM64_PROGRAMS='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
ARM64_MASK='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'

# Prints the architecture of this machine, as Debian and Docker name it.
own_architecture() {
    case $(uname -m) in
        x86_64) echo amd64 ;;
        aarch64 | arm64) echo arm64 ;;
        *) dpkg --print-architecture ;;
    esac
}

# Fails unless this machine can emulate arm64 programs. Mounts binfmt_misc.
require_emulation() {
    [ "$(own_architecture)" != arm64 ] || fail "this machine is arm64: there is nothing to emulate" "run the other tests"
    if [ "$ENGINE" = machine ]; then
        machine_engine_runs arm64 || fail "the Docker Engine of this machine does not run arm64 programs" \
            "run \`docker run --privileged --rm tonistiigi/binfmt --install arm64\`"
        return 0
    fi
    require_root "emulating arm64" "run this as root"
    [ -w "$BINFMT/register" ] || mount -t binfmt_misc none "$BINFMT" 2>/dev/null ||
        fail "this machine cannot emulate arm64: it does not allow binfmt_misc to be mounted"
}

# Lets the kernel run arm64 programs until emulation_down. The entry has a random name, so that beds do not affect each other or a
# machine that emulates arm64 anyway.
emulation_up() {
    require_emulation
    if [ -s "$BED/emulated" ] && { [ "$ENGINE" = machine ] || [ -e "$BINFMT/$(<"$BED/emulated")" ]; }; then return 0; fi
    local folder entry
    entry=basegen-arm64-$(</proc/sys/kernel/random/uuid)
    printf '%s\n' "$entry" >"$BED/emulated"
    record_started emulation
    [ "$ENGINE" != machine ] || return 0
    folder=qemu-arm64-$(recipe_key 1 "$(uname -m)")
    cached "$folder" qemu_fetch
    # F: the kernel opens QEMU now, so containers do not need the file. P: programs see the name that they were called by.
    printf ':%s:M::%s:%s:%s:OPF' "$entry" "$ARM64_PROGRAMS" "$ARM64_MASK" "$CACHE/$folder/qemu-aarch64" >"$BINFMT/register" ||
        fail "failed to register QEMU in $BINFMT"
}

emulation_down() {
    local entry
    if [ -s "$BED/emulated" ]; then
        entry=$BINFMT/$(<"$BED/emulated")
        [ ! -e "$entry" ] || printf -- '-1' >"$entry"
    fi
    rm -f "$BED/emulated"
}

# Extracts the program, which has another name and package in newer releases. Only a statically linked one runs in containers.
qemu_fetch() {
    say "downloading QEMU (once)"
    local package program
    for package in qemu-user-static qemu-user; do
        if package_extract "$package" "$1/package"; then
            for program in "$1"/package/usr/bin/qemu-aarch64{-static,}; do
                if [ -f "$program" ] && ! ldd "$program" 2>/dev/null | grep -q '=>'; then mv "$program" "$1/qemu-aarch64"; fi
            done
        fi
        rm -rf "$1/package"
        [ ! -e "$1/qemu-aarch64" ] || return 0
    done
    fail "could not download QEMU" "install Debian's package qemu-user-static and register it, or check the network"
}
