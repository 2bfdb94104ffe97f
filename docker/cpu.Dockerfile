# Everything that building and testing Needle needs, and nothing of Needle itself: docs/containers.md.
#
#   docker build -f docker/cpu.Dockerfile -t needle-cpu .
#
# The tag names a day, the digest the bytes. The digest is written here unchecked: it was copied where no image registry
# could be reached. A build that pulls the image checks it.
ARG BASE_IMAGE=debian:bookworm-20251229-slim@sha256:d5d3f9c23164ea16f31852f95bd5959aad1c5e854332fe00f7b3a20fcc9f635c
FROM ${BASE_IMAGE}

# pinned: the versions of docker/debian_packages.txt. current: what Debian serves today, where it has replaced those.
ARG DEBIAN_VERSIONS=pinned
COPY docker/debian_packages.txt docker/install_debian_packages.sh /opt/needle/
RUN /opt/needle/install_debian_packages.sh "$DEBIAN_VERSIONS"

# An editor may give this user the number of the user outside. What it needs to write is all in its home.
RUN useradd --create-home --shell /bin/bash --uid 1000 needle

# The wheels that the build fetches. Repository rules look here before they ask an index, so it works with no network.
ENV LANG=C.UTF-8 NEEDLE_WHEELS=/opt/needle/wheels
COPY docker/fetch_wheels.sh third_party/*_lock.txt /opt/needle/locks/
RUN /opt/needle/locks/fetch_wheels.sh cpu

USER needle
WORKDIR /home/needle
CMD ["/bin/bash"]

ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="needle-cpu" \
      org.opencontainers.image.description="Builds and tests Needle, with no network" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
