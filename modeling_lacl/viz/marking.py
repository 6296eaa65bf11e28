"""Text with its entities as HTML, and by what these can be shown and hidden: their types and errors."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterable, Sequence

from .marks import Closing, Colours, Entity, Opening, marked
from .page import Choice, escaped

_CORRECT = "correct"
"""The kind of entities without an `error`."""

_DEEPEST = 3
"""Marks inside of each other that are drawn one around the other; from there on they are equally high."""


class Marking:
    """Marks the entities of a page in its texts.

    Args:
        *sides: All entities of the page, such as the gold and the predicted ones.
        labels: Types that choose their colours first; see [`Colours`].

    Attributes:
        types: Choices among the types, the most frequent first, with the number of entities on each side.
        kinds: Choices among the kinds of error, `correct` first, with the number of entities or pairs.
        scored: Whether any entity has a score.
    """

    def __init__(self, *sides: Iterable[Entity], labels: Iterable[str] = ()) -> None:
        given = [list(side) for side in sides]
        of_types = [Counter(entity["entity_group"] for entity in side) for side in given]
        of_kinds = [Counter(_kind(entity) for entity in side) for side in given]
        types = _by_number(sum(of_types, Counter()))
        kinds = sorted(_by_number(sum(of_kinds, Counter())), key=lambda kind: kind != _CORRECT)
        self._colours = Colours([*labels, *types])
        self.types = [
            Choice(label, " / ".join(f"{side[label]:,}" for side in of_types), self._colours[label].name)
            for label in types
        ]
        # The two entities of a pair are of one kind.
        self.kinds = [
            Choice(kind, f"{max(side[kind] for side in of_kinds):,}", "wrong" * (kind != _CORRECT))
            for kind in kinds
        ]
        self.scored = any("score" in entity for side in given for entity in side)
        self._type_numbers = {label: number for number, label in enumerate(types)}
        self._kind_numbers = {kind: number for number, kind in enumerate(kinds)}

    def render(self, text: str, entities: Sequence[Entity]) -> str:
        """Return a text with its entities marked, and their nearest examples below it.

        Each mark ends with the type of its entity and, if it has them, its score and its `error`. Marks may
        be inside of others.
        """
        parts: list[str] = []
        opened: list[list[int]] = []  # place of the tag in `parts`, and how deep the marks inside are nested
        deepest = 0
        for part in marked(text, entities):
            if isinstance(part, Opening):
                opened.append([len(parts), 0])
                parts.append("")
            elif isinstance(part, Closing):
                place, inside = opened.pop()
                parts[place] = self._tag(part, inside)
                parts.append(
                    f"<small><strong>{escaped(part.label())}</strong>{_note(part.entity)}</small></mark>"
                )
                deepest = max(deepest, inside)
                if opened:
                    opened[-1][1] = max(opened[-1][1], inside + 1)
            else:
                parts.append(html.escape(part))
        high = f" high-{min(deepest, _DEEPEST)}" if deepest else ""
        return f'<p class="text{high}" dir="auto">{"".join(parts)}</p>{self._examples(text, entities)}'

    def _examples(self, text: str, entities: Sequence[Entity]) -> str:
        found = [entity for entity in entities if entity.get("nearest_example")]
        if not found:
            return ""
        found.sort(key=lambda entity: (entity["start"], -entity["end"]))
        words = [" ".join(text[entity["start"] : entity["end"]].split()) for entity in found]
        examples = [escaped(entity["nearest_example"]) for entity in found]
        items = "".join(
            f"<li{self._data(entity)}><strong>{escaped(word)}</strong> ≈ {example}</li>"
            for entity, word, example in zip(found, words, examples, strict=True)
        )
        return f'<ul class="examples" aria-label="nearest examples" dir="auto">{items}</ul>'

    def _tag(self, part: Closing, inside: int) -> str:
        names = [self._colours[part.entity["entity_group"]].name]
        names += [f"around-{min(inside, _DEEPEST)}"] * bool(inside) + ["rest"] * part.begun
        names += ["wrong"] * ("error" in part.entity)
        return f'<mark class="{" ".join(names)}"{self._data(part.entity)} title="{_title(part.entity)}">'

    def _data(self, entity: Entity) -> str:
        """Return the attributes by which the script of the page knows what to show."""
        data = f' data-type="{self._type_numbers[entity["entity_group"]]}"'
        if len(self.kinds) > 1:
            data += f' data-kind="{self._kind_numbers[_kind(entity)]}"'
        return data + (f' data-score="{entity["score"]:.4g}"' if "score" in entity else "")


def _kind(entity: Entity) -> str:
    return str(entity.get("error", _CORRECT))


def _by_number(counts: Counter[str]) -> list[str]:
    return sorted(counts, key=lambda name: (-counts[name], name))


def _note(entity: Entity) -> str:
    score = f"\u00a0{entity['score']:.2f}" if "score" in entity else ""
    return score + (f" <em>{escaped(entity['error'])}</em>" if "error" in entity else "")


def _title(entity: Entity) -> str:
    example = entity.get("nearest_example")
    parts = [
        entity["entity_group"],
        f"score {entity['score']:.3f}" if "score" in entity else "",
        entity.get("error", ""),
        f"nearest example: {example}" if example else "",
    ]
    return escaped(", ".join(filter(None, parts)))
