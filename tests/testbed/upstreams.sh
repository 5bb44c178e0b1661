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
    local suite=$1 name
    name=debian-$suite-$(debian_key "$suite")
    cached "$name" build_debian "$suite"
    registry_push_layout "$CACHE/$name" library/debian "$suite-slim"
}

python_up() {
    local python=$1 suite name
    suite=$(suite_of_python "$python")
    name=python-$python-$(python_key "$suite")
    if [ ! -d "$CACHE/$name" ]; then
        debian_up "$suite"
        cached "$name" build_python "$python" "$suite"
    fi
    # All tags contain bookworm, as Docker Hub's do. The substitute is based on the Debian suite that has the Python.
    registry_push_layout "$CACHE/$name" library/python "$python-slim-bookworm"
}

debian_key() {
    recipe_key 1 "$1" "$(uname -m)" "$(<"$HERE/upstreams/debian.Dockerfile")" "$(declare -f slim_rootfs apt_sources)"
}

python_key() {
    recipe_key 1 "$(debian_key "$1")" "$(cd "$HERE/upstreams" && cat python.Dockerfile install-python sitecustomize.py)"
}

build_debian() {
    local new=$1 suite=$2
    mkdir "$new/context"
    debian_rootfs "$new/context/rootfs" "$suite"
    build_layout "$new" "$HERE/upstreams/debian.Dockerfile" "$new/context"
    rm -rf --one-file-system "$new/context"
}

build_python() {
    local new=$1 python=$2 base=library/debian:$3-slim
    say "building the substitute for python:$python-slim-bookworm (once)"
    mkdir "$new/version"
    # The patch version is known only after the installation. A second build, from the cache, adds it to the environment.
    build_image "$new" "$HERE/upstreams/python.Dockerfile" "$HERE/upstreams" --build-arg "BASE=$base" --build-arg "PYTHON=$python" \
        --target version --output "type=local,dest=$new/version"
    build_layout "$new" "$HERE/upstreams/python.Dockerfile" "$HERE/upstreams" --build-arg "BASE=$base" --build-arg "PYTHON=$python" \
        --build-arg "PYTHON_VERSION=$(<"$new/version/python-version")"
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

# build_layout FOLDER DOCKERFILE CONTEXT [OPTION…]: writes `blobs/`, the digest of the image in `manifest`, and an index of this
# platform in `index`, because upstream images are indexes, too.
build_layout() {
    local folder=$1 digest
    build_image "$@" --output "type=oci,dest=$folder/oci.tar"
    tar -xf "$folder/oci.tar" -C "$folder"
    rm "$folder/oci.tar"
    digest=$(grep -o 'sha256:[0-9a-f]*' "$folder/index.json" | head -n 1)
    digest=${digest#sha256:}
    printf '%s\n' "$digest" >"$folder/manifest"
    printf '{"schemaVersion":2,"mediaType":"%s","manifests":[{"mediaType":"%s","digest":"%s","size":%d,"platform":{"architecture":"%s","os":"linux"}}]}' \
        application/vnd.oci.image.index.v1+json application/vnd.oci.image.manifest.v1+json "sha256:$digest" \
        "$(wc -c <"$folder/blobs/sha256/$digest")" "$(dpkg --print-architecture)" >"$folder/index"
}
