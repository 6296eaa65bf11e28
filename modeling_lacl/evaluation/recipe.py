"""The recipe of a domain-transfer evaluation: which checkpoint, targets and support sets, read from YAML."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml

from .results import ZERO_SHOT

_Recipe = TypeVar("_Recipe", "TransferTarget", "EpisodeTarget", "TransferRecipe", "ComparisonRecipe")


@dataclass(kw_only=True)
class TransferTarget:
    """One target domain: a test set and the support sets to adapt on.

    The support sets are either listed in `support`, or found as the first `sets` files of a folder.

    Args:
        name: How the domain is called in the report.
        test: File of the test set.
        support: Files of the support sets, by shots: `{"1-shot": [file, …], "5-shot": [file, …]}`.
        support_dir: Folder of support sets, with `{shots}` in the place of the number of shots.
        shots: The numbers of shots to fill in, as `[1, 5]`.
        sets: How many files of each folder, in natural order (`2.txt` before `10.txt`); all if not given.
        labels: Entity types for the zero-shot row; if not given those of the support sets, and with no
            support set those that `label_names` names.
        label_names: Natural-language names of the types: a mapping, or the name or file of one.
        zero_shot: Whether to evaluate the source model on the type names alone too, with no support.
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

    def __post_init__(self) -> None:
        place = f"target {self.name!r}"
        _require(_is_text(self.name) and _is_text(self.test), f"{place}: 'name' and 'test' must be texts")
        _require(
            isinstance(self.support, dict)
            and all(files and _are_texts(files) for files in self.support.values()),
            f"{place}: 'support' must map shots to a list of files, as in {{1-shot: [support/0.txt]}}",
        )
        self.support = {str(shots): files for shots, files in self.support.items()}
        for shots, files in self.support.items():
            _require(shots != ZERO_SHOT, f"{place}: for a zero-shot row give 'zero_shot: true'")
            _require(len(set(files)) == len(files), f"{place}: 'support' lists a file twice under {shots!r}")
        _require(
            self.support_dir is None or _is_text(self.support_dir), f"{place}: 'support_dir' must be a folder"
        )
        _require(
            isinstance(self.shots, list) and all(map(_is_count, self.shots)),
            f"{place}: 'shots' must be a list of whole numbers, as in [1, 5]",
        )
        _require(self.sets is None or _is_count(self.sets), f"{place}: 'sets' must be a whole number above 0")
        _require(
            self.labels is None or _are_texts(self.labels),
            f"{place}: 'labels' must be a list of entity types",
        )
        _require(
            self.label_names is None
            or _is_text(self.label_names)
            or (
                isinstance(self.label_names, dict)
                and all(_is_text(text) for item in self.label_names.items() for text in item)
            ),
            f"{place}: 'label_names' must be a name, a file or a mapping of texts to texts",
        )
        _require(isinstance(self.zero_shot, bool), f"{place}: 'zero_shot' must be true or false")
        if self.support_dir is None:
            _require(
                not self.shots and self.sets is None,
                f"{place}: 'shots' and 'sets' say which files of 'support_dir'",
            )
            _require(
                bool(self.support) or self.zero_shot,
                f"{place}: nothing to evaluate; "
                "give 'support', or 'support_dir' with 'shots', or 'zero_shot: true'",
            )
        else:
            _require(not self.support, f"{place}: give 'support' or 'support_dir', not both")
            _require(bool(self.shots), f"{place}: 'support_dir' needs 'shots', as in [1, 5]")
            _require(
                "{shots}" in self.support_dir or len(self.shots) == 1,
                f"{place}: 'support_dir' needs '{{shots}}' in the place of the number, "
                "as in 'support-{shots}shot'",
            )

    def support_files(self, folder: Path) -> dict[str, list[str]]:
        """Files of the support sets by shots, as paths relative to `folder`.

        Raises:
            ValueError: if a folder is missing or holds fewer files than `sets`.
        """
        if self.support_dir is None:
            return self.support
        found = {}
        for shots in self.shots:
            relative = self.support_dir.replace("{shots}", str(shots))
            directory = folder / relative
            _require(
                directory.is_dir(),
                f"target {self.name!r}: no support folder {directory}; "
                "set 'data_root' (--data_root) to the folder of the data",
            )
            files = [path.name for path in directory.iterdir() if path.is_file()]
            names = sorted(
                (name for name in files if not name.startswith(".")),
                key=_natural_order,
            )
            _require(
                len(names) >= (self.sets or 1),
                f"target {self.name!r}: {directory} holds {len(names)} support sets, "
                f"fewer than the {self.sets or 1} asked for",
            )
            found[f"{shots}-shot"] = [f"{relative.rstrip('/')}/{name}" for name in names[: self.sets]]
        return found


@dataclass(kw_only=True)
class EpisodeTarget:
    """N-way K~2K-shot episodes drawn from one file by the rule of FEW-NERD (Ding et al., ACL 2021).

    Args:
        name: How the target is called in the report.
        file: File of labelled sentences.
        n_way: Types in an episode.
        k_shot: Entities of each type in a support set: K to 2K.
        q_shot: The same of a query set.
        number: How many episodes.
        seed: Seed of the draws.
        label_names: Natural-language names of the types: a mapping, or the name or file of one.
    """

    name: str
    file: str
    n_way: int = 5
    k_shot: int = 1
    q_shot: int = 1
    number: int = 200
    seed: int = 0
    label_names: str | dict[str, str] | None = None

    def __post_init__(self) -> None:
        place = f"episodes {self.name!r}"
        _require(_is_text(self.name) and _is_text(self.file), f"{place}: 'name' and 'file' must be texts")
        for key in ("n_way", "k_shot", "q_shot", "number"):
            _require(_is_count(getattr(self, key)), f"{place}: {key!r} must be a whole number above 0")
        _require(isinstance(self.seed, int) and self.seed >= 0, f"{place}: 'seed' must be 0 or above")
        _require(
            self.label_names is None or isinstance(self.label_names, str | dict),
            f"{place}: 'label_names' must be a mapping, a file, or the name of a shipped map",
        )

    @property
    def shots(self) -> str:
        """As FEW-NERD writes it."""
        return f"{self.n_way}-way {self.k_shot}~{2 * self.k_shot}-shot"


@dataclass(kw_only=True)
class TransferRecipe:
    """A whole evaluation of one source checkpoint: domain transfer, episodes, or both.

    Args:
        checkpoint: Folder or Hub name of the source model.
        targets: The target domains.
        episodes: N-way K~2K-shot episodes.
        method: Class of the model: `lacl`, or that of a baseline (see [`baselines`]).
        stage: Second stage: `lacl` for [`adapt`], or that of a baseline.
        config: Options of the model's configuration to replace, as `{"viterbi": true}`.
        adapt: Further arguments of the second stage, as `{"steps": 20}`.
        batch_size: Sentences a forward pass when predicting; does not change results.
        seed: Seed of adapting and of the bootstrap.
        output: Folder of the results: `results.jsonl`, `report.md`, `report.json`.
        data_root: Folder that the paths of the targets are relative to; if not given, the recipe's own.
        limit: Evaluate at most so many support sets for each target and number of shots.
    """

    checkpoint: str
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
        _require(_is_text(self.checkpoint), "'checkpoint' must be the folder or Hub name of a source model")
        _require(_is_text(self.output), "'output' must be a folder")
        _require(isinstance(self.adapt, dict), "'adapt' must be a mapping of arguments, as in {steps: 20}")
        _require(_is_count(self.batch_size), "'batch_size' must be a whole number above 0")
        _require(isinstance(self.seed, int) and self.seed >= 0, "'seed' must be a whole number, 0 or above")
        _require(self.limit is None or _is_count(self.limit), "'limit' must be a whole number above 0")
        _require(self.data_root is None or _is_text(self.data_root), "'data_root' must be a folder")
        _require(isinstance(self.config, dict), "'config' must be a mapping, as in {viterbi: true}")
        _require(
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
        _require(len(set(names)) == len(names), f"two targets have one name: {', '.join(sorted(names))}")

    @property
    def folder(self) -> Path:
        """What the paths of the targets are relative to."""
        return Path(self.data_root or ".").expanduser()

    @classmethod
    def from_yaml(cls, path: str | Path, **overrides: Any) -> TransferRecipe:
        """Reads a recipe; `overrides` that are not None stand in for its keys.

        `checkpoint`, `output` and `data_root` are relative to the working directory, as on a command line.
        The paths of the targets are relative to `data_root`, or with none to the recipe's folder.

        Raises:
            ValueError: if the file is no recipe; the message names the file and the key.
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
    """Several methods on the same targets.

    Args:
        methods: Name of each method -> its keys of [`TransferRecipe`]: `checkpoint`, `method`, `stage`,
            `config`, `adapt`.
        targets, episodes, batch_size, seed, output, data_root, limit: As in [`TransferRecipe`], for all of
            them.
    """

    methods: dict[str, dict[str, Any]]
    targets: list[Any] = field(default_factory=list)
    episodes: list[Any] = field(default_factory=list)
    batch_size: int = 32
    seed: int = 42
    output: str = "comparison"
    data_root: str | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        _require(isinstance(self.methods, dict) and bool(self.methods), "'methods' must name a method")
        _require(_is_text(self.output), "'output' must be a folder")

    def recipes(self, only: Sequence[str] | None = None) -> dict[str, TransferRecipe]:
        """The evaluation of each method, in a folder of its own under `output`.

        Raises:
            ValueError: A method of `only` is unknown, or a key of a method is.
        """
        for name in only or ():
            _require(name in self.methods, f"no method {name!r}; there are {', '.join(self.methods)}")
        common = {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name != "methods"}
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
        """As `TransferRecipe.from_yaml`."""
        given = {key: value for key, value in overrides.items() if value is not None}
        values = {"data_root": str(Path(path).parent)} | read_recipe(path) | given
        try:
            recipe = _build(cls, values, "the recipe")
            recipe.recipes()
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        return recipe


def slug(name: str) -> str:
    """A name as part of a path."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def read_recipe(path: str | Path) -> dict[str, Any]:
    """The keys of a recipe.

    Raises:
        ValueError: if the file is no recipe; the message names it.
    """
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"cannot read recipe {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid YAML: {error}") from error
    _require(isinstance(values, dict), f"{path}: a recipe is a mapping of keys to values")
    return cast(dict[str, Any], values)


def _build(cls: type[_Recipe], values: Mapping[str, Any], place: str) -> _Recipe:
    """An instance from the keys of a mapping, none unknown and none missing."""
    _require(isinstance(values, Mapping), f"{place} must be a mapping of keys to values")
    known = {entry.name: entry for entry in fields(cls)}
    for key in values:
        if key not in known:
            similar = difflib.get_close_matches(str(key), known, n=1)
            remedy = f"did you mean {similar[0]!r}?" if similar else f"known keys: {', '.join(known)}"
            raise ValueError(f"unknown key {key!r} in {place}; {remedy}")
    for name, entry in known.items():
        optional = entry.default is not MISSING or entry.default_factory is not MISSING
        _require(optional or name in values, f"{place} lacks the key {name!r}")
    return cls(**values)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _natural_order(name: str) -> list[tuple[int, str]]:
    """Sort key that counts: `2.txt` before `10.txt`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]+)", name)]


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
