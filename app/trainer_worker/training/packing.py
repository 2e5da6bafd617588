"""Several rows in one sequence: fewer sequences to be computed, each row still read for itself."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Sequence

from app.datasets.tokenise import Tokens


def pack(rows: Sequence[Tokens], length: int) -> list[list[Tokens]]:
    """The rows in sequences of at most `length` tokens: the longest first, each where it leaves least room.

    The same rows make the same sequences. No row is longer than `length`, and none is cut.
    """
    sequences: list[list[Tokens]] = []
    with_room: defaultdict[int, list[int]] = defaultdict(list)
    rooms: list[int] = []  # those that some sequence has, in order
    for row in sorted(rows, key=lambda row: -len(row.input_ids)):
        size = len(row.input_ids)
        at = bisect_left(rooms, size)
        if at == len(rooms):
            number, room = len(sequences), length
            sequences.append([])
        else:
            room = rooms[at]
            number = with_room[room].pop()
            if not with_room[room]:
                del rooms[at]
        sequences[number].append(row)
        if left := room - size:
            if not with_room[left]:
                insort(rooms, left)
            with_room[left].append(number)
    return sequences
