"""The targets of a recipe: target domains with their support sets, and episodes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..data.corpora.registry import CORPORA
from ..reporting import ZERO_SHOT


@dataclass(kw_only=True)
class TransferTarget:
    """One target domain: a test set and the support sets to adapt on.

    The support sets are listed in `support`, or are the first `sets` files of a folder, or are sampled by
    the greedy K~2K-shot rule.

    Args:
        name: Name of the domain in the report.
        test: File of the test set; with `corpus` the folder of that corpus, whose test split is used.
        corpus: Name of a corpus (see `load_corpus`).
        types: Evaluate only these types: entities of other types count as outside, in the test set and in
            the support sets. For tag-set extension, where the source model was trained on the other types of
            the corpus.
        support: Files of the support sets, by shots: `{"1-shot": [file, …], "5-shot": [file, …]}`.
        support_dir: Folder of support sets, with `{shots}` as a placeholder for the number of shots.
        sample_from: File to sample support sets from; with `corpus` a split, as in `validation`.
        sample_seed: Random seed of the sampling.
        shots: Numbers of shots for `support_dir` or `sample_from`, as in `[1, 5]`.
        sets: Number of files to use from each folder, in natural order (`2.txt` before `10.txt`), by default
            all; or number of support sets to sample, by default one.
        labels: Entity types for the zero-shot row; by default those of the support sets or, without support
            sets, those in `label_names`.
        label_names: Label names of the types: a mapping, the name of a packaged one, or a file.
        zero_shot: Whether to evaluate the source model zero-shot too, from label names alone.
    """

    name: str
    test: str
    support: dict[str, list[str]] = field(default_factory=dict)
    support_dir: str | None = None
    shots: list[int] = field(default_factory=list)
    sets: int | None = None
    labels: list[str] | None = None
    label_names: str | dict[str, str] | None = None
    zero_shot: bool = False
    corpus: str | None = None
    types: list[str] | None = None
    sample_from: str | None = None
    sample_seed: int = 0

    def __post_init__(self) -> None:
        self._check_values()
        self._check_support()

    def _check_values(self) -> None:
        """Check the value of each key."""
        place = f"target {self.name!r}"
        check(is_text(self.name) and is_text(self.test), f"{place}: 'name' and 'test' must be texts")
        check(
            isinstance(self.support, dict)
            and all(files and are_texts(files) for files in self.support.values()),
            f"{place}: 'support' must map shots to a list of files, as in {{1-shot: [support/0.txt]}}",
        )
        self.support = {str(shots): files for shots, files in self.support.items()}
        for shots, files in self.support.items():
            check(shots != ZERO_SHOT, f"{place}: for a zero-shot row give 'zero_shot: true'")
            check(len(set(files)) == len(files), f"{place}: 'support' lists a file twice under {shots!r}")
        check(
            isinstance(self.shots, list) and all(map(is_count, self.shots)),
            f"{place}: 'shots' must be a list of whole numbers, as in [1, 5]",
        )
        check(isinstance(self.zero_shot, bool), f"{place}: 'zero_shot' must be true or false")
        check(is_seed(self.sample_seed), f"{place}: 'sample_seed' must be 0 or above")
        optional: dict[str, tuple[Callable[[Any], bool], str]] = {
            "support_dir": (is_text, "a folder"),
            "sets": (is_count, "a whole number above 0"),
            "labels": (are_texts, "a list of entity types"),
            "label_names": (are_names, "a name, a file or a mapping of texts to texts"),
            "corpus": (lambda name: name in CORPORA, f"one of {', '.join(CORPORA)}"),
            "types": (are_texts, "a list of entity types"),
            "sample_from": (is_text, "a file or a split"),
        }
        for key, (is_valid, wanted) in optional.items():
            value = getattr(self, key)
            check(value is None or is_valid(value), f"{place}: {key!r} must be {wanted}")

    def _check_support(self) -> None:
        """Check that the keys define support sets in exactly one way, or only zero-shot."""
        place = f"target {self.name!r}"
        if self.sample_from is not None:
            check(
                not self.support and self.support_dir is None,
                f"{place}: 'sample_from' samples support sets; give no 'support' or 'support_dir' with it",
            )
            check(bool(self.shots), f"{place}: 'sample_from' needs 'shots', as in [1, 5]")
        elif self.support_dir is None:
            check(
                not self.shots and self.sets is None,
                f"{place}: 'shots' and 'sets' need 'support_dir' or 'sample_from'",
            )
            check(
                bool(self.support) or self.zero_shot,
                f"{place}: nothing to evaluate; "
                "give 'support', or 'support_dir' or 'sample_from' with 'shots', or 'zero_shot: true'",
            )
        else:
            check(not self.support, f"{place}: give 'support' or 'support_dir', not both")
            check(bool(self.shots), f"{place}: 'support_dir' needs 'shots', as in [1, 5]")
            check(
                "{shots}" in self.support_dir or len(self.shots) == 1,
                f"{place}: 'support_dir' needs '{{shots}}' in place of the number of shots, "
                "as in 'support-{shots}shot'",
            )

    def support_files(self, folder: Path) -> dict[str, list[str]]:
        """Return the files of the support sets by shots, as paths relative to `folder`.

        Raises:
            ValueError: A folder is missing or has fewer files than `sets`.
        """
        if self.support_dir is None:
            return self.support
        found = {}
        for shots in self.shots:
            relative = self.support_dir.replace("{shots}", str(shots))
            directory = folder / relative
            check(
                directory.is_dir(),
                f"target {self.name!r}: no support folder {directory}; "
                "set 'data_root' (--data_root) to the folder of the data",
            )
            files = [path.name for path in directory.iterdir() if path.is_file()]
            names = sorted(
                (name for name in files if not name.startswith(".")),
                key=_natural_order,
            )
            check(
                len(names) >= (self.sets or 1),
                f"target {self.name!r}: {directory} holds {len(names)} support sets, "
                f"fewer than the {self.sets or 1} requested",
            )
            found[f"{shots}-shot"] = [f"{relative.rstrip('/')}/{name}" for name in names[: self.sets]]
        return found


@dataclass(kw_only=True)
class EpisodeTarget:
    """N-way K~2K-shot episodes, sampled by the rule of FEW-NERD (Ding et al., ACL 2021) or published.

    Args:
        name: Name of the target in the report.
        file: File of labelled sentences, or of episodes.
        published: Whether the file contains episodes, as in FEW-NERD's `episode-data`:
            `file: episode-data/inter/test_5_1.jsonl`. The first `number` episodes are used; `n_way`,
            `k_shot` and `q_shot` must describe them.
        n_way: Number of types in an episode.
        k_shot: K for support sets, which have K to 2K entities of each type.
        q_shot: The same for query sets.
        number: Number of episodes.
        seed: Random seed of the sampling.
        label_names: Label names of the types: a mapping, the name of a packaged one, or a file.
    """

    name: str
    file: str
    n_way: int = 5
    k_shot: int = 1
    q_shot: int = 1
    number: int = 200
    seed: int = 0
    label_names: str | dict[str, str] | None = None
    published: bool = False

    def __post_init__(self) -> None:
        place = f"episodes {self.name!r}"
        check(is_text(self.name) and is_text(self.file), f"{place}: 'name' and 'file' must be texts")
        check(isinstance(self.published, bool), f"{place}: 'published' must be true or false")
        for key in ("n_way", "k_shot", "q_shot", "number"):
            check(is_count(getattr(self, key)), f"{place}: {key!r} must be a whole number above 0")
        check(is_seed(self.seed), f"{place}: 'seed' must be 0 or above")
        check(
            self.label_names is None or isinstance(self.label_names, str | dict),
            f"{place}: 'label_names' must be a mapping, a file, or the name of a packaged mapping",
        )

    @property
    def shots(self) -> str:
        """N and K in the notation of FEW-NERD."""
        return f"{self.n_way}-way {self.k_shot}~{2 * self.k_shot}-shot"


def _natural_order(name: str) -> list[tuple[int, str]]:
    """Return a sort key for natural order: `2.txt` before `10.txt`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]+)", name)]


def check(condition: bool, message: str) -> None:
    """Raise a ValueError with the message unless the condition holds."""
    if not condition:
        raise ValueError(message)


def is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def are_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(is_text, value))


def is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def is_seed(value: object) -> bool:
    return isinstance(value, int) and value >= 0


def are_names(value: object) -> bool:
    return is_text(value) or (
        isinstance(value, dict) and all(is_text(text) for item in value.items() for text in item)
    )
