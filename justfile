# One recipe a job; `just` alone lists them.
set shell := ["bash", "-euo", "pipefail", "-c"]

# Lists the recipes.
default:
    @just --list

# Builds what is shipped.
build:
    cargo build --release --locked

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

# The relay beside its peers; `just bench --rounds 9` and the like pass options on.
bench *options:
    cargo bench --bench relay -- {{options}}

# Installs the peers that the bench compares with.
bench-peers:
    apt-get install -y --no-install-recommends haproxy nginx-light libnginx-mod-stream

# A first look: agent, proxy and clients in one process, and a drain.
demo:
    cargo run --release --locked -- demo

# The container image.
image tag="lameduck:dev":
    docker build --tag {{tag}} .
