"""Counts and lengths of a file's rows, in memory that does not grow with the file."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from app.datasets.formats import AnyRow, Pair, Row, Text
from app.datasets.sizes import about_tokens

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


class Lengths(Struct, frozen=True):
    """Spread of a count over the rows: exact below 1,000, within 1 % above."""

    smallest: Annotated[int, Meta(description="The least.")]
    mean: Annotated[float, Meta(description="The mean.")]
    p50: Annotated[int, Meta(description="Half of the rows have at most this.")]
    p90: Annotated[int, Meta(description="Of ten rows nine have at most this.")]
    p99: Annotated[int, Meta(description="Of a hundred rows ninety-nine have at most this.")]
    largest: Annotated[int, Meta(description="The most.")]


class Statistics(Struct, frozen=True):
    """Counts over the rows without fault; `characters` are those of texts and message contents.

    Messages of a preference pair are those of the prompt and of both sides. `bytes` are the file's as it is,
    `unpacked_bytes` those of its text. `longest_row` is about how many tokens the longest one has.
    """

    rows: Annotated[int, Meta(description="Rows without a fault.")]
    bytes: Annotated[int, Meta(description="Of the file as it is.")]
    characters: Annotated[int, Meta(description="Of all texts and message contents.")]
    messages: Annotated[
        int,
        Meta(description="Messages of chats; of a preference pair those of the prompt and of both sides."),
    ]
    roles: Annotated[dict[str, int], Meta(description="How many messages there are of each role.")]
    duplicate_rows: Annotated[int, Meta(description="Rows that are the same as an earlier one.")]
    characters_per_row: Annotated[
        Lengths | None, Meta(description="Their spread over the rows; null without rows.")
    ]
    messages_per_row: Annotated[
        Lengths | None, Meta(description="Their spread over the rows; null where rows have none.")
    ]
    tool_calls: Annotated[int, Meta(description="Calls of tools in messages.")] = 0
    rows_with_tools: Annotated[int, Meta(description="Rows that offer tools.")] = 0
    unpacked_bytes: Annotated[int, Meta(description="Of the file's text, unpacked if it is gzipped.")] = 0
    longest_row: Annotated[int, Meta(description="About how many tokens the longest row has.")] = 0


class Spread:
    """A histogram with three significant digits, so that it has at most some thousand cells."""

    def __init__(self) -> None:
        self.count = 0
        self.total = 0
        self.smallest = 0
        self.largest = 0
        self._cells: dict[int, int] = {}

    def add(self, value: int) -> None:
        """Count one value ≥ 0."""
        self.smallest = value if self.count == 0 else min(self.smallest, value)
        self.largest = max(self.largest, value)
        self.count += 1
        self.total += value
        unit = 10 ** max(0, len(str(value)) - 3)
        cell = value // unit * unit
        self._cells[cell] = self._cells.get(cell, 0) + 1

    def lengths(self) -> Lengths | None:
        """Smallest, mean, quantiles and largest; None when nothing was counted."""
        if not self.count:
            return None
        found = {name: self._quantile(share) for name, share in QUANTILES.items()}
        return Lengths(self.smallest, round(self.total / self.count, 2), largest=self.largest, **found)

    def _quantile(self, share: float) -> int:
        rank, seen = share * self.count, 0
        for cell in sorted(self._cells):
            seen += self._cells[cell]
            if seen >= rank:
                return cell
        return self.largest


class Counter:
    """Takes rows without faults one by one."""

    def __init__(self) -> None:
        self.rows = 0
        self._roles: dict[str, int] = {}
        self._characters = Spread()
        self._messages = Spread()
        self._tool_calls = self._rows_with_tools = self._longest = 0

    def add(self, row: AnyRow) -> int:
        """Count one row; its characters."""
        self.rows += 1
        messages: tuple[dict[str, Any], ...]
        if isinstance(row, Row):
            messages, tools = row.messages, row.tools
        elif isinstance(row, Pair):
            messages, tools = row.prompt + row.chosen + row.rejected, row.tools
        else:
            messages, tools = (), ()
        characters = len(row.text) if isinstance(row, Text) else 0
        roles = self._roles
        for message in messages:
            characters += len(message["content"])
            role = message["role"]
            roles[role] = roles.get(role, 0) + 1
            if "tool_calls" in message:
                self._tool_calls += len(message["tool_calls"])
        self._rows_with_tools += bool(tools)
        self._longest = max(self._longest, about_tokens(row))
        self._messages.add(len(messages))
        self._characters.add(characters)
        return characters

    def statistics(self, *, bytes: int, duplicate_rows: int, unpacked_bytes: int = 0) -> Statistics:
        """Everything counted so far."""
        return Statistics(
            rows=self.rows,
            bytes=bytes,
            duplicate_rows=duplicate_rows,
            characters=self._characters.total,
            messages=self._messages.total,
            roles=dict(sorted(self._roles.items())),
            characters_per_row=self._characters.lengths(),
            messages_per_row=self._messages.lengths(),
            tool_calls=self._tool_calls,
            rows_with_tools=self._rows_with_tools,
            unpacked_bytes=unpacked_bytes,
            longest_row=self._longest,
        )
