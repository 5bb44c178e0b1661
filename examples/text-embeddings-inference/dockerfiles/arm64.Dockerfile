# For arm64, without Intel's libraries.
FROM debian:bookworm-slim AS builder
WORKDIR /usr/src
ARG SCCACHE_GHA_ENABLED
COPY Cargo.toml ./
COPY router router

FROM builder AS http-builder
RUN --mount=type=secret,id=actions_results_url \
    --mount=type=secret,id=actions_runtime_token \
    router/build ort candle static-linking http

FROM builder AS grpc-builder
COPY proto proto
RUN --mount=type=secret,id=actions_results_url \
    --mount=type=secret,id=actions_runtime_token \
    router/build ort candle static-linking grpc

FROM debian:bookworm-slim AS base
ENV HUGGINGFACE_HUB_CACHE=/data PORT=80 RAYON_NUM_THREADS=8
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates curl libomp-dev libssl-dev \
    && rm -rf /var/lib/apt/lists/*

FROM base AS grpc
COPY --from=grpc-builder /usr/src/target/release/text-embeddings-router /usr/local/bin/
ENTRYPOINT ["text-embeddings-router"]
CMD ["--json-output"]

FROM base AS http
COPY --from=http-builder /usr/src/target/release/text-embeddings-router /usr/local/bin/
ENTRYPOINT ["text-embeddings-router"]
CMD ["--json-output"]
