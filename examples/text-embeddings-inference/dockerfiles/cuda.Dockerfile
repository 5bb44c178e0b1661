# For one generation of NVIDIA's GPUs.
FROM nvidia/cuda:12.9.1-devel-ubuntu24.04 AS builder
WORKDIR /usr/src
ARG SCCACHE_GHA_ENABLED
ARG CUDA_COMPUTE_CAP
COPY Cargo.toml ./
COPY router router

FROM builder AS http-builder
RUN --mount=type=secret,id=actions_results_url \
    --mount=type=secret,id=actions_runtime_token \
    router/build candle-cuda static-linking http

FROM builder AS grpc-builder
COPY proto proto
RUN --mount=type=secret,id=actions_results_url \
    --mount=type=secret,id=actions_runtime_token \
    router/build candle-cuda static-linking grpc

FROM nvidia/cuda:12.9.1-runtime-ubuntu24.04 AS base
ARG DEFAULT_USE_FLASH_ATTENTION=True
ENV HUGGINGFACE_HUB_CACHE=/data PORT=80 USE_FLASH_ATTENTION=$DEFAULT_USE_FLASH_ATTENTION
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates cuda-compat-12-9 curl libssl-dev \
    && rm -rf /var/lib/apt/lists/*

FROM base AS grpc
COPY --from=grpc-builder /usr/src/target/release/text-embeddings-router /usr/local/bin/
ENTRYPOINT ["text-embeddings-router"]
CMD ["--json-output"]

FROM base AS http
COPY --from=http-builder /usr/src/target/release/text-embeddings-router /usr/local/bin/
ENTRYPOINT ["text-embeddings-router"]
CMD ["--json-output"]
