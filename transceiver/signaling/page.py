"""The demo page's files, served from a table that is read once: a path that is not in it does not exist."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aiohttp import web

FOLDER = Path(__file__).parents[1] / "web"
CONTENT_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".ico": "image/x-icon",
    ".js": "text/javascript",
    ".json": "application/json",
    ".mjs": "text/javascript",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".woff2": "font/woff2",
}
TEXT_TYPES = ("text/", "application/json", "image/svg")
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; media-src 'self' blob:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Permissions-Policy": "microphone=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


class Page:
    """Every file of a folder, in memory."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self.allow(())
        self._files: dict[str, tuple[bytes, str]] = {}
        for file in sorted(folder.rglob("*")):
            content_type = CONTENT_TYPES.get(file.suffix)
            if file.is_file() and content_type is not None:
                path = f"/{file.relative_to(folder).as_posix()}"
                self._files[path] = (file.read_bytes(), content_type)
                if file.name == "index.html":
                    self._files[path.removesuffix("index.html")] = self._files[path]

    def allow(self, regions: Sequence[str]) -> None:
        """Let the page go where its calls may be referred to: these origins, besides ours."""
        connect = " ".join(["connect-src 'self'", *regions])
        policy = HEADERS["Content-Security-Policy"]
        self._headers = HEADERS | {"Content-Security-Policy": f"{policy}; {connect}"}

    def register(self, router: web.UrlDispatcher) -> None:
        """Add a route per file."""
        for path in self._files:
            router.add_get(path, self._serve)

    async def _serve(self, request: web.Request) -> web.Response:
        body, content_type = self._files[request.path]
        charset = "utf-8" if content_type.startswith(TEXT_TYPES) else None
        return web.Response(body=body, content_type=content_type, charset=charset, headers=self._headers)
