# syntax=docker/dockerfile:1
# glibc rather than musl: musl's allocator takes one lock for all threads, and workers share nothing.
# The builder and the base are the same Debian release, so that the C library at run time is the one linked against.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
# What the build is compiled for.
COPY .cargo ./.cargo
COPY src ./src
COPY benches ./benches
COPY config ./config
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin lameduck \
    && cp target/release/lameduck /lameduck

# Neither a shell nor a package manager: the binary, the C library, and a user who is not root.
FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="lameduck" \
      org.opencontainers.image.description="A proxy that lets stateful agents be scaled in without anyone noticing" \
      org.opencontainers.image.licenses="Apache-2.0 OR MIT"
COPY --from=build /lameduck /lameduck
COPY LICENSE-APACHE LICENSE-MIT /licenses/
# By number, for Kubernetes' runAsNonRoot cannot look a name up: this is the base's `nonroot`.
USER 65532:65532
# The proxy, and health with metrics. The admin API stays on loopback.
EXPOSE 8080 9180
# A drain begins with this signal; give the container longer than the window before it is killed.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=2s --start-period=5s --retries=3 CMD ["/lameduck", "healthcheck"]
ENTRYPOINT ["/lameduck"]
CMD ["run"]
