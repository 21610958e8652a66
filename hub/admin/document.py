"""The OpenAPI document and the page that shows it, for everybody: they tell what stands in the source, and nothing of what is configured.

The page is three files of the package. It loads nothing from elsewhere and runs nothing but its own script, and its policy says so.
"""

import asyncio
from collections.abc import Callable
from functools import cache
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

POLICY = "; ".join(
    (
        *("default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "img-src 'self'"),
        *("base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"),
    )
)
"""Nothing inline, nothing remote, no framing, and no text that becomes markup."""

HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}
_FILES = {"/docs": ("index.html", "text/html"), "/docs/page.css": ("page.css", "text/css"), "/docs/page.js": ("page.js", "text/javascript")}


def routes(document: Callable[[], str]) -> list[Route]:
    """`document` returns the OpenAPI document; the first time, that takes some tens of milliseconds."""

    async def openapi(request: Request) -> Response:
        return Response(await asyncio.to_thread(document), headers=HEADERS, media_type="application/json")

    return [Route("/openapi.json", openapi), *(Route(path, _shown(*file)) for path, file in _FILES.items())]


def _shown(name: str, media: str) -> Callable[[Request], Response]:
    def shown(request: Request) -> Response:
        return Response(_text(name), headers=HEADERS, media_type=media)

    return shown


@cache
def _text(name: str) -> str:
    return (files("hub.admin") / "browser" / name).read_text(encoding="utf-8")
