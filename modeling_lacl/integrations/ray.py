"""Entities in Ray Data: a class for `map_batches`, and a Ray that is quiet and sends nothing.

Models, and what they need, load in the actors.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..optional import require

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]

_OBJECT_STORE_BYTES = 100 * 2**20  # a local cluster passes no texts through it


class LaclTagger:
    """Adds a column `entities` to the batches of a Ray dataset: a list of structs for each text.

    Each actor that Ray starts loads the model once, onto its GPU if it has one.

    Args:
        model: Folder or name of a model, or folder of one that `lacl export` wrote, where the actors run.
        text_column: The column of texts.
        is_split_into_words: Split texts into words at white space; offsets then refer to the words with
            single spaces between them.
        **options: Further arguments of [`LaclForTokenClassification.predict`]: `labels`,
            `threshold`, `batch_size`, …

    Example:
        >>> import numpy as np
        >>> from modeling_lacl.integrations.ray import LaclTagger
        >>> tagger = LaclTagger("lacl-minilm-fewnerd", labels=["person", "city"])
        >>> batch = tagger({"id": np.array([7]), "text": np.array(["Ana Ruiz lives in Quito."])})
        >>> [entity["word"] for entity in batch["entities"][0].as_py()]
        ['Ana Ruiz', 'Quito']

        On a dataset, with two actors:

            dataset.map_batches(
                LaclTagger,
                fn_constructor_args=("outputs/ner",),
                compute=ray.data.ActorPoolStrategy(size=2),
                batch_size=1024,
            )
    """

    def __init__(
        self, model: str, *, text_column: str = "text", is_split_into_words: bool = False, **options: Any
    ) -> None:
        from .predictors import load_predictor

        if not _has_gpu():
            os.environ["ACCELERATE_USE_CPU"] = "true"  # torch sees the GPUs of other actors, too
        # As many threads as Ray gave the actor; it sets this for torch.
        threads = os.environ.get("OMP_NUM_THREADS", "")
        self.model = load_predictor(model, num_threads=int(threads) if threads.isdecimal() else None)
        self.text_column = text_column
        self.is_split_into_words = is_split_into_words
        self.options = options

    def __call__(self, batch: Mapping[str, Any] | pa.Table) -> Any:
        """Return a batch with the column `entities`.

        Args:
            batch: Columns by name: NumPy or Arrow arrays, or a `pyarrow.Table`.

        Returns:
            A batch of the same kind.

        Raises:
            ValueError: There is no column of texts, a row of it is not text, or there are entities already.
        """
        import pyarrow as pa

        names = batch.column_names if isinstance(batch, pa.Table) else list(batch)
        if self.text_column not in names or "entities" in names:
            raise ValueError(
                f"a batch needs a column {self.text_column!r} and none named 'entities'; this one has "
                f"{', '.join(map(repr, names))}: give text_column=, and rename what is in the way"
            )
        column = batch[self.text_column]
        texts = column.to_pylist() if isinstance(column, pa.Array | pa.ChunkedArray) else list(column)
        entities = pa.array(self.entities(texts), type=entities_type())
        if isinstance(batch, pa.Table):
            return batch.append_column("entities", entities)
        return {**batch, "entities": entities}

    def entities(self, texts: list[str]) -> list[list[dict[str, Any]]]:
        """Return the entities of each text.

        Raises:
            ValueError: One of them is not text.
        """
        for number, text in enumerate(texts):
            if not isinstance(text, str):
                raise ValueError(
                    f"row {number} of the column {self.text_column!r} is {type(text).__name__}, not text: "
                    "leave such rows out"
                )
        inputs = [text.split() if self.is_split_into_words else str(text) for text in texts]
        found: list[list[dict[str, Any]]] = list(
            self.model.predict(iter(inputs), is_split_into_words=self.is_split_into_words, **self.options)
        )
        return found


def entities_type() -> pa.DataType:
    """Return the Arrow type of a list of entities, which a batch without any has, too."""
    import pyarrow as pa

    fields = {"entity_group": pa.string(), "score": pa.float64(), "word": pa.string()}
    return pa.list_(pa.struct({**fields, "start": pa.int64(), "end": pa.int64()}))


class Pool(NamedTuple):
    """How many actors there are, and the share of a GPU that each gets."""

    size: int
    gpus: float


@contextmanager
def connected(address: str | None, workers: int | None) -> Iterator[None]:
    """Connect to a cluster, or start one of this machine, for as long as the context lasts.

    A cluster that is started has no dashboard and sends no usage statistics.

    Args:
        address: Address of a running cluster, such as `10.0.0.1:6379` or `auto`; None starts one.
        workers: CPUs of the cluster to start; by default those of the machine.

    Raises:
        ModuleNotFoundError: Ray is not installed.
        ValueError: There is no cluster at this address.
    """
    # Read when Ray starts; what the user has set stays.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    if address is None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = require("ray", "ray")
    require("ray.data", "ray")
    own: dict[str, Any] = {
        "address": "local",
        "num_cpus": workers,
        "include_dashboard": False,
        "object_store_memory": _OBJECT_STORE_BYTES,
    }
    given = own if address is None else {"address": address}
    try:
        _reach(address or "")
        with _silence():
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **given)
    except ConnectionError as error:
        reason = str(error).partition(". ")[0]
        raise ValueError(
            f"no Ray cluster at {address!r} ({reason}): `ray start --head` starts one"
        ) from error
    try:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        context.max_consecutive_actor_init_deaths = 3  # then the error that ended them is raised
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        yield
    finally:
        ray.shutdown()


def pool(model: str, workers: int | None) -> Pool:
    """Return the actors that the connected cluster has room for: one per GPU or, without GPUs, per CPU.

    Args:
        model: The model; one that `lacl export` wrote runs on CPUs.
        workers: The number of actors instead.

    Raises:
        ValueError: The cluster has neither.
    """
    from .onnx.runner import GRAPH_FILE

    resources = require("ray", "ray").cluster_resources()
    exported = (Path(model) / GRAPH_FILE).is_file()
    cpus, gpus = int(resources.get("CPU", 0)), 0 if exported else int(resources.get("GPU", 0))
    size = workers or gpus or cpus
    if not size or not cpus:
        raise ValueError("the Ray cluster has no CPUs: add a machine to it")
    return Pool(size, 1 / -(-size // gpus) if gpus else 0)


def _reach(address: str) -> None:
    """Raise a ConnectionError at once if nothing listens at HOST:PORT, which Ray tries for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
        except (OSError, OverflowError) as error:
            raise ConnectionError(str(error)) from error


@contextmanager
def _silence() -> Iterator[None]:
    """Keep standard error out of the terminal: what is not Python in Ray writes to it while it starts."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _has_gpu() -> bool:
    """Whether torch may take a GPU: yes outside of Ray's actors, and there if Ray assigned one."""
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return True
    context = ray.get_runtime_context()
    return context.get_actor_id() is None or bool(context.get_accelerator_ids()["GPU"])
