# shellcheck shell=bash
# The registry: Debian's docker-registry, with plain http on the loopback interface and its data in the bed's folder.

# Sets REGISTRY and, unless the user has set it, REGISTRY_PORT: the port of the running bed, or a free one.
choose_registry_port() {
    local port=$REGISTRY_PORT
    if [ -z "$port" ] && [ -s "$BED/registry.port" ]; then port=$(<"$BED/registry.port"); fi
    if [ -z "$port" ]; then
        for port in {5000..5099}; do
            # shellcheck disable=SC2188 # tests whether the port is in use
            if ! { </dev/tcp/127.0.0.1/"$port"; } 2>/dev/null; then break; fi
        done
    fi
    REGISTRY_PORT=$port
    REGISTRY=127.0.0.1:$port
}

registry_answers() { curl --silent --fail --max-time 2 --noproxy '*' --output /dev/null "http://$REGISTRY/v2/"; }

registry_is_up() {
    { recorded_process registry >/dev/null || [ -s "$BED/registry.container" ]; } && registry_answers
}

registry_up() {
    registry_is_up && return 0
    registry_down # removes the remains of a killed registry
    if registry_answers; then
        fail "another registry is running on $REGISTRY" "stop it, or set another port in BASEGEN_TESTBED_REGISTRY_PORT"
    fi
    local program
    if program=$(command -v docker-registry); then
        registry_start_process "$program"
    elif [ "$ENGINE" = machine ]; then
        registry_start_container
    else
        cached "registry-$(registry_key)" registry_fetch
        registry_start_process "$CACHE/registry-$(registry_key)/usr/bin/docker-registry"
    fi
    printf '%s\n' "$REGISTRY_PORT" >"$BED/registry.port"
    record_started registry
}

registry_key() { recipe_key 1 "$(uname -m)"; }

registry_fetch() {
    say "downloading docker-registry (once)"
    package_extract docker-registry "$1" ||
        fail "could not download Debian's package docker-registry" "install docker-registry and run this again"
}

registry_start_process() {
    mkdir -p "$BED/registry"
    cat >"$BED/registry.yml" <<-EOT
		version: 0.1
		log: {level: info, accesslog: {disabled: true}}
		storage:
		  filesystem: {rootdirectory: "$BED/registry"}
		  delete: {enabled: true}
		  cache: {blobdescriptor: inmemory}
		http: {addr: "$REGISTRY"}
	EOT
    OTEL_TRACES_EXPORTER=none setsid "$1" serve "$BED/registry.yml" </dev/null >"$BED/registry.log" 2>&1 8>&- 9>&- 7>&- &
    record_process registry "$!"
    if ! wait_until 15 registry_is_up; then
        show_log "$BED/registry.log"
        registry_down
        fail "the registry did not start on $REGISTRY" "set another port in BASEGEN_TESTBED_REGISTRY_PORT"
    fi
}

# For a machine with an engine but without docker-registry.
registry_start_container() {
    docker run --detach --publish "$REGISTRY:5000" --env REGISTRY_STORAGE_DELETE_ENABLED=true registry:2 >"$BED/registry.container"
    if ! wait_until 30 registry_is_up; then
        docker logs --tail 25 "$(<"$BED/registry.container")" >&2 || true
        registry_down
        fail "the registry container did not start on $REGISTRY"
    fi
}

registry_down() {
    local pid
    if [ -s "$BED/registry.container" ]; then
        docker rm --force --volumes "$(<"$BED/registry.container")" >/dev/null 2>&1 || true
        rm -f "$BED/registry.container"
    fi
    if pid=$(recorded_process registry); then stop_process registry "$pid"; fi
    rm -f "$BED/registry.pid"
}

# registry_push_layouts REPOSITORY TAG INDEX FOLDER…: pushes the images in the OCI layouts, then the file INDEX as the tag.
registry_push_layouts() {
    local repository=$1 tag=$2 index=$3 folder blob
    shift 3
    if [ "$(registry_digest "$repository" "$tag")" = "sha256:$(sha256sum <"$index" | cut -d' ' -f1)" ]; then return 0; fi
    for folder in "$@"; do
        for blob in "$folder"/blobs/sha256/*; do
            registry_push_blob "$repository" "$blob"
        done
        registry_put_manifest "$repository" "sha256:$(<"$folder/manifest")" "$folder/blobs/sha256/$(<"$folder/manifest")"
    done
    registry_put_manifest "$repository" "$tag" "$index"
}

registry_curl() { curl --silent --show-error --fail --noproxy '*' "$@"; }

# Prints the digest of a tag, or nothing.
registry_digest() {
    curl --silent --fail --noproxy '*' --head "http://$REGISTRY/v2/$1/manifests/$2" --header 'Accept: application/vnd.oci.image.index.v1+json' |
        tr -d '\r' | sed -n 's/^[Dd]ocker-[Cc]ontent-[Dd]igest: //p'
}

registry_has_blob() { curl --silent --fail --noproxy '*' --head --output /dev/null "http://$REGISTRY/v2/$1/blobs/$2"; }

registry_push_blob() {
    local repository=$1 file=$2 digest location
    digest=sha256:${file##*/}
    registry_has_blob "$repository" "$digest" && return 0
    location=$(registry_curl --request POST --output /dev/null --dump-header - "http://$REGISTRY/v2/$repository/blobs/uploads/" |
        tr -d '\r' | sed -n 's/^[Ll]ocation: //p')
    registry_curl --output /dev/null --header 'Content-Type: application/octet-stream' --upload-file "$file" "$location&digest=$digest"
}

registry_put_manifest() {
    local repository=$1 reference=$2 file=$3 type
    type=$(grep -o 'application/vnd.oci.image.\(index\|manifest\).v1+json' "$file" | head -n 1)
    registry_curl --output /dev/null --request PUT --header "Content-Type: $type" --data-binary "@$file" \
        "http://$REGISTRY/v2/$repository/manifests/$reference"
}
