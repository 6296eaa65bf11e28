"""Processes killed at random moments: what is there afterwards is whole, and the same command goes on.

`LACL_KILLS` sets how many are killed in each test.
"""

import json
import os
import random
import re
import time

import pytest
import torch

from modeling_lacl import LaclForTokenClassification
from modeling_lacl.hub.loading import load_model

KILLS = int(os.environ.get("LACL_KILLS", "3"))
TEXTS = [f"ana ruiz {number} flew to quito on a cessna" for number in range(800)]


def moments(seconds, begin=0.0):
    """Moments spread over a run that takes so long, each at random within its part of it."""
    generator = random.Random()
    return [begin + (seconds - begin) * (part + generator.random()) / KILLS for part in range(KILLS)]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, make_tiny_model):
    folder = tmp_path_factory.mktemp("model") / "tiny"
    make_tiny_model(encoder={"max_position_embeddings": 512}).save_pretrained(folder)
    return folder


def killed_at(child, moment):
    """Kills a child so many seconds after its start; whether it was still running."""
    time.sleep(max(0.0, child.started + moment - time.monotonic()))
    return child.kill() != 0


# ---- predict -----------------------------------------------------------------------------------------------


def test_predict_leaves_whole_lines_and_goes_on(nursery, checkpoint, tmp_path):
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    arguments = ["predict", checkpoint, texts, "--batch-size", "4", "--output"]
    nursery.run(*arguments, tmp_path / "unbroken.jsonl")
    unbroken = (tmp_path / "unbroken.jsonl").read_bytes()
    assert unbroken.count(b"\n") == len(TEXTS)
    output = tmp_path / "broken.jsonl"
    length = broken = 0
    for _ in range(KILLS):
        child = nursery.start(*arguments, output, "--resume")
        deadline = time.monotonic() + 100
        while not (output.exists() and output.stat().st_size > length) and length < len(unbroken):
            assert time.monotonic() < deadline, child.err
            time.sleep(0.005)
        time.sleep(random.uniform(0.0, 0.1))
        broken += child.kill() < 0
        content = output.read_bytes() if output.exists() else b""
        assert content.endswith(b"\n") or not content
        assert unbroken.startswith(content) and len(content) >= length
        length = len(content)
    assert broken
    nursery.run(*arguments, output, "--resume")
    assert output.read_bytes() == unbroken


# ---- save and adapt ----------------------------------------------------------------------------------------

SAVE = """
import sys, torch
from modeling_lacl import LaclForTokenClassification
model = LaclForTokenClassification.from_pretrained(sys.argv[1])
for number in range(10_000):
    model.config.alpha = number % 2 / 2
    with torch.no_grad():
        model.lacl.projection.mean.bias.fill_(number % 2 / 2)
    model.save_pretrained(sys.argv[2])
    print("saved", flush=True)
"""


def whole_or_absent(folder):
    """Whether the folder holds a checkpoint; one that loads is whole."""
    try:
        model = LaclForTokenClassification.from_pretrained(folder)
    except OSError as error:
        assert "config.json" in str(error)
        assert not (folder / "config.json").exists()
        with pytest.raises(ValueError, match="has no config.json"):
            load_model(folder)
        return False
    assert model.predict(TEXTS[0]) is not None
    bias = model.state_dict()["lacl.projection.mean.bias"]
    assert bias.unique().tolist() == [model.config.alpha]
    return True


def test_a_save_is_whole_or_not_there(nursery, checkpoint, tmp_path):
    """Of two models that are saved in turn, never the configuration of one with the weights of the other."""
    folder = tmp_path / "saved"
    loaded = 0
    for _ in range(KILLS):
        child = nursery.start(checkpoint, folder, program=SAVE)
        deadline = time.monotonic() + 60
        while "saved" not in child.out and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(random.uniform(0.0, 0.3))
        assert child.kill() < 0, child.err
        loaded += whole_or_absent(folder)
    assert loaded


def test_adapt_is_whole_or_not_there(nursery, checkpoint, tmp_path):
    support = tmp_path / "support.jsonl"
    rows = [{"tokens": ["ana", "flew"], "ner_tags": ["B-person", "O"]}] * 4
    support.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    arguments = ["adapt", checkpoint, support, "--steps", "3", "--output"]
    start = time.monotonic()
    nursery.run(*arguments, tmp_path / "unbroken")
    seconds = time.monotonic() - start
    expected = load_model(tmp_path / "unbroken")
    for moment in moments(seconds):
        folder = tmp_path / f"killed-at-{moment}"
        killed_at(nursery.start(*arguments, folder), moment)
        if (folder / "config.json").exists():
            found = load_model(folder)
            assert torch.equal(found.support_mean, expected.support_mean)
            assert found.predict(TEXTS[0]) == expected.predict(TEXTS[0])
        else:
            with pytest.raises(ValueError, match="cannot load the checkpoint"):
                load_model(folder)
    # The last one again, into what the kill has left.
    nursery.run(*arguments, folder)
    assert load_model(folder).predict(TEXTS[0]) == expected.predict(TEXTS[0])


# ---- train -------------------------------------------------------------------------------------------------


def curve(folder):
    """The loss and its step, of every step, as the finished run has them."""
    history = json.loads((folder / "trainer_state.json").read_text())["log_history"]
    return {entry["step"]: (entry["loss"], entry["grad_norm"]) for entry in history if "loss" in entry}


def test_train_goes_on_from_the_last_whole_checkpoint(nursery, checkpoint, tmp_path, make_tiny_model):
    """The same losses as an unbroken run, whenever and how often it was killed."""
    encoder = tmp_path / "encoder"
    tiny = make_tiny_model()
    tiny.lacl.encoder.save_pretrained(encoder)
    tiny.tokenizer.save_pretrained(encoder)
    words = ["ana\tB-person", "flew\tO", "to\tO", "quito\tB-location", ""]
    train_file = tmp_path / "train.txt"
    train_file.write_text("\n".join(words * 40), encoding="utf-8")
    given = {
        **{"encoder": encoder, "train_file": train_file, "max_steps": 13, "save_steps": 1, "seed": 5},
        **{"per_device_train_batch_size": 8, "logging_steps": 1, "disable_tqdm": "true", "use_cpu": "true"},
        **{"save_total_limit": 3, "report_to": "none", "save_strategy": "steps", "eval_strategy": "no"},
    }
    arguments = ["train", *(part for key, value in given.items() for part in (f"--{key}", value))]
    start = time.monotonic()
    nursery.run(*arguments, "--output_dir", tmp_path / "unbroken")
    seconds = time.monotonic() - start
    folder = tmp_path / "broken"
    again = [*arguments, "--output_dir", folder, "--resume"]
    for moment in moments(seconds, begin=seconds / 4):
        child = nursery.start(*again)
        killed_at(child, moment)
        for path in folder.glob("checkpoint-*"):
            if (path / "trainer_state.json").exists():
                assert re.fullmatch(r"checkpoint-\d+", path.name)
                LaclForTokenClassification.from_pretrained(path)
    nursery.run(*again)
    assert curve(folder) == curve(tmp_path / "unbroken")
    texts = TEXTS[:5]
    assert load_model(folder).predict(texts) == load_model(tmp_path / "unbroken").predict(texts)
