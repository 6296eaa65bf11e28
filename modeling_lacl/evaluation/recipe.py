"""The recipe of an evaluation, read from YAML: checkpoint, targets, and support sets."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar, cast

from ..data.yaml_files import read_yaml
from ..hub.model_card import FREE_OPTIONS
from .targets import EpisodeTarget, TransferTarget, are_texts, check, is_count, is_seed, is_text

CONFIG_OPTIONS = (*FREE_OPTIONS, "threshold")
"""Options of the model's configuration that a recipe may override."""

_Recipe = TypeVar("_Recipe", "TransferTarget", "EpisodeTarget", "TransferRecipe", "ComparisonRecipe")


@dataclass(kw_only=True)
class TransferRecipe:
    """The evaluation of one source checkpoint: domain transfer, episodes, or both.

    Args:
        checkpoint: Folder or Hub name of the source model; or a list of several, which differ in the seed
            of their training. Scores are then means over them, and the results of each are in a folder of
            its own in `output`.
        targets: The target domains.
        episodes: N-way K~2K-shot episodes.
        method: Class of the model: `lacl`, or that of a baseline (see [`baselines`]).
        stage: Second stage: `lacl` for [`adapt`], or that of a baseline: `container` or `proml`.
        config: Options of the model's configuration to override, as in `{"viterbi": true}`; only those in
            `CONFIG_OPTIONS`.
        adapt: Further arguments of the second stage, as in `{"steps": 20}`.
        batch_size: Sentences per forward pass in prediction; does not change the results.
        seed: Random seed of adapting, and of the bootstrap over episodes.
        output: Folder for the results: `results.jsonl`, `report.md`, `report.json`.
        data_root: Folder that the paths of the targets are relative to; by default the recipe's folder.
        limit: Maximum number of support sets per target and number of shots.
    """

    checkpoint: str | list[str]
    targets: list[TransferTarget] = field(default_factory=list)
    episodes: list[EpisodeTarget] = field(default_factory=list)
    method: str = "lacl"
    stage: str = "lacl"
    config: dict[str, Any] = field(default_factory=dict)
    adapt: dict[str, Any] = field(default_factory=dict)
    batch_size: int = 32
    seed: int = 42
    output: str = "transfer-results"
    data_root: str | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        check(
            is_text(self.checkpoint) or (bool(self.checkpoint) and are_texts(self.checkpoint)),
            "'checkpoint' must be the folder or Hub name of a source model, or a list of them",
        )
        if isinstance(self.checkpoint, list):
            folders = [slug(name) for name in self.checkpoint]
            same = [name for name in self.checkpoint if folders.count(slug(name)) > 1]
            check(not same, f"'checkpoint' lists {' and '.join(same)}, whose results would share a folder")
        check(is_text(self.output), "'output' must be a folder")
        check(isinstance(self.adapt, dict), "'adapt' must be a mapping of arguments, as in {steps: 20}")
        check(is_count(self.batch_size), "'batch_size' must be a whole number above 0")
        check(is_seed(self.seed), "'seed' must be a whole number, 0 or above")
        check(self.limit is None or is_count(self.limit), "'limit' must be a whole number above 0")
        check(self.data_root is None or is_text(self.data_root), "'data_root' must be a folder")
        check(isinstance(self.config, dict), "'config' must be a mapping, as in {viterbi: true}")
        check(
            isinstance(self.targets, list)
            and isinstance(self.episodes, list)
            and bool(self.targets or self.episodes),
            "'targets' or 'episodes' must list at least one target",
        )
        self.targets = [
            target
            if isinstance(target, TransferTarget)
            else _build(TransferTarget, target, f"target {number}")
            for number, target in enumerate(self.targets, 1)
        ]
        self.episodes = [
            target
            if isinstance(target, EpisodeTarget)
            else _build(EpisodeTarget, target, f"episodes {number}")
            for number, target in enumerate(self.episodes, 1)
        ]
        names = [*(target.name for target in self.targets), *(target.name for target in self.episodes)]
        check(len(set(names)) == len(names), f"two targets have the same name: {', '.join(sorted(names))}")

    def select(self, names: Sequence[str]) -> None:
        """Keep only the targets and episodes with these names.

        Raises:
            ValueError: There is none of a name.
        """
        there = [one.name for one in self.targets] + [one.name for one in self.episodes]
        for name in names:
            check(name in there, f"no target {name!r}; there are {', '.join(there)}")
        self.targets = [one for one in self.targets if one.name in names]
        self.episodes = [one for one in self.episodes if one.name in names]

    @property
    def source(self) -> str:
        """The source model.

        Raises:
            ValueError: There are several.
        """
        check(isinstance(self.checkpoint, str), "'checkpoint' lists several models; name one")
        return cast(str, self.checkpoint)

    def of_each_source(self) -> list[TransferRecipe]:
        """Return the recipe of each source model: this one, or one for each in a list of several."""
        if isinstance(self.checkpoint, str):
            return [self]
        return [
            replace(self, checkpoint=name, output=str(Path(self.output) / slug(name)))
            for name in self.checkpoint
        ]

    @property
    def folder(self) -> Path:
        """Folder that the paths of the targets are relative to."""
        return Path(self.data_root or ".").expanduser()

    @classmethod
    def from_yaml(cls, path: str | Path, **overrides: Any) -> TransferRecipe:
        """Read a recipe from a YAML file.

        `checkpoint`, `output` and `data_root` are relative to the working directory, as on a command line.
        The paths of the targets are relative to `data_root`, by default the recipe's folder.

        Args:
            path: The YAML file.
            **overrides: Values that replace those of the file, unless None.

        Raises:
            ValueError: The file is not a valid recipe; the message names the file and the key.
        """
        values = read_recipe(path) | {
            key: str(value) if isinstance(value, Path) else value
            for key, value in overrides.items()
            if value is not None
        }
        if values.get("data_root") is None:
            values["data_root"] = str(Path(path).parent)
        try:
            return _build(cls, values, "the recipe")
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None


@dataclass(kw_only=True)
class ComparisonRecipe:
    """The evaluation of several methods on the same targets.

    Args:
        methods: For each method, by name, its keys of [`TransferRecipe`]: `checkpoint`, `method`, `stage`,
            `config`, `adapt`.
        checkpoint: Source model, or list of them, of the methods that name none.
        targets, episodes, batch_size, seed, output, data_root, limit: As in [`TransferRecipe`], for all
            methods.
    """

    methods: dict[str, dict[str, Any]]
    checkpoint: str | list[str] | None = None
    targets: list[Any] = field(default_factory=list)
    episodes: list[Any] = field(default_factory=list)
    batch_size: int = 32
    seed: int = 42
    output: str = "comparison"
    data_root: str | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        check(isinstance(self.methods, dict) and bool(self.methods), "'methods' must name a method")
        check(is_text(self.output), "'output' must be a folder")

    def recipes(self, only: Sequence[str] | None = None) -> dict[str, TransferRecipe]:
        """Return the recipe of each method, with a separate output folder below `output`.

        Args:
            only: Names of the methods; None for all.

        Raises:
            ValueError: A name in `only` or a key of a method is unknown.
        """
        for name in only or ():
            check(name in self.methods, f"no method {name!r}; there are {', '.join(self.methods)}")
        common = {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name != "methods"}
        if self.checkpoint is None:
            del common["checkpoint"]
        return {
            name: _build(
                TransferRecipe,
                {**common, "output": str(Path(self.output) / slug(name)), **keys},
                f"method {name!r}",
            )
            for name, keys in self.methods.items()
            if not only or name in only
        }

    @classmethod
    def from_yaml(cls, path: str | Path, **overrides: Any) -> ComparisonRecipe:
        """Read a recipe from a YAML file, as `TransferRecipe.from_yaml` does."""
        given = {key: value for key, value in overrides.items() if value is not None}
        values = {"data_root": str(Path(path).parent)} | read_recipe(path) | given
        try:
            recipe = _build(cls, values, "the recipe")
            recipe.recipes()
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        return recipe


def slug(name: str) -> str:
    """Return a name in a form that can be part of a path."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def read_recipe(path: str | Path) -> dict[str, Any]:
    """Return the keys and values of a recipe file.

    Raises:
        ValueError: The file cannot be read or is not a recipe; the message names it.
    """
    try:
        values = read_yaml(Path(path))
    except OSError as error:
        raise ValueError(f"cannot read recipe {path}: {error.strerror}") from error
    check(isinstance(values, dict), f"{path}: a recipe is a mapping of keys to values")
    return cast(dict[str, Any], values)


def _build(cls: type[_Recipe], values: Mapping[str, Any], place: str) -> _Recipe:
    """Return an instance built from a mapping, and raise for unknown and missing keys."""
    check(isinstance(values, Mapping), f"{place} must be a mapping of keys to values")
    known = {entry.name: entry for entry in fields(cls)}
    for key in values:
        if key not in known:
            similar = difflib.get_close_matches(str(key), known, n=1)
            remedy = f"did you mean {similar[0]!r}?" if similar else f"known keys: {', '.join(known)}"
            raise ValueError(f"unknown key {key!r} in {place}; {remedy}")
    for name, entry in known.items():
        optional = entry.default is not MISSING or entry.default_factory is not MISSING
        check(optional or name in values, f"{place} lacks the key {name!r}")
    return cls(**values)
