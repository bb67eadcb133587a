"""The viewer's files: what `scripts/build_ui.py` made. Every other path is a page of the viewer: its one document."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from starlette.responses import HTMLResponse, Response

from otel_agent_journal.server.problems import Refused

if TYPE_CHECKING:
    from starlette.requests import Request

    from otel_agent_journal.server.guard import Access

STATIC: Final = Path(__file__).parent / "static"
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
_ENCODINGS: Final = (("br", ".br"), ("gzip", ".gz"))
_ROOT: Final = "%ROOT_PATH%"
_NOT_BUILT: Final = """<!doctype html><meta charset=utf-8><title>agent-journal</title>
<h1>The viewer is not built</h1>
<p>This is a checkout, or a package that was built without it. Build it with
<code>python scripts/build_ui.py</code>, then load this page again.</p>
<p>The API is there: <a href="%ROOT_PATH%/api/sessions">/api/sessions</a>,
<a href="%ROOT_PATH%/openapi.json">/openapi.json</a>.</p>"""


class Files:
    """Serves files of a folder by their names, with ETags; read when asked for, so that a new build shows at once."""

    def __init__(self, access: Access, folder: Path = STATIC) -> None:
        self._root_path = access.root_path
        self._folder = folder

    def response(self, request: Request, path: str) -> Response:
        """Return a file, or the viewer's document.

        Raises:
            Refused: there is no such file, or it is not asked for by GET.
        """
        if request.method not in ("GET", "HEAD"):
            raise Refused(405, f"{request.method} is not done here; GET is", headers={"Allow": "GET"})
        if path.startswith("/static/"):
            return self._static(request, path.removeprefix("/static/"))
        if path in ("/favicon.ico", "/robots.txt"):
            return self._static(request, path.removeprefix("/"))
        return self._document(request)

    def _static(self, request: Request, name: str) -> Response:
        file = self._folder / name
        kind = _TYPES.get(file.suffix)
        if kind is None or "\\" in name or not all(part.strip(".") for part in name.split("/")) or not file.is_file():
            raise Refused(404, f"there is no file {name[:200]}")
        accepted = request.headers.get("accept-encoding", "")
        for encoding, suffix in _ENCODINGS:
            packed = file.with_name(file.name + suffix)
            if encoding in accepted and packed.is_file():
                headers = {"Content-Encoding": encoding, "Vary": "Accept-Encoding"}
                return _tagged(request, packed.read_bytes(), kind, headers)
        return _tagged(request, file.read_bytes(), kind, {"Vary": "Accept-Encoding"})

    def _document(self, request: Request) -> Response:
        file = self._folder / "index.html"
        if not file.is_file():
            return HTMLResponse(_NOT_BUILT.replace(_ROOT, self._root_path), headers={"Cache-Control": "no-store"})
        text = file.read_text(encoding="utf-8").replace(_ROOT, self._root_path)
        return _tagged(request, text.encode(), _TYPES[".html"], {})


def _tagged(request: Request, data: bytes, kind: str, headers: dict[str, str]) -> Response:
    tag = f'"{sha256(data).hexdigest()[:32]}"'
    headers = {**headers, "ETag": tag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(data, headers=headers, media_type=kind)
