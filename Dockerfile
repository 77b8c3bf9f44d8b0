# The image that deploy/base runs, and the Jobs of KopiaRepositories: our binary and kopia, no shell, a user without
# rights. From the root of the repository:
#
#   docker build -t registry.example.com/volwarden:0.1.0 .          (buildah build and podman build take it too)
#
# What has to agree with the Deployment - user, command, port - is held together by tests/deploy.rs.

FROM docker.io/library/rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin volwarden

# The kopia that the tests run, by the same pin.
FROM docker.io/library/golang:1.26-bookworm AS kopia
WORKDIR /src
COPY tests/stack/tools/kopia .
RUN CGO_ENABLED=0 go build -trimpath -tags nohtmlui -ldflags "-s -w" -o /kopia github.com/kopia/kopia

# glibc of the same Debian, libgcc, certificates of public authorities; neither shell nor package manager.
FROM gcr.io/distroless/cc-debian12
COPY --from=build --chmod=0555 /src/target/release/volwarden /usr/local/bin/volwarden
COPY --from=kopia --chmod=0555 /kopia /usr/local/bin/kopia
# By number, so that the kubelet can tell that it is not root.
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/volwarden"]
CMD ["run"]
