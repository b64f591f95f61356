# The image is one static program and nothing else. Build the program first:
#   RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --target x86_64-unknown-linux-gnu
#   docker build -t narthex:dev .
# `make image` writes the same image as a tar without Docker (tests/cluster/image.py).
# No USER: port 80 of the host is bound by uid 0 holding NET_BIND_SERVICE and no other capability (manifests/daemonset.yaml),
# and a DaemonSet that sets no securityContext at all works too.
FROM scratch
ARG BINARY=target/x86_64-unknown-linux-gnu/release/narthex
COPY ${BINARY} /narthex
ENTRYPOINT ["/narthex"]
