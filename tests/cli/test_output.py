"""Lines of several processes: distributed, resumed, merged; against slicing and plain files."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from modeling_lacl.cli.app import app
from modeling_lacl.cli.output import Shard, job_key, processes, texts_left

few = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def line(text):
    return json.dumps({"text": text, "entities": []}).encode() + b"\n"


@few
@given(number=st.integers(0, 30), world=st.integers(1, 5), data=st.data())
def test_shards_merge_to_what_one_process_writes(tmp_path_factory, number, world, data):
    folder = tmp_path_factory.mktemp("shards")
    texts = [f"text {index}" for index in range(number)]
    shards = [Shard(folder / "out.jsonl", "job", rank, world) for rank in range(world)]
    for shard in data.draw(st.permutations(shards[1:])) + shards[:1]:
        shard.part.write_bytes(b"".join(map(line, shard.texts(texts))))
        shard.finish()
    assert (folder / "out.jsonl").read_bytes() == b"".join(map(line, texts))
    assert [path.name for path in folder.iterdir()] == ["out.jsonl"]


@few
@given(done=st.integers(0, 6), half=st.integers(0, 40))
def test_an_interrupted_run_resumes_after_its_last_complete_line(tmp_path, done, half):
    texts = [f"text {index} é" for index in range(6)]
    path = tmp_path / "out.jsonl"
    whole = b"".join(map(line, texts[:done]))
    path.write_bytes(whole + line("the next")[: min(half, len(line("the next")) - 1)])
    assert list(texts_left(path, texts)) == texts[done:]
    assert path.read_bytes() == whole


def test_a_very_long_half_line_is_cut(tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_bytes(line("a") + b'{"text": "' + b"x" * 200_000)
    assert list(texts_left(path, ["a", "b"])) == ["b"]
    assert path.read_bytes() == line("a")


def test_a_run_over_other_texts_is_refused(tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_bytes(line("a") + line("b"))
    for texts in (["a", "c", "d"], ["a"]):
        with pytest.raises(ValueError, match=r"out\.jsonl:2: this is not the result of text 2"):
            list(texts_left(path, texts))
    path.write_bytes(b"no JSON\n")
    with pytest.raises(ValueError, match=r"out\.jsonl:1"):
        list(texts_left(path, ["a"]))


def test_a_shard_that_lacks_lines_is_refused(tmp_path):
    first, second = (Shard(tmp_path / "out.jsonl", "job", rank, 2) for rank in range(2))
    first.part.write_bytes(line("a"))
    second.part.write_bytes(line("b") + line("d"))
    second.finish()
    with pytest.raises(ValueError, match="0-of-2 lacks lines"):
        first.finish()
    assert not (tmp_path / "out.jsonl").exists()


def test_jobs_are_distinguished(tmp_path):
    file, model = tmp_path / "texts.txt", tmp_path / "model"
    file.write_text("a\n")
    model.mkdir()
    (model / "config.json").write_text("{}")

    def name(checkpoint=str(model), **settings):
        return Shard(tmp_path / "out", job_key(checkpoint, file, **settings), 0, 2).part.name

    names = [name(), name(labels="x"), name(labels="y"), name("released")]
    assert names[0] == name()
    file.write_text("a\nb\n")
    names.append(name())
    (model / "config.json").write_text('{"alpha": 0}')
    names.append(name())
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("given", [("2", "2"), ("-1", "2"), ("x", "2"), ("0", "")])
def test_numbers_of_processes_that_cannot_be(monkeypatch, given):
    monkeypatch.setenv("RANK", given[0])
    monkeypatch.setenv("WORLD_SIZE", given[1])
    with pytest.raises(ValueError, match="accelerate launch"):
        processes()


def test_two_processes_killed_and_started_again(make_tiny_model, tmp_path, monkeypatch):
    """The command of the README: every text once, in order, as one process has it."""
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^accelerate launch .* lacl predict .*$", readme, flags=re.MULTILINE)
    command = line.split()
    assert command[-5:] == ["predict", "outputs/ner", "texts.txt", "--output", "entities.jsonl"]
    make_tiny_model(encoder={"max_position_embeddings": 512}).save_pretrained(tmp_path / "outputs" / "ner")
    texts = [f"ana ruiz {number} flew to quito" for number in range(2001)]
    (tmp_path / "texts.txt").write_text("\n".join(texts))
    output = tmp_path / "entities.jsonl"
    # Where the programs of this environment are.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PATH": path}

    def parts():
        return sorted(tmp_path.glob("entities.jsonl.*"))

    started = subprocess.Popen(command, cwd=tmp_path, env=environment)
    deadline = time.monotonic() + 200
    # One of them: on a busy machine it may be through before the other begins.
    while not any(part.stat().st_size for part in parts()):
        assert started.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    launcher = psutil.Process(started.pid)
    for process in [launcher, *launcher.children(recursive=True)]:
        process.kill()
    started.wait()
    time.sleep(0.5)
    assert not output.exists()
    before = {part: part.read_bytes() for part in parts()}
    assert 0 < sum(content.count(b"\n") for content in before.values()) < len(texts)
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    assert not parts()
    kept = [row for content in before.values() for row in content.splitlines()[:1]]
    assert all(row in output.read_bytes() for row in kept)

    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(app, [*command[-5:-1], "alone.jsonl"]).exit_code == 0
    rows, alone = (
        [json.loads(row) for row in (tmp_path / name).read_bytes().splitlines()]
        for name in ("entities.jsonl", "alone.jsonl")
    )
    assert [row["text"] for row in rows] == [row["text"] for row in alone] == texts
    assert any(row["entities"] for row in rows)
    for row, other in zip(rows, alone, strict=True):
        scores = [entity.pop("score") for entity in row["entities"]]
        assert scores == pytest.approx([entity.pop("score") for entity in other["entities"]], abs=1e-5)
        assert row == other
