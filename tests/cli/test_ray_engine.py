"""`lacl predict --engine ray`, against what one process writes; on two nodes, with what runs killed."""

import json
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict

import psutil  # type: ignore[import-untyped]
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from typer.testing import CliRunner

from modeling_lacl.cli.app import app
from modeling_lacl.cli.blocks import Reading
from modeling_lacl.cli.parts import Parts
from modeling_lacl.cli.ray_engine import BlockTagger, Job

TEXTS = [f"ana ruiz {number} flew to quito on a cessna,{' again' * (number % 30)}" for number in range(600)]
LONG = 250  # seconds, on a machine that does much else
pytestmark = pytest.mark.timeout(3 * LONG)
LACL = "from modeling_lacl.cli import main; main()"


@pytest.fixture(scope="module")
def place(make_tiny_model, tmp_path_factory):
    """A folder with a model, texts, and what one process makes of them."""
    folder = tmp_path_factory.mktemp("many")
    make_tiny_model(encoder={"max_position_embeddings": 512}).save_pretrained(folder / "ner")
    (folder / "texts.txt").write_text("\n".join(TEXTS))
    pq.write_table(pa.table({"text": TEXTS, "id": range(600)}), folder / "texts.parquet")
    arguments = [folder / "ner", folder / "texts.txt", folder / "alone.jsonl", "--batch-size", "1"]
    done = CliRunner().invoke(app, ["predict", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return folder


def tagger(folder, parts=None, model="ner", **options):
    """An actor as Ray would start it, and the rows that Ray would give it."""
    reading = Reading()
    options = {"labels": None, "batch_size": 1, **options}
    parts = parts or Parts(folder / "out.jsonl", "job")
    rows = [asdict(block) for block in reading.cut(reading.files(str(folder / "texts.txt")))]
    return BlockTagger(Job(str(folder / model), options, reading, parts, "run")), rows


def test_an_actor_writes_what_one_process_writes(place, tmp_path):
    parts = Parts(tmp_path / "out.jsonl", "job")
    with parts.held():
        actor, rows = tagger(place, parts)
        assert len(rows) > 5
        for row in [*reversed(rows), rows[1]]:  # in any order, and one of them twice
            told = actor(pa.Table.from_pylist([row]))
            assert told["replaced"] == [0] and told["failure"] == [""]
            assert "no labels given" in told["notice"][0]
        parts.merge(len(rows))
    assert (tmp_path / "out.jsonl").read_bytes() == (place / "alone.jsonl").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]


def test_what_the_user_did_comes_back_as_words(place, tmp_path):
    parts = Parts(tmp_path / "out.jsonl", "job")

    def failure(*given, **options):
        actor, rows = tagger(place, *given, **options)
        return actor(pa.Table.from_pylist(rows[:1]))["failure"][0]

    assert "give an output in a folder that all machines see" in failure(parts)
    with parts.held():
        assert "cannot load the checkpoint" in failure(parts, model="none")
        assert failure(parts, overlap="no").startswith("overlap")
        # As if three workers had died over the block before: it is tried once more, and then no more.
        for _ in range(3):
            parts.tries(0, "run")
        assert failure(parts) == ""
        assert failure(parts).startswith(f"{place / 'texts.txt'}: bytes 0 to ")
        assert "4 workers died over these texts" in failure(parts)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["x.txt", "--engine", "ray"], "needs FILE and OUTPUT"),
     (["-", "out", "--engine", "ray"], "needs FILE and OUTPUT"),
     (["x.txt", "out", "--engine", "ray", "--jsonl"], "without --view, --jsonl"),
     (["x.txt", "out", "--workers", "2"], "--workers needs --engine ray"),
     (["x.txt", "out", "--output", "other"], "give OUTPUT or --output, not both")],
)  # fmt: skip
def test_options_that_do_not_fit(place, arguments, message):
    done = CliRunner().invoke(app, ["predict", str(place / "ner"), *arguments])
    assert done.exit_code == 2 and message in " ".join(done.output.replace("│", " ").split())


def test_processes_that_were_started_to_train_are_told_of_ray(place, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    arguments = [place / "ner", place / "texts.txt", tmp_path / "out.jsonl"]
    done = CliRunner().invoke(app, ["predict", *map(str, arguments)])
    assert done.exit_code == 2 and "--engine ray" in done.output and not list(tmp_path.iterdir())


def test_without_ray_the_extra_is_named(place, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    arguments = [place / "ner", place / "texts.txt", tmp_path / "out.jsonl", "--engine", "ray"]
    done = CliRunner().invoke(app, ["predict", *map(str, arguments)])
    assert ".[ray]" in str(done.exception) and not list(tmp_path.iterdir())


def test_a_cluster_that_is_not_there_is_named_at_once(place, tmp_path, free_port, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_BACKEND_LOG_LEVEL", "fatal")  # what the command sets for its own process
    arguments = [place / "ner", place / "texts.txt", tmp_path / "out.jsonl", "--engine", "ray", "--address"]
    address = f"127.0.0.1:{free_port}"
    done = CliRunner().invoke(app, ["predict", *map(str, arguments), address])
    assert f"no Ray cluster at '{address}'" in str(done.exception) and not list(tmp_path.iterdir())


def test_an_input_without_texts_needs_no_cluster(place, tmp_path):
    pytest.importorskip("ray")
    (tmp_path / "empty.txt").touch()
    for name in ("out.jsonl", "out.parquet"):
        arguments = [place / "ner", tmp_path / "empty.txt", tmp_path / name, "--engine", "ray"]
        done = CliRunner().invoke(app, ["predict", *map(str, arguments)])
        assert done.exit_code == 0, done.exception
    assert (tmp_path / "out.jsonl").read_bytes() == b""
    assert pq.read_table(tmp_path / "out.parquet").column_names == ["text", "entities"]


# ---- real clusters -----------------------------------------------------------------------------------------


@pytest.fixture
def quiet(monkeypatch):
    """Environment of a Ray that keeps to itself, whose workers get as much of the machine as others."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


class Driver(subprocess.Popen):
    """`lacl predict --engine ray`, which writes to a file: Ray's processes would keep a pipe open."""

    def __init__(self, log, *arguments):
        self.log = log
        command = [sys.executable, "-c", LACL, "predict", *map(str, arguments), "--engine", "ray"]
        with open(log, "wb") as file:
            super().__init__(command, stdout=file, stderr=subprocess.STDOUT)

    @property
    def told(self):
        return self.log.read_text(encoding="utf-8")


@pytest.fixture
def driver(quiet, tmp_path_factory):
    """Starts drivers; ends those that still run."""
    started = []

    def start(*arguments):
        started.append(Driver(tmp_path_factory.mktemp("driver") / "log", *arguments))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def two_nodes(quiet):
    """Address of a cluster of two nodes with a CPU each, whose processes are children of this one."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    try:
        cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
        yield cluster.address
    finally:
        cluster.shutdown()


def wait_for(condition, process=None):
    """Waits until a condition holds, at most as long as a process runs."""
    deadline = time.monotonic() + LONG
    while not condition():
        assert process is None or process.poll() is None, process.told
        assert time.monotonic() < deadline
        time.sleep(0.01)


def workers():
    """The processes of the cluster that tag."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it has ended meanwhile
            found += [process] if "BlockTagger" in process.name() else []
    return found


def test_a_killed_driver_and_a_killed_worker_lose_and_double_nothing(two_nodes, driver, place, tmp_path):
    arguments = [place / "ner", place / "texts.txt", tmp_path / "out.jsonl", "--batch-size", "1"]
    arguments += ["--address", two_nodes]

    def parts():
        return {path.name for path in tmp_path.glob("out.jsonl.*.parts/0*")}

    first = driver(*arguments)
    wait_for(parts, first)
    first.kill()
    first.wait()
    wait_for(lambda: not workers())  # Ray ends those of a driver that died
    before = parts()
    assert not (tmp_path / "out.jsonl").exists()

    # One worker, which is at the next block once a part of it is there.
    second = driver(*arguments, "--workers", "1")
    wait_for(lambda: parts() != before, second)
    (worker,) = workers()
    worker.kill()
    assert second.poll() is None
    assert second.wait(timeout=LONG) == 0, second.told
    assert f"Resuming: {len(before)} of " in second.told
    assert (tmp_path / "out.jsonl").read_bytes() == (place / "alone.jsonl").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]


def test_a_cluster_of_its_own(driver, place, tmp_path):
    pytest.importorskip("ray")
    arguments = [place / "ner", place / "texts.parquet", tmp_path / "out.parquet", "--workers", "1"]
    process = driver(*arguments)
    assert process.wait(timeout=LONG) == 0, process.told
    lines = process.told.splitlines()
    assert lines[-1] == f"Saved to {tmp_path / 'out.parquet'}"
    assert [line for line in lines if "no labels given" not in line and "blocks" not in line] == lines[-1:]
    alone = [json.loads(line) for line in (place / "alone.jsonl").read_bytes().splitlines()]
    found = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row.pop("id") for row in found] == list(range(600))
    for row, other in zip(found, alone, strict=True):
        scores = [entity.pop("score") for entity in row["entities"]]
        assert scores == pytest.approx([entity.pop("score") for entity in other["entities"]], abs=1e-5)
        assert row == other
