#!/usr/bin/env bash
# Builds the real servers that tests and demos talk to, into a cache outside the checkout.
#
#   scripts/real_servers.sh [jaeger ...]     default: every server known here
#   scripts/real_servers.sh --path jaeger    prints where the binary is or would be, builds nothing
#
# A server is stamped by version: a second run costs nothing. What is printed on stdout is one path for each server;
# everything else goes to stderr and to <cache>/build-<server>.log.
#
# Exit codes: 0 all there · 1 a build failed · 2 unknown server · 3 the toolchain (Go) is missing or too old
set -euo pipefail

CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/otel-agent-journal"
JAEGER_VERSION=v1.76.0

say() { printf 'real_servers: %s\n' "$*" >&2; }

need_go() {
    local minor
    if ! command -v go >/dev/null 2>&1; then
        say "cannot build $1: Go is not installed. Install Go 1.25 or newer and run this again."
        exit 3
    fi
    minor=$(go env GOVERSION | sed -n 's/^go1\.\([0-9]*\).*/\1/p')
    if [ "${minor:-0}" -lt 25 ]; then
        say "cannot build $1: $(go env GOVERSION) is too old. Install Go 1.25 or newer and run this again."
        exit 3
    fi
}

# Jaeger v2. `go install …@version` refuses modules with a replace, and some sums are not in the checksum database, so it is
# built as a tool of a small module that takes over Jaeger's replace and starts from Jaeger's own go.sum.
build_jaeger() {
    local work="$CACHE/src/jaeger-$JAEGER_VERSION"
    rm -rf "$work"
    mkdir -p "$work"
    cd "$work"
    cat >go.mod <<MOD
module local/real-servers

go 1.25.0

tool github.com/jaegertracing/jaeger/cmd/jaeger

require github.com/jaegertracing/jaeger $JAEGER_VERSION

replace github.com/Shopify/sarama => github.com/Shopify/sarama v1.33.0
MOD
    export GOTOOLCHAIN=local GOFLAGS=-mod=mod CGO_ENABLED=0 GOBIN="$work/bin"
    go mod download "github.com/jaegertracing/jaeger@$JAEGER_VERSION"
    cp "$(go env GOMODCACHE)/github.com/jaegertracing/jaeger@$JAEGER_VERSION/go.sum" go.sum
    chmod u+w go.sum
    go install tool
    mv -f "$work/bin/jaeger" "$CACHE/bin/jaeger"  # one file system: a reader never sees half a binary
    rm -rf "$work"
}

version_of() {
    case "$1" in
        jaeger) echo "$JAEGER_VERSION" ;;
        *)
            say "unknown server «$1»; known: jaeger"
            exit 2
            ;;
    esac
}

ensure() {
    local server=$1 version binary stamp log
    version=$(version_of "$server") || exit $?
    binary="$CACHE/bin/$server"
    stamp="$CACHE/bin/.$server.version"
    log="$CACHE/build-$server.log"
    mkdir -p "$CACHE/bin"
    exec 9>"$CACHE/.$server.lock"
    if command -v flock >/dev/null 2>&1; then flock 9; fi  # two runs at once: the second waits and finds it done
    if [ -x "$binary" ] && [ "$(cat "$stamp" 2>/dev/null || true)" = "$version" ]; then
        echo "$binary"
        return
    fi
    need_go "$server"
    say "building $server $version, once, some minutes; log: $log"
    if ! (set -euo pipefail; "build_$server") >"$log" 2>&1; then
        say "building $server $version failed; the end of $log:"
        tail -n 15 "$log" >&2
        exit 1
    fi
    echo "$version" >"$stamp"
    say "$server $version is ready"
    echo "$binary"
}

if [ "${1:-}" = --path ]; then
    version_of "${2:?--path needs the name of a server}" >/dev/null
    echo "$CACHE/bin/$2"
    exit 0
fi
[ $# -gt 0 ] || set -- jaeger
for server in "$@"; do ensure "$server"; done
