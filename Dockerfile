# The image with a container engine at hand; `make bundle` makes the same one without.
FROM rust:1.95-bookworm AS build
WORKDIR /pointsman
COPY . .
RUN case $(uname -m) in x86_64) arch=amd64 ;; aarch64) arch=arm64 ;; esac \
    && install -m 755 "$(packaging/build "$arch")" /binary

FROM scratch
LABEL org.opencontainers.image.title="pointsman" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.description="Exclusive RDMA over InfiniBand SR-IOV for Kubernetes pods"
COPY --from=build /binary /pointsman
USER 65532:65532
ENV PATH=/
ENTRYPOINT ["/pointsman"]
