"""Arguments that a user gives: of the right kind and in their range, or an error that names them."""

from __future__ import annotations

import operator
from typing import Any


def whole_number(name: str, value: Any, least: int, most: int | None = None) -> int:
    """`value` as an int: Python's, NumPy's or torch's.

    Raises:
        TypeError: It is no whole number, but a text, a fraction, None, a truth value.
        ValueError: It is out of its range.
    """
    range_of = f"{least} or more" if most is None else f"from {least} to {most}"
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None:
        raise TypeError(f"{name} is {value!r}: give a whole number, {range_of}")
    if number < least or (most is not None and number > most):
        raise ValueError(f"{name} is {value}: give a whole number, {range_of}")
    return number


def real_number(name: str, value: Any, least: float, most: float | None = None) -> float:
    """`value` as a float: Python's, NumPy's or torch's.

    Raises:
        TypeError: It is no number, but a text, None, a truth value.
        ValueError: It is out of its range, or NaN.
    """
    range_of = f"{least:g} or more" if most is None else f"from {least:g} to {most:g}"
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise TypeError(f"{name} is {value!r}: give a number, {range_of}")
    number = float(value)
    if not (least <= number and (most is None or number <= most)):
        raise ValueError(f"{name} is {value}: give a number, {range_of}")
    return number


def fast_tokenizer(tokenizer: Any) -> None:
    """Checks that `tokenizer` gives character offsets.

    Raises:
        TypeError: It is no tokenizer.
        ValueError: It is a slow one.
    """
    if not hasattr(tokenizer, "is_fast"):
        raise TypeError(
            f"tokenizer is of type {type(tokenizer).__name__}: give the model's own, `model.tokenizer`, or "
            "one from `AutoTokenizer.from_pretrained`"
        )
    if not tokenizer.is_fast:
        raise ValueError(
            f"{type(tokenizer).__name__} gives no character offsets: load the fast one, use_fast=True"
        )
