# The image of docker/cpu.Dockerfile, and NVIDIA's compiler and libraries for --config=cuda: docs/containers.md.
#
#   docker build -f docker/cpu.Dockerfile -t needle-cpu .
#   docker build -f docker/cuda.Dockerfile -t needle-cuda .
ARG CPU_IMAGE=needle-cpu
FROM ${CPU_IMAGE}

USER root
RUN /opt/needle/locks/fetch_wheels.sh cuda
USER needle

# For NVIDIA's container runtime: which GPUs to pass in, and which parts of the driver. Without that runtime or a GPU
# they mean nothing, and Needle computes on the CPU.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility

ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="needle-cuda" \
      org.opencontainers.image.description="Builds and tests Needle for NVIDIA GPUs, with no network" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
