"""The OpenAPI document, and Swagger UI to read it and try it with; nothing is loaded from elsewhere."""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
from litestar import MediaType, Request, Response, get
from litestar.params import FromPath

from app.api.errors import missing
from app.api.openapi import document

PACKAGE = "drf_spectacular_sidecar"
FILES = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tunesmith</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
<link rel="icon" href="docs/favicon-32x32.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
START = """SwaggerUIBundle({
    url: new URL("openapi.json", document.baseURI).href,
    dom_id: "#swagger-ui",
    deepLinking: true,
    displayRequestDuration: true,
    docExpansion: "list",
    defaultModelsExpandDepth: 0,
    filter: true,
    persistAuthorization: false,
    tryItOutEnabled: true,
    validatorUrl: null,
});
"""
# Swagger UI sets style attributes and draws its icons from data: URLs; it needs no more.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


def sidecar() -> Path:
    """The folder of Swagger UI in the installed package, which is never imported: it wants Django."""
    spec = find_spec(PACKAGE)
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "static" / PACKAGE / "swagger-ui-dist"


@get("/openapi.json", include_in_schema=False, scope=None)
async def openapi(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The OpenAPI document."""
    known: bytes | None = request.app.state.get("openapi")
    if known is None:  # it never changes while the process runs, and takes long to make
        known = request.app.state.openapi = msgspec.json.encode(document(request.app))
    return _kept(request, known, "application/json", hashlib.sha256(known).hexdigest()[:16])


@get("/docs", include_in_schema=False, scope=None)
async def docs() -> Response[str]:
    """The page."""
    return Response(PAGE, media_type=MediaType.HTML, headers=HEADERS)


@get("/docs/{name:str}", include_in_schema=False, scope=None)
async def file(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[bytes]:
    """A file of the page."""
    if name == "start.js":
        return _kept(
            request, START.encode(), "text/javascript", hashlib.sha256(START.encode()).hexdigest()[:16]
        )
    if name not in FILES:
        raise missing("file", name)
    return _kept(request, (sidecar() / name).read_bytes(), FILES[name], version(PACKAGE))


def _kept(request: Request[Any, Any, Any], content: bytes, kind: str, tag: str) -> Response[bytes]:
    """Bytes that a browser keeps and asks for again by their tag."""
    headers = HEADERS | {"etag": f'"{tag}"'}
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(b"", status_code=304, headers=headers)
    return Response(content, media_type=kind, headers=headers)


ROUTES = [openapi, docs, file]
