"""Where a lake lies: a folder of this machine, or a prefix of a bucket of S3; both through pyarrow's file systems.

Credentials of S3 are those of the environment, the profile or the machine's role, as pyarrow finds them; there are none
in a URL. Files appear whole: each is written under another name, and moved. Knows nothing of what is in them.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from otel_agent_journal.errors import ConfigError, LakeError
from otel_agent_journal.masking import masked
from otel_agent_journal.places import make_folder
from otel_agent_journal.query.arrow import pa
from otel_agent_journal.store.registry import AWS_CREDENTIALS, options_of, refuse_credentials

fs: Final[Any] = import_module("pyarrow.fs")  # it carries no types

_OPTIONS: Final = ("endpoint_url", "region")
_LONGEST: Final = 300  # characters of what a file system says
_CONNECT_S: Final = 5.0
_REQUEST_S: Final = 60.0


class Found(NamedTuple):
    """A file that is there."""

    path: str
    size_bytes: int


class Place:
    """A folder or a prefix. Paths are relative to it, with slashes. May be used from several threads.

    Args:
        url: as it may be printed.
        files: pyarrow's file system.
        root: the folder, or bucket and prefix.
        folder: the same for a folder of this machine, None otherwise.
    """

    def __init__(self, url: str, files: Any, root: str, folder: Path | None) -> None:
        self.url = url
        self._files = files
        self._root = root
        self._folder = folder

    def is_there(self, path: str) -> bool:
        """Tell whether a file is there."""
        with self._said(f"look for {path}"):
            return self._files.get_file_info(self._at(path)).type == fs.FileType.File

    def listed(self, path: str) -> list[Found]:
        """Return the files below a path, in order of their names; none where there is no such folder."""
        selector = fs.FileSelector(self._at(path), recursive=True, allow_not_found=True)
        with self._said(f"list {path}"):
            infos = self._files.get_file_info(selector)
        cut = len(self._root) + 1
        found = (Found(info.path[cut:], info.size) for info in infos if info.type == fs.FileType.File)
        return sorted(one for one in found if not one.path.endswith("/"))

    def read(self, path: str) -> bytes | None:
        """Return what is in a small file, or None where it is not there."""
        try:
            with self._said(f"read {path}"), self._files.open_input_stream(self._at(path)) as stream:
                return stream.read()
        except LakeError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise

    def open(self, path: str) -> Any:
        """Return a file to read at any place of it."""
        with self._said(f"open {path}"):
            return self._files.open_input_file(self._at(path))

    def create(self, path: str) -> Any:
        """Return a stream into a new file; what was there of that name is replaced."""
        self._make_folder_of(path)
        with self._said(f"write {path}"):
            return self._files.open_output_stream(self._at(path))

    def write(self, path: str, data: bytes) -> None:
        """Write a small file whole, or not at all; it is durable when this returns."""
        written = path if self._folder is None else f"{path}.new"  # S3 shows an object once it is there
        with self._said(f"write {path}"):
            with self.create(written) as stream:
                stream.write(data)
            if self._folder is not None:
                self.settle(written)
                self.move(written, path)

    def settle(self, path: str) -> None:
        """See to it that a file is durable. S3's are."""
        if self._folder is not None:
            with self._said(f"write {path}"):
                _sync(self._folder / path)

    def move(self, path: str, to: str) -> None:
        """Move a file, and replace what is there."""
        self._make_folder_of(to)
        with self._said(f"write {to}"):
            self._files.move(self._at(path), self._at(to))
            if self._folder is not None:
                _sync((self._folder / to).parent)

    def delete(self, path: str) -> None:
        """Delete a file, if it is there."""
        try:
            with self._said(f"delete {path}"):
                self._files.delete_file(self._at(path))
        except LakeError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise

    @contextmanager
    def explained(self, doing: str) -> Generator[None]:
        """Turn what Arrow raises in a block into an error that says where, and what to do next."""
        with self._said(doing):
            yield

    @contextmanager
    def _said(self, doing: str) -> Generator[None]:
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise LakeError(f"lake {self.url}: cannot {doing}: {lines[0][:_LONGEST]}; {self._advice(error)}") from error

    def _advice(self, error: BaseException) -> str:
        if self._folder is not None:
            return "look whether the folder is there, may be written to, and has room"
        if "ACCESS_DENIED" in str(error) or "AWS Error UNKNOWN" in str(error):
            return "look at the credentials, which are those of the environment, the profile or the role"
        return "look at bucket, region and endpoint; what is there stays, and the same command goes on"

    def _make_folder_of(self, path: str) -> None:
        if self._folder is not None:
            with self._said(f"make the folder of {path}"):
                make_folder((self._folder / path).parent)

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root


def open_place(url: str, environ: Mapping[str, str] | None = None) -> Place:
    """Return the place that a URL or a path names. Whether it can be reached shows at the first call.

    Args:
        url: a folder, or `s3://bucket/prefix`, with `?region=` and `?endpoint_url=` where these are needed.
        environ: where the endpoint of S3 is looked for, the process's own by default.

    Raises:
        ConfigError: it names neither, or has an option that is not known.
    """
    scheme, has_scheme, _ = url.partition("://")
    if not has_scheme:
        folder = Path(os.path.abspath(url))  # noqa: PTH100 - links stay what they are
        return Place(str(folder), fs.LocalFileSystem(), str(folder), folder)
    if scheme.lower() != "s3":
        raise ConfigError(f"lake {masked(url)}: a lake is a folder, or s3://bucket/prefix")
    refuse_credentials(url, AWS_CREDENTIALS.replace("boto3", "pyarrow").replace(" (?profile=NAME)", " (AWS_PROFILE)"))
    options = options_of(url)
    for name in options:
        if name not in _OPTIONS:
            raise ConfigError(f"lake {masked(url)}: '{name}' is no option; there are {' and '.join(_OPTIONS)}")
    root = url.partition("?")[0].partition("://")[2].strip("/")
    if not root:
        raise ConfigError(f"lake {masked(url)} names no bucket; write s3://bucket/prefix")
    return Place(masked(url), _s3(options, os.environ if environ is None else environ), root, None)


def _s3(options: Mapping[str, str], environ: Mapping[str, str]) -> Any:
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    endpoint = options.get("endpoint_url") or next((environ[name] for name in names if environ.get(name)), None)
    said: dict[str, Any] = {"connect_timeout": _CONNECT_S, "request_timeout": _REQUEST_S}
    region = options.get("region") or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    if region:
        said["region"] = region
    if endpoint:
        parts = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
        said |= {"endpoint_override": parts.netloc, "scheme": parts.scheme}
    return fs.S3FileSystem(**said)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
