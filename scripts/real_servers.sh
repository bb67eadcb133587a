#!/usr/bin/env bash
# Builds the real servers that tests and demos talk to, into a cache outside the checkout.
#
#   scripts/real_servers.sh [SERVER ...]     default: every server known here
#   scripts/real_servers.sh --path SERVER    prints where it is or would be, builds nothing
#
#   jaeger       Jaeger v2, a binary                          needs Go
#   collector    OpenTelemetry Collector, a binary, of the parts that collector-config/ names   needs Go
#   minio        MinIO, a binary: the S3 of the tests         needs Go
#   dynamodb     DynamoDB Local, a folder of jars             needs a JDK and Maven
#   postgresql   Debian's PostgreSQL, the folder of its programs
#   moto         moto's server, a program in an environment of its own
#   chromium     Debian's Chromium, a program: the browser of the viewer's tests
#   nginx        Debian's nginx, a program: the proxy before the server
#   spark        PySpark, the Python of an environment of its own   needs a JDK 17 to run
#
# A server is stamped by version: a second run costs nothing. What is printed on stdout is one path for each server;
# everything else goes to stderr and to <cache>/build-<server>.log.
#
# Exit codes: 0 all there · 1 a build failed · 2 unknown server · 3 a toolchain (Go, JDK, Debian) is missing or too old
set -euo pipefail

MANIFEST="$(cd "$(dirname "$0")/.." && pwd)/collector-config/builder.yaml"
CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/otel-agent-journal"
PYTHON="${PYTHON:-python3}"
SERVERS=(jaeger collector minio dynamodb postgresql moto chromium nginx spark)
JAEGER_VERSION=v1.76.0
COLLECTOR_VERSION=v0.159.0
MINIO_VERSION=v0.0.0-20260212201848-7aac2a2c5b7c
DYNAMODB_VERSION=3.1.0
MOTO_VERSION=5.2.5
SPARK_VERSION=4.3.0

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

# The stock Collector, of the parts that its manifest names; built by its own builder.
build_collector() {
    local work="$CACHE/src/collector-$COLLECTOR_VERSION"
    rm -rf "$work"
    mkdir -p "$work"
    export GOTOOLCHAIN=local GOFLAGS=-mod=mod CGO_ENABLED=0 GOBIN="$work/bin"
    go install "go.opentelemetry.io/collector/cmd/builder@$COLLECTOR_VERSION"
    cp "$MANIFEST" "$work/manifest.yaml"
    (cd "$work" && bin/builder --config=manifest.yaml)
    mv -f "$work/otelcol-agent-journal/otelcol-agent-journal" "$CACHE/bin/collector"
    rm -rf "$work"
}

# The server of the S3 tests: the one whose conditional writes have one winner however many writers there are.
build_minio() {
    export GOTOOLCHAIN=local GOFLAGS=-mod=mod CGO_ENABLED=0 GOBIN="$CACHE/src/minio-bin"
    go install "github.com/minio/minio@$MINIO_VERSION"
    mv -f "$GOBIN/minio" "$CACHE/bin/minio"
    rm -rf "$GOBIN"
}

build_dynamodb() {
    local work="$CACHE/src/dynamodb-$DYNAMODB_VERSION"
    rm -rf "$work"
    mkdir -p "$work"
    cd "$work"
    cat >pom.xml <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>local</groupId><artifactId>real-servers</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>software.amazon.dynamodb</groupId><artifactId>DynamoDBLocal</artifactId><version>$DYNAMODB_VERSION</version>
    </dependency>
  </dependencies>
</project>
POM
    mvn -q -B dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=lib
    rm -rf "$CACHE/bin/dynamodb"
    mv lib "$CACHE/bin/dynamodb"
    rm -rf "$work"
}

build_postgresql() {
    if [ ! -x "$(path_of postgresql)/initdb" ]; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq postgresql
    fi
}

build_chromium() {
    if [ ! -x "$(path_of chromium)" ]; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium
    fi
}

build_nginx() {
    if [ ! -x "$(path_of nginx)" ]; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq nginx-light
    fi
}

# In an environment of its own: beside other clients of AWS pip looks for versions for minutes.
build_moto() {
    local work="$CACHE/bin/moto"
    rm -rf "$work"
    "$PYTHON" -m venv "$work"
    "$work/bin/python" -m pip install --quiet --disable-pip-version-check "moto[server]==$MOTO_VERSION"
}

# No server: a program of a test starts it, and reads with it what we wrote.
build_spark() {
    local work="$CACHE/bin/spark"
    rm -rf "$work"
    "$PYTHON" -m venv "$work"
    "$work/bin/python" -m pip install --quiet --disable-pip-version-check setuptools wheel
    "$work/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir "pyspark==$SPARK_VERSION"
}

need() { # toolchain, what for
    case "$1" in
        go) need_go "$2" ;;
        jdk)
            if ! command -v java >/dev/null 2>&1 || ! command -v mvn >/dev/null 2>&1; then
                say "cannot build $2: a JDK and Maven are needed. Install them (Debian: default-jdk-headless maven) and run this again."
                exit 3
            fi
            ;;
        java)
            if ! command -v java >/dev/null 2>&1; then
                say "cannot run $2: Java is not installed. Install a JDK 17 (Debian: openjdk-17-jre-headless) and run this again."
                exit 3
            fi
            ;;
        debian)
            if ! is_there "$2" && { [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; }; then
                say "cannot install $2 without root on Debian. Install it and run this again."
                exit 3
            fi
            ;;
        python) ;;
    esac
}

version_of() {
    case "$1" in
        jaeger) echo "$JAEGER_VERSION" ;;
        minio) echo "$MINIO_VERSION" ;;
        collector) echo "$COLLECTOR_VERSION $(cksum <"$MANIFEST")" ;; # built anew when its parts change
        dynamodb) echo "$DYNAMODB_VERSION" ;;
        postgresql | chromium | nginx) echo debian ;;
        moto) echo "$MOTO_VERSION" ;;
        spark) echo "$SPARK_VERSION" ;;
        *)
            say "unknown server «$1»; known: ${SERVERS[*]}"
            exit 2
            ;;
    esac
}

path_of() {
    local newest
    case "$1" in
        moto) echo "$CACHE/bin/moto/bin/moto_server" ;;
        chromium) echo "/usr/bin/chromium" ;;
        nginx) echo "/usr/sbin/nginx" ;;
        spark) echo "$CACHE/bin/spark/bin/python" ;;
        postgresql)
            newest=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1 || true)
            echo "${newest:-/usr/lib/postgresql/bin}"
            ;;
        *) echo "$CACHE/bin/$1" ;;
    esac
}

toolchain_of() {
    case "$1" in
        jaeger | collector | minio) echo go ;;
        dynamodb) echo jdk ;;
        postgresql | chromium | nginx) echo debian ;;
        moto) echo python ;;
        spark) echo java ;;
    esac
}

is_there() {
    case "$1" in
        postgresql) [ -x "$(path_of postgresql)/initdb" ] ;; # Debian's, whatever its version
        chromium | nginx) [ -x "$(path_of "$1")" ] ;;
        *) [ -e "$(path_of "$1")" ] && [ "$(cat "$CACHE/bin/.$1.version" 2>/dev/null || true)" = "$(version_of "$1")" ] ;;
    esac
}

ensure() {
    local server=$1 version log
    version=$(version_of "$server") || exit $?
    log="$CACHE/build-$server.log"
    mkdir -p "$CACHE/bin" "$CACHE/src"
    exec 9>"$CACHE/.$server.lock"
    if command -v flock >/dev/null 2>&1; then flock 9; fi  # two runs at once: the second waits and finds it done
    if is_there "$server"; then
        path_of "$server"
        return
    fi
    need "$(toolchain_of "$server")" "$server"
    say "getting $server $version, once; log: $log"
    if ! (set -euo pipefail; "build_$server") >"$log" 2>&1; then
        say "getting $server $version failed; the end of $log:"
        tail -n 15 "$log" >&2
        exit 1
    fi
    echo "$version" >"$CACHE/bin/.$server.version"
    say "$server $version is ready"
    path_of "$server"
}

if [ "${1:-}" = --path ]; then
    version_of "${2:?--path needs the name of a server}" >/dev/null
    path_of "$2"
    exit 0
fi
[ $# -gt 0 ] || set -- "${SERVERS[@]}"
for server in "$@"; do ensure "$server"; done
