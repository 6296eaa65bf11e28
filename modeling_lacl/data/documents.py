"""Cut a document with spans into its lines, so that no span is cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def line_ranges(text: str, spans: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the (start, end) of each line of a text; lines that share a span are one.

    Args:
        text: The text.
        spans: (start, end) of the spans, in characters.

    Example:
        >>> list(line_ranges("Ana\\nRuiz\\nleft", [(0, 8)]))
        [(0, 9), (9, 13)]
    """
    start = 0
    while start < len(text):
        stop = start
        while True:
            newline = text.find("\n", stop)
            stop = len(text) if newline < 0 else newline + 1
            if stop == len(text) or not any(one < stop < end for one, end in spans):
                break
        yield start, stop
        start = stop
