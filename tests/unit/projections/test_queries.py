"""The named queries in `sql/`."""

from __future__ import annotations

import pytest

from app.projections.fold import FOLDED
from app.projections.queries import named, sql
from app.projections.read_model import fingerprint


@pytest.mark.parametrize("stream", sorted(FOLDED))
def test_every_stream_has_the_queries_that_the_fold_needs(stream: str) -> None:
    queries = named(stream)
    assert {"known", "upsert"} <= set(queries)
    assert "FOR UPDATE" in queries["known"]
    assert not any(text.endswith(";") or "-- name" in text for text in queries.values())


@pytest.mark.parametrize("name", ["read_model", *sorted(FOLDED), "metrics"])
def test_table_names_are_unqualified_so_that_the_search_path_picks_the_read_model(name: str) -> None:
    assert "read." not in sql(name)
    assert "read_next." not in sql(name)


def test_the_fingerprint_follows_the_version_of_the_projection(monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint()
    monkeypatch.setattr("app.projections.read_model.PROJECTION", 99)
    assert fingerprint() != before
