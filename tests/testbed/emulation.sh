# shellcheck shell=bash
# Programs of another architecture: the kernel hands them to QEMU (binfmt_misc), also in containers.

BINFMT=/proc/sys/fs/binfmt_misc

# The first bytes of programs for arm64, with a mask: a little-endian ELF file, executable or shared.
ARM64_PROGRAMS='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
ARM64_MASK='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'

# Prints the architecture of this machine, in the words of Debian and Docker: amd64, arm64.
own_architecture() {
    case $(uname -m) in
        x86_64) echo amd64 ;;
        aarch64 | arm64) echo arm64 ;;
        *) uname -m ;;
    esac
}

# Fails unless programs of arm64 can run on this machine.
require_emulation() {
    [ "$(own_architecture)" != arm64 ] || return 0
    if [ "$ENGINE" = machine ]; then
        machine_engine_runs arm64 || fail "the Docker Engine of this machine does not run programs of arm64" \
            "docker run --privileged --rm tonistiigi/binfmt --install arm64"
        return 0
    fi
    require_root "emulating arm64" "run this as root"
    [ -e "$BINFMT/register" ] || mount -t binfmt_misc none "$BINFMT" 2>/dev/null ||
        fail "this machine cannot emulate arm64: its kernel does not allow binfmt_misc to be mounted"
}

# Lets the kernel run programs of arm64, until emulation_down. A machine that already does so gets a second entry, which is removed
# without an effect on the first.
emulation_up() {
    require_emulation
    if [ "$ENGINE" = machine ] || [ -e "$BINFMT/$(emulation_entry)" ]; then return 0; fi
    local folder
    folder=qemu-arm64-$(recipe_key 1 "$(uname -m)")
    cached "$folder" qemu_fetch
    # F: the kernel opens QEMU now, so containers do not need the file. P: programs see the name that they were called by.
    printf ':%s:M::%s:%s:%s:OPF' "$(emulation_entry)" "$ARM64_PROGRAMS" "$ARM64_MASK" "$CACHE/$folder/qemu-aarch64" >"$BINFMT/register"
    record_started emulation
}

# The entry of this bed.
emulation_entry() { printf 'basegen-%s-arm64\n' "$(bed_number)"; }

emulation_down() {
    local entry
    entry=$BINFMT/$(emulation_entry)
    [ ! -e "$entry" ] || printf -- '-1' >"$entry"
}

# Extracts the program from Debian's package, which changes its name with the release.
qemu_fetch() {
    have apt-get || fail "QEMU can only be downloaded with apt-get"
    say "downloading QEMU (once)"
    local package program
    for package in qemu-user-static qemu-user; do
        if package_extract "$package" "$1/package"; then
            for program in "$1"/package/usr/bin/qemu-aarch64{-static,}; do
                if [ -f "$program" ]; then mv "$program" "$1/qemu-aarch64"; fi
            done
        fi
        rm -rf "$1/package"
        [ ! -e "$1/qemu-aarch64" ] || return 0
    done
    fail "the package qemu-user-static has no qemu-aarch64"
}
