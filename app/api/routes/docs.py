"""The routes as a page to read, made from the OpenAPI document; it loads nothing from anywhere."""

from __future__ import annotations

from html import escape
from typing import Any

from litestar import MediaType, Request, get

from app.api.openapi import document

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem }
code { font-size: 1rem } dd { margin: 0 0 1rem 0 } b { display: inline-block; min-width: 4.5rem }
"""


@get("/docs", media_type=MediaType.HTML, include_in_schema=False, scope=None)
async def docs(request: Request[Any, Any, Any]) -> str:
    """Every route with what it is for."""
    known = document(request.app)
    rows = [
        f"<dt><code><b>{method.upper()}</b>{escape(path)}</code></dt>"
        f"<dd>{escape(operation.get('description') or operation.get('summary') or '')}</dd>"
        for path, item in sorted(known["paths"].items())
        for method, operation in item.items()
        if isinstance(operation, dict)
    ]
    title = escape(known["info"]["title"])
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{STYLE}</style>"
        f"<h1>{title}</h1><p>The whole document: <a href=/openapi.json>/openapi.json</a></p>"
        f"<dl>{''.join(rows)}</dl></html>"
    )


ROUTES = [docs]
