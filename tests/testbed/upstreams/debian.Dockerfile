# What Docker Hub has as debian:SUITE-slim: a root file system made by debootstrap.
FROM scratch
COPY rootfs /
CMD ["bash"]
