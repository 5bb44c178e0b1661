# shellcheck shell=bash
# The upstream images: substitutes that the engine builds from Debian's packages if it does not reach Docker Hub.
#
# The cache stores them as OCI layouts. They are pushed to the bed's registry, which the engine uses as a mirror of Docker Hub.

PYTHONS="3.9 3.11 3.13 3.14"

suite_of_python() {
    case $1 in
        3.9) echo bullseye ;;
        3.11) echo bookworm ;;
        3.13) echo trixie ;;
        3.14) echo sid ;;
        *) fail "there is no substitute for Python $1" "use one of: $PYTHONS" ;;
    esac
}

# upstreams_up PYTHON…
upstreams_up() {
    local python
    [ "$ENGINE" != machine ] || return 0
    debian_up bookworm
    for python in "$@"; do python_up "$python"; done
}

debian_up() {
    local suite=$1 architecture folders=()
    for architecture in $ARCHITECTURES; do
        folders+=("debian-$suite-$architecture-$(debian_key "$suite")")
        cached "${folders[-1]}" build_debian "$suite" "$architecture"
    done
    push_upstream library/debian "$suite-slim" "${folders[@]}"
}

python_up() {
    local python=$1 suite architecture folders=()
    suite=$(suite_of_python "$python")
    for architecture in $ARCHITECTURES; do
        folders+=("python-$python-$architecture-$(python_key "$suite")")
        if [ ! -d "$CACHE/${folders[-1]}" ]; then
            debian_up "$suite"
            cached "${folders[-1]}" build_python "$python" "$suite" "$architecture"
        fi
    done
    # All tags contain bookworm, as Docker Hub's do. The substitute is based on the Debian suite that has the Python.
    push_upstream library/python "$python-slim-bookworm" "${folders[@]}"
}

# push_upstream REPOSITORY TAG NAME…: pushes images of the cache, one for each of ARCHITECTURES, as one index.
push_upstream() {
    local repository=$1 tag=$2
    shift 2
    upstream_index "${@/#/$CACHE/}" >"$BED/index"
    registry_push_layouts "$repository" "$tag" "$BED/index" "${@/#/$CACHE/}"
}

# upstream_index FOLDER…: prints an index of the images, because upstream images are indexes, too.
upstream_index() {
    local folder digest architecture entries=""
    for folder in "$@"; do
        digest=$(<"$folder/manifest")
        architecture=${folder%-*}
        entries+=$(printf '{"mediaType":"%s","digest":"%s","size":%d,"platform":{"architecture":"%s","os":"linux"}}' \
            application/vnd.oci.image.manifest.v1+json "sha256:$digest" "$(wc -c <"$folder/blobs/sha256/$digest")" "${architecture##*-}"),
    done
    printf '{"schemaVersion":2,"mediaType":"%s","manifests":[%s]}' application/vnd.oci.image.index.v1+json "${entries%,}"
}

debian_key() {
    recipe_key 2 "$1" "$(<"$HERE/upstreams/debian.Dockerfile")" "$(declare -f slim_rootfs apt_sources)"
}

python_key() {
    recipe_key 2 "$(debian_key "$1")" "$(cd "$HERE/upstreams" && cat python.Dockerfile install-python sitecustomize.py)"
}

build_debian() {
    local new=$1 suite=$2 architecture=$3
    mkdir "$new/context"
    debian_rootfs "$new/context/rootfs" "$suite" "$architecture"
    build_layout "$new" "$HERE/upstreams/debian.Dockerfile" "$new/context" --platform "linux/$architecture"
    rm -rf --one-file-system "$new/context"
}

build_python() {
    local new=$1 python=$2 base=library/debian:$3-slim architecture=$4
    local build=("$HERE/upstreams/python.Dockerfile" "$HERE/upstreams" --platform "linux/$architecture"
        --build-arg "BASE=$base" --build-arg "PYTHON=$python")
    say "building the substitute for python:$python-slim-bookworm for $architecture (once)"
    mkdir "$new/version"
    # The patch version is known only after the installation. A second build, from the cache, adds it to the environment.
    build_image "$new" "${build[@]}" --target version --output "type=local,dest=$new/version"
    build_layout "$new" "${build[@]}" --build-arg "PYTHON_VERSION=$(<"$new/version/python-version")"
    rm -rf "$new/version"
}

# build_image FOLDER DOCKERFILE CONTEXT [OPTION…]
build_image() {
    local folder=$1 dockerfile=$2 context=$3
    shift 3
    if ! DOCKER_HOST=unix://$SOCKET "$BED/bin/docker-buildx" build --progress plain --provenance=false --file "$dockerfile" \
        ${CA_BUNDLE:+--secret "id=ca,src=$CA_BUNDLE"} "$@" "$context" </dev/null >"$folder/build.log" 2>&1; then
        show_log "$folder/build.log"
        fail "failed to build $dockerfile"
    fi
    rm -f "$folder/build.log"
}

# build_layout FOLDER DOCKERFILE CONTEXT [OPTION…]: writes `blobs/`, and the digest of the image in `manifest`.
build_layout() {
    local folder=$1 digest
    build_image "$@" --output "type=oci,dest=$folder/oci.tar"
    tar -xf "$folder/oci.tar" -C "$folder"
    rm "$folder/oci.tar"
    digest=$(grep -o 'sha256:[0-9a-f]*' "$folder/index.json" | head -n 1)
    printf '%s\n' "${digest#sha256:}" >"$folder/manifest"
}
