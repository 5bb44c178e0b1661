# For all of NVIDIA's GPUs: a program for each generation, and an entrypoint that selects one.
FROM nvidia/cuda:12.9.1-devel-ubuntu24.04 AS builder
WORKDIR /usr/src
COPY Cargo.toml ./
COPY router router
RUN --mount=type=secret,id=actions_results_url \
    --mount=type=secret,id=actions_runtime_token \
    mkdir /programs \
    && for cap in 75 80 90 100 120; do \
        CUDA_COMPUTE_CAP=$cap router/build candle-cuda http && mv target/release/text-embeddings-router /programs/text-embeddings-router-$cap; \
    done

FROM nvidia/cuda:12.9.1-runtime-ubuntu24.04
ARG DEFAULT_USE_FLASH_ATTENTION=True
ENV HUGGINGFACE_HUB_CACHE=/data PORT=80 USE_FLASH_ATTENTION=$DEFAULT_USE_FLASH_ATTENTION
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates cuda-compat-12-9 curl libssl-dev \
    && rm -rf /var/lib/apt/lists/*
COPY --from=builder /programs/ /usr/local/bin/
COPY --chmod=755 router/entrypoint /entrypoint
ENTRYPOINT ["/entrypoint"]
CMD ["--json-output"]
