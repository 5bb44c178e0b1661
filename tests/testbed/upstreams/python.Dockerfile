# A stand-in for Docker Hub's python:3.N-slim-bookworm, from Debian's packages.
ARG BASE
FROM ${BASE} AS python
ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ENV LANG=C.UTF-8
ARG PYTHON
RUN --mount=type=bind,target=/run/testbed --mount=type=secret,id=ca,target=/run/ca \
    sh /run/testbed/install-python "$PYTHON"

FROM python AS reported
RUN python -c 'import platform; print(platform.python_version())' >/python-version

FROM scratch AS version
COPY --from=reported /python-version /

FROM python
ARG PYTHON_VERSION
ENV PYTHON_VERSION=${PYTHON_VERSION}
CMD ["python3"]
