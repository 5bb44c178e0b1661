# shellcheck shell=bash
# Installs packages from Debian: tools on this machine, and complete root file systems.

require_root() {
    [ "$(id -u)" -eq 0 ] || fail "$1 needs root" "$2"
}

# require_tool COMMAND PACKAGE: installs the package if this is root on a Debian-like machine, or fails with a hint.
require_tool() {
    have "$1" && return 0
    if [ "$(id -u)" -ne 0 ] || ! have apt-get; then
        fail "\`$1\` is not installed" "install it (Debian's package is $2) and run this again"
    fi
    say "installing $2"
    apt_install "$2"
    have "$1" || fail "\`$1\` is missing although Debian's package $2 is installed"
}

apt_install() {
    local log
    log=$(mktemp)
    if ! apt_get_install "$@" >"$log" 2>&1; then
        { apt-get update && apt_get_install "$@"; } >"$log" 2>&1 || {
            cat "$log" >&2
            fail "failed to install: $*"
        }
    fi
    rm -f "$log"
}

apt_get_install() { DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$@" </dev/null; }

# package_extract PACKAGE FOLDER: extracts a Debian package, because its installation could start a service. Fails if there is no such
# package.
package_extract() {
    local package=$1 folder=$2
    have apt-get || fail "Debian's package $package is needed, and there is no apt-get here"
    mkdir -p "$folder"
    if ! package_download "$package" "$folder" && ! { apt-get update && package_download "$package" "$folder"; } >"$folder/apt.log" 2>&1; then
        show_log "$folder/apt.log"
        return 1
    fi
    dpkg-deb --extract "$folder/$package"_*.deb "$folder" || return 1
    rm -f "$folder/$package"_*.deb "$folder/apt.log"
}

package_download() { (cd "$2" && apt-get download "$1" >apt.log 2>&1); }

# debian_rootfs FOLDER SUITE ARCHITECTURE [PACKAGE…]: creates a minimal Debian in FOLDER. It uses namespaces, so an interrupt leaves no
# mounts or processes behind.
debian_rootfs() {
    local folder=$1 suite=$2 architecture=$3 packages
    shift 3
    packages=$(IFS=,; printf '%s' "$*")
    require_tool debootstrap debootstrap
    say "downloading Debian $suite for $architecture (once)"
    if ! unshare --mount --propagation private --pid --fork --kill-child --mount-proc \
        debootstrap "--arch=$architecture" --variant=minbase ${packages:+"--include=$packages"} "$suite" "$folder" </dev/null >"$folder.log" 2>&1; then
        show_log "$folder.log"
        fail "debootstrap failed to create Debian $suite"
    fi
    rm -f "$folder.log"
    slim_rootfs "$folder"
    apt_sources "$folder" "$suite"
}

# Adds the archives for updates and security, as in the official images. Sid has neither, and a mirror of it can lag behind its index.
apt_sources() {
    local folder=$1 suite=$2
    if [ "$suite" = sid ]; then
        printf '%s\n' 'Acquire::Check-Valid-Until "false";' >"$folder/etc/apt/apt.conf.d/lagging-mirror"
    else
        sed "s|^\(deb .*\)/debian $suite main|&\n\1/debian $suite-updates main\n\1/debian-security $suite-security main|" \
            "$folder/etc/apt/sources.list" >"$folder/etc/apt/sources.list.new"
        mv "$folder/etc/apt/sources.list.new" "$folder/etc/apt/sources.list"
    fi
}

# Removes the files that Debian's slim images do not have, and excludes them from packages that are installed later.
slim_rootfs() {
    local folder=$1
    rm -rf "$folder"/var/lib/apt/lists/* "$folder"/var/cache/apt/*.bin "$folder"/var/cache/apt/archives/*.deb \
        "$folder"/var/log/bootstrap.log "$folder"/usr/share/{doc,info,man,locale}/*
    cat >"$folder/etc/dpkg/dpkg.cfg.d/slim" <<-'SLIM'
		path-exclude /usr/share/doc/*
		path-exclude /usr/share/info/*
		path-exclude /usr/share/locale/*
		path-exclude /usr/share/man/*
	SLIM
    printf '%s\n' 'Acquire::Languages "none";' >"$folder/etc/apt/apt.conf.d/no-languages"
}
