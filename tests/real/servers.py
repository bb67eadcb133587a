"""Real servers for tests: started on loopback ports of their own, ended by their own process id.

They are had by `scripts/real_servers.sh`, which also knows where they are. Each starts empty; tests that share one take
a table, bucket or database of their own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from scripts.ports import reserved_port

ROOT: Final = Path(__file__).resolve().parents[2]
CONFIGS: Final = ROOT / "collector-config"
START_S: Final = 60  # seconds at most; on two shared cores they are up in one to five
KEY: Final = "test"
SECRET: Final = "testsecret"
AWS: Final[Mapping[str, str]] = {
    "AWS_ACCESS_KEY_ID": KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


def path_of(server: str) -> Path | None:
    """Return where a server is, or None where it is not there."""
    asked = [str(ROOT / "scripts" / "real_servers.sh"), "--path", server]
    path = Path(subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip())
    return path if path.exists() else None


def tied(by: str = "KILL") -> list[str]:
    """Return what goes before a command, so that it gets this signal when who started it ends, even by a SIGKILL."""
    return ["setpriv", "--pdeathsig", by] if shutil.which("setpriv") else []


class Server:
    """One server process. A subclass says how it is started and when it is up."""

    name: str

    def __init__(self, program: Path, folder: Path) -> None:
        self.program = program
        self.folder = folder
        self.port = reserved_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """Its base address."""
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        """Return what starts it, at `self.port`."""
        raise NotImplementedError

    def environ(self) -> dict[str, str]:
        """Return what its environment has beyond ours."""
        return {}

    def is_up(self) -> bool:
        """Tell whether it answers."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it and wait until it answers. Started again after `stop`, it has the same port."""
        said = self.folder / f"{self.name}.log"
        with said.open("ab") as log:
            self._process = subprocess.Popen(
                [*tied(), *self.command()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={**os.environ, **self.environ()},
            )
        until = time.monotonic() + START_S
        while time.monotonic() < until and self._process.poll() is None:
            if self.is_up():
                return
            time.sleep(0.05)
        self.stop()
        raise RuntimeError(
            f"{self.name} did not start; the end of its log:\n{said.read_text(errors='replace')[-2000:]}"
        )

    def stop(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def answers(self, path: str, *, any_status: bool = False) -> bool:
        """Tell whether GET of a path succeeds, or at least gets an answer."""
        try:
            with urllib.request.urlopen(self.endpoint + path, timeout=2):
                return True
        except urllib.error.HTTPError:
            return any_status
        except OSError:
            return False


class DynamoDB(Server):
    """DynamoDB Local, in memory. Its stores' URLs are made by `url`."""

    name = "dynamodb"

    def command(self) -> list[str]:
        """Return the Java command."""
        main = "software.amazon.dynamodb.services.local.main.ServerRunner"
        java = ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", f"-Djava.library.path={self.program}"]
        options = ["-inMemory", "-sharedDb", "-disableTelemetry", "-port", str(self.port)]
        return ["java", *java, "-cp", f"{self.program}/*", main, *options]

    def is_up(self) -> bool:
        """Tell whether it answers; without a request's signature it answers with 400."""
        return self.answers("/", any_status=True)

    def url(self, table: str | None = None, *, endpoint: str | None = None, **options: str) -> str:
        """Return the URL of a store in a table, one that nobody has where none is named."""
        more = "".join(f"&{key}={value}" for key, value in options.items())
        table = table or f"test-{uuid.uuid4().hex}"
        return f"dynamodb://{table}?region=us-east-1&endpoint_url={endpoint or self.endpoint}{more}"


class Minio(Server):
    """MinIO: an S3 whose conditional writes have one winner."""

    name = "minio"

    def __init__(self, program: Path, folder: Path) -> None:
        super().__init__(program, folder)
        self._console = reserved_port()

    def command(self) -> list[str]:
        """Return its command; the console is on a port that nobody knows."""
        console = f"127.0.0.1:{self._console}"
        address = f"127.0.0.1:{self.port}"
        data = self.folder / "minio"
        return [str(self.program), "server", "--quiet", "--address", address, "--console-address", console, str(data)]

    def environ(self) -> dict[str, str]:
        """Return its root user; it asks nobody for updates."""
        return {"MINIO_ROOT_USER": KEY, "MINIO_ROOT_PASSWORD": SECRET, "MINIO_UPDATE": "off"}

    def is_up(self) -> bool:
        """Tell whether it takes requests; that it is `ready` it says before it does, with `offline` in a header."""
        return self.answers("/minio/health/cluster")

    def url(self, bucket: str, prefix: str = "", *, endpoint: str | None = None, **options: str) -> str:
        """Return the URL of a store in a bucket, which has to be made first."""
        more = "".join(f"&{key}={value}" for key, value in options.items())
        return f"s3://{bucket}/{prefix}?region=us-east-1&endpoint_url={endpoint or self.endpoint}{more}"


class Moto(Server):
    """moto's server: the calls of AWS that the other servers lack. Never for anything concurrent."""

    name = "moto"

    def command(self) -> list[str]:
        """Return its command."""
        return [str(self.program), "-H", "127.0.0.1", "-p", str(self.port)]

    def environ(self) -> dict[str, str]:
        """Return what keeps it from asking the network."""
        return dict(AWS)

    def is_up(self) -> bool:
        """Tell whether it answers."""
        return self.answers("/moto-api/data.json")

    def configure(self, settings: Mapping[str, object]) -> None:
        """Change its settings, as in `{"stepfunctions": {"execute_state_machine": True}}`."""
        body = json.dumps(settings).encode()
        headers = {"Content-Type": "application/json"}
        asked = urllib.request.Request(f"{self.endpoint}/moto-api/config", body, headers, method="POST")
        with urllib.request.urlopen(asked, timeout=10):
            pass


class PostgreSQL(Server):
    """PostgreSQL with a cluster of its own, user postgres without a password."""

    name = "postgresql"

    @property
    def url(self) -> str:
        """The URL of the database `postgres`."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Make the cluster, then start it; as root it belongs to the user postgres, who is all that may run it."""
        data = self.folder / "data"
        if not data.exists():
            data.mkdir()
            if os.geteuid() == 0:
                for folder in (data, self.folder):
                    shutil.chown(folder, "postgres", "postgres")
                for folder in self.folder.parents:  # pytest's own folders are for their owner alone
                    if folder.stat().st_uid == 0 and not folder.stat().st_mode & 0o001:
                        folder.chmod(folder.stat().st_mode | 0o011)
            made = [str(self.program / "initdb"), "-D", str(data), "-A", "trust", "-U", "postgres", "--no-sync"]
            subprocess.run([*self._as_postgres(), *made], check=True, stdout=subprocess.DEVNULL, cwd="/")
        super().start()

    def command(self) -> list[str]:
        """Return its command: nothing is synced to the disk, a test's data need not survive the machine."""
        settings = [
            "fsync=off",
            "listen_addresses=127.0.0.1",
            "max_connections=200",
            f"unix_socket_directories={self.folder}",
        ]
        options = [part for setting in settings for part in ("-c", setting)]
        program = str(self.program / "postgres")
        return [*self._as_postgres(), program, "-D", str(self.folder / "data"), "-p", str(self.port), *options]

    def is_up(self) -> bool:
        """Tell whether it takes connections."""
        asked = [str(self.program / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres"]
        return subprocess.run(asked, check=False, cwd="/").returncode == 0

    def stop(self) -> None:
        """End it and its children at once: the process that was started may be the one that changed the user."""
        pid_file = self.folder / "data" / "postmaster.pid"
        if self._process is not None and pid_file.exists():
            asked = [str(self.program / "pg_ctl"), "-D", str(self.folder / "data"), "-m", "immediate", "-w", "stop"]
            subprocess.run([*self._as_postgres(), *asked], check=False, stdout=subprocess.DEVNULL, cwd="/")
        super().stop()

    def database(self) -> str:
        """Make an empty database and return its URL."""
        name = f"test_{uuid.uuid4().hex}"
        asked = [
            "psql",
            "-q",
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-U",
            "postgres",
            "-c",
            f"create database {name}",
        ]
        subprocess.run(asked, check=True, cwd="/")
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    def _as_postgres(self) -> list[str]:
        if os.geteuid() != 0:
            return []
        return [*tied(), "--reuid=postgres", "--regid=postgres", "--init-groups"]


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """Start a server, and end it however the block ends."""
    server.start()
    try:
        yield server
    finally:
        server.stop()


class Collector(Server):
    """A stock Collector with a configuration of `collector-config/`, to backends on loopback.

    Args:
        program: the binary.
        folder: takes its log and its queue.
        config: the file's name.
        laid_over: what changes it: names of further files, or `yaml:` and a setting, as `yaml:exporters::debug: {}`.
        environ: what the configuration asks for, in lower case, as the addresses of backends.
    """

    name = "collector"

    def __init__(self, program: Path, folder: Path, config: str, *laid_over: str, **environ: str) -> None:
        super().__init__(program, folder)
        self.grpc = f"127.0.0.1:{reserved_port()}"
        self.http = f"127.0.0.1:{reserved_port()}"
        self.queue = folder / "queue"
        self._metrics_port = reserved_port()
        self._configs = [part if part.startswith("yaml:") else str(CONFIGS / part) for part in (config, *laid_over)]
        self._environ = {name.upper(): value for name, value in environ.items()}

    def command(self) -> list[str]:
        """Return what starts it."""
        return [str(self.program), *(f"--config={config}" for config in self._configs)]

    def environ(self) -> dict[str, str]:
        """Return what the configuration asks for."""
        return {
            "HEALTH": f"127.0.0.1:{self.port}",
            "OTLP_GRPC": self.grpc,
            "OTLP_HTTP": self.http,
            "METRICS_PORT": str(self._metrics_port),
            "QUEUE_FOLDER": str(self.queue),
            **self._environ,
        }

    def is_up(self) -> bool:
        """Tell whether it says that it is healthy."""
        return self.answers("/")

    def validate(self) -> subprocess.CompletedProcess[str]:
        """Ask it whether the configuration is sound."""
        asked = [self.command()[0], "validate", *self.command()[1:]]
        environ = {**os.environ, **self.environ()}
        return subprocess.run(asked, env=environ, capture_output=True, text=True, timeout=START_S, check=False)

    def said(self) -> str:
        """Return its log, of all the times that it was started."""
        return (self.folder / f"{self.name}.log").read_text(errors="replace")

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric over the series that have these labels; 0 where there is none."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._metrics_port}/metrics", timeout=5) as answer:
            series = [line.rpartition(" ") for line in answer.read().decode().splitlines() if line.startswith(name)]
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        return sum(float(value) for told, _, value in series if all(one in told for one in wanted))
