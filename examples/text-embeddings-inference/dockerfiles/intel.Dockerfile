# For CPUs and GPUs of Intel, and for Gaudi: PLATFORM names a stage.
ARG PLATFORM=cpu
FROM debian:bookworm-slim AS builder
WORKDIR /usr/src
ARG SCCACHE_GHA_ENABLED
COPY Cargo.toml ./
COPY router router

FROM builder AS http-builder
RUN --mount=type=secret,id=actions_results_url \
    --mount=type=secret,id=actions_runtime_token \
    router/build python http

FROM builder AS grpc-builder
COPY proto proto
RUN --mount=type=secret,id=actions_results_url \
    --mount=type=secret,id=actions_runtime_token \
    router/build python grpc

FROM intel/intel-extension-for-pytorch:2.8.0-pip-base AS cpu
ENV HUGGINGFACE_HUB_CACHE=/data PORT=80

FROM intel/intel-extension-for-pytorch:2.8.10-xpu AS xpu
ENV HUGGINGFACE_HUB_CACHE=/data PORT=80 CCL_ZE_IPC_EXCHANGE=sockets

FROM vault.habana.ai/gaudi-docker/1.21.3/ubuntu22.04/habanalabs/pytorch-installer-2.6.0:latest AS hpu
ENV HUGGINGFACE_HUB_CACHE=/data PORT=80 PT_HPU_LAZY_MODE=1

FROM ${PLATFORM} AS grpc
COPY --from=grpc-builder /usr/src/target/release/text-embeddings-router /usr/local/bin/
ENTRYPOINT ["text-embeddings-router"]
CMD ["--json-output"]

FROM ${PLATFORM} AS http
COPY --from=http-builder /usr/src/target/release/text-embeddings-router /usr/local/bin/
ENTRYPOINT ["text-embeddings-router"]
CMD ["--json-output"]
