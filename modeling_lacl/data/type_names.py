"""What the types of many corpora are called: other wordings, coarser names, and names foreign to a text.

Two corpora that call one thing by two names ("drug", "medication") have one class for it. Both tables are
YAML files, which anyone can edit; `wide` are those that come with the package.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from .examples import LaclDataError
from .yaml_files import read_yaml

_FOLDER = Path(__file__).with_name("type_names")
FEWEST_FINE = 3
"""A coarser name is used for at least so many types: of fewer, a corpus may leave out much that it means."""


@dataclass(frozen=True)
class TypeName:
    """A type of a corpus as it can be named in a prompt.

    Attributes:
        key: Its class: types of the same key are one class, in whichever corpus.
        name: Its name.
        variants: Other wordings, and its description.
        coarser: Coarser types, each of them one of several types of the corpus.
    """

    key: str
    name: str
    variants: tuple[str, ...] = ()
    coarser: tuple[TypeName, ...] = ()


@dataclass(frozen=True)
class _Entry:
    key: str
    wordings: tuple[str, ...]
    description: str | None
    coarser: tuple[str, ...]


class NameVariants:
    """Other wordings of the names of types.

    Args:
        source: "wide", the path of a YAML file, or None for no variants. The file maps a name to `names`
            (a list of wordings), `description` and `coarser` (a list of names), each of them optional. A type
            that is called by one of the wordings belongs to the entry. ``corpus/type: name`` renames a type
            of one corpus; types of a corpus with one name are one.

    Raises:
        LaclDataError: The file has another form, or a wording belongs to two entries.

    Example:
        >>> from pathlib import Path
        >>> _ = Path("names.yaml").write_text("drug: {names: [medication], description: a remedy}")
        >>> names = NameVariants("names.yaml").of_corpus("mail", ["medication", "city"])
        >>> [(one.key, one.name, one.variants) for one in names]
        [('drug', 'medication', ('drug', 'a remedy')), ('city', 'city', ())]
    """

    def __init__(self, source: str | Path | None = None) -> None:
        self._entries: dict[str, _Entry] = {}
        self._renamed: dict[str, str] = {}
        if source is None:
            return
        path = _file("name_variants", source)
        content = read_yaml(path)
        if not isinstance(content, dict):
            raise LaclDataError(f"{path}: must map names to their wordings")
        for name, given in content.items():
            place = f"{path}: {name!r}"
            if not isinstance(name, str):
                raise LaclDataError(f"{place}: is not a text; put it in quotes")
            if "/" in name:
                if not isinstance(given, str) or not given.strip():
                    raise LaclDataError(f"{place}: a type of one corpus is given another name, as a text")
                self._renamed[_key(name)] = " ".join(given.split())
            else:
                self._add(_entry(name, given, place), place)

    def _add(self, entry: _Entry, place: str) -> None:
        for wording in entry.wordings:
            owner = self._entries.setdefault(_key(wording), entry)
            if owner is not entry:
                raise LaclDataError(f"{place}: {wording!r} is also a wording of {owner.key!r}; remove one")

    def key(self, name: str) -> str:
        """Return the class of a name: that of the entry with this wording, or the name itself."""
        entry = self._entries.get(_key(name))
        return entry.key if entry else _key(name)

    def of_corpus(self, corpus: str, types: Sequence[str]) -> list[TypeName]:
        """Return how each of the types of a corpus can be named.

        Types that the corpus tells apart stay apart, whatever the table says: they keep their own names.
        """
        shown = [self._renamed.get(_key(f"{corpus}/{name}"), name) for name in types]
        distinct = {_key(name): name for name in shown}
        shared = Counter(self.key(name) for name in distinct.values())
        named = {
            key: self._named(name) if shared[self.key(name)] == 1 else TypeName(key, name)
            for key, name in distinct.items()
        }
        coarser = {key: self._coarser(key) for key in distinct}
        # A coarser name stands for several types, and for none that the corpus has under that name.
        number = Counter(chain.from_iterable(coarser.values()))
        own = {one.key for one in named.values()}
        for key, names in coarser.items():
            sound = [name for name in names if number[name] >= FEWEST_FINE and self.key(name) not in own]
            named[key] = replace(named[key], coarser=tuple(map(self._named, sound)))
        return [named[_key(name)] for name in shown]

    def _named(self, name: str) -> TypeName:
        entry = self._entries.get(_key(name))
        if entry is None:
            return TypeName(_key(name), name)
        described = (entry.description,) if entry.description else ()
        variants = tuple(one for one in (*entry.wordings, *described) if _key(one) != _key(name))
        return TypeName(entry.key, name, variants)

    def _coarser(self, key: str) -> tuple[str, ...]:
        entry = self._entries.get(key)
        return entry.coarser if entry else ()


class Families:
    """Families of corpora, and which types of other families cannot occur in the texts of a family.

    What a corpus does not annotate is no negative, for it may occur unmarked. The types of a family far away
    are: there is no airline in the abstract of a paper on genes.

    Args:
        source: "wide", the path of a YAML file, or None for no families. The file has `generic`, a list of
            words that make a name one of things that occur anywhere, and `families`, which maps a name to
            `corpora` (names), `domains` (beginnings of the domain) and `foreign` (names of families).

    Raises:
        LaclDataError: The file has another form.
    """

    def __init__(self, source: str | Path | None = None) -> None:
        self.generic: frozenset[str] = frozenset()
        self.families: dict[str, dict[str, tuple[str, ...]]] = {}
        if source is None:
            return
        path = _file("families", source)
        content = read_yaml(path)
        if not isinstance(content, dict) or set(content) - {"generic", "families"}:
            raise LaclDataError(f"{path}: must have the keys generic and families, and no other")
        self.generic = frozenset(map(_key, _texts(content.get("generic"), f"{path}: generic")))
        families = content.get("families")
        if not isinstance(families, dict):
            raise LaclDataError(f"{path}: families must map names to corpora, domains and foreign")
        keys = ("corpora", "domains", "foreign")
        for name, given in families.items():
            if not isinstance(given, dict) or set(given) - set(keys):
                raise LaclDataError(f"{path}: {name}: must have the keys {', '.join(keys)}, and no other")
            self.families[name] = {key: _texts(given.get(key), f"{path}: {name}: {key}") for key in keys}
        for name, family in self.families.items():
            if unknown := [other for other in family["foreign"] if other == name or other not in families]:
                raise LaclDataError(f"{path}: {name}: foreign: {unknown[0]!r} is no other family of the file")

    def family(self, corpus: str, domain: str) -> str | None:
        """Return the family of a corpus; None if it is in none.

        Raises:
            LaclDataError: It is in two.
        """
        found = [
            name
            for name, family in self.families.items()
            if corpus in family["corpora"]
            or any(domain.lower().startswith(one.lower()) for one in family["domains"])
        ]
        if len(found) > 1:
            raise LaclDataError(f"the corpus {corpus!r} is in the families {' and '.join(found)}; keep one")
        return found[0] if found else None

    def foreign(self, corpora: Mapping[str, tuple[str, Sequence[TypeName]]]) -> dict[str, list[TypeName]]:
        """Return for each corpus the types of other corpora that cannot occur in its texts.

        Args:
            corpora: Name -> (domain, types) of each corpus.

        Returns:
            Name -> types, ordered by key, none of a key of the corpus itself. A name with a generic word is
            left out.
        """
        families = {name: self.family(name, domain) for name, (domain, _) in corpora.items()}
        found: dict[str, list[TypeName]] = {}
        for name, family in families.items():
            sources = self.families[family]["foreign"] if family else ()
            own = {one.key for one in corpora[name][1]}
            candidates = {
                one.key: one
                for other, of_other in families.items()
                if of_other in sources
                for one in corpora[other][1]
                if one.key not in own and not self.is_generic(one.name)
            }
            found[name] = [candidates[key] for key in sorted(candidates)]
        return found

    def is_generic(self, name: str) -> bool:
        """Return whether a name has a generic word."""
        return not self.generic.isdisjoint(re.findall(r"[^\W\d_]+", name.lower()))


def _key(name: str) -> str:
    return " ".join(name.lower().split())


def _file(argument: str, source: str | Path) -> Path:
    """Return the path of a table: one of the package by its name, or the one given."""
    shipped = _FOLDER / f"{source}_{argument}.yaml"
    if shipped.is_file():
        return shipped
    path = Path(source)
    if not path.is_file():
        known = sorted(
            one.name.removesuffix(f"_{argument}.yaml") for one in _FOLDER.glob(f"*_{argument}.yaml")
        )
        raise LaclDataError(f"{argument}: {source}: no such file; give a YAML file, or {', '.join(known)}")
    return path


def _entry(name: str, given: Any, place: str) -> _Entry:
    keys = ("names", "description", "coarser")
    if not isinstance(given, dict) or set(given) - set(keys):
        raise LaclDataError(f"{place}: must have the keys {', '.join(keys)}, and no other")
    description = given.get("description")
    if description is not None and not isinstance(description, str):
        raise LaclDataError(f"{place}: the description is {description!r}; write a text, in quotes")
    # The name itself is one of the wordings.
    wordings = (name, *_texts(given.get("names"), f"{place}: names"))
    return _Entry(_key(name), wordings, description, _texts(given.get("coarser"), f"{place}: coarser"))


def _texts(given: Any, place: str) -> tuple[str, ...]:
    values: Iterable[Any] = [] if given is None else given
    if not isinstance(values, list) or not all(isinstance(one, str) and one.strip() for one in values):
        raise LaclDataError(f"{place}: must be a list of texts; put words such as no and on in quotes")
    return tuple(" ".join(one.split()) for one in values)
