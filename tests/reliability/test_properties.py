"""The released model on any text: places, batches, padding, windows, threads, processes, label order."""

import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import modeling_lacl
from modeling_lacl.training.word_labels import word_scores

LABELS = ["person", "city", "airplane", "company"]
SENTENCES = [
    "Ana Ruiz flew to Quito on a Cessna 172.",
    "Siemens was founded in Berlin by Werner von Siemens!",
    "نورة سافرت إلى القاهرة على متن بوينغ 737.",
    "東京タワーに行った。",
    "Zoë's café in Łódź \U0001f600",
]
awkward = st.sampled_from(
    "\u0301\u200d\u00ad\u200b\u2028\x00\x85\ud800\ufeff\u202eİßﬁ東ั😀🏽🇩🇪’'-_.\u00a0\n\t "
)
pieces = st.one_of(
    st.text(st.characters(), max_size=6),
    st.text(awkward, max_size=4),
    st.sampled_from(["Ana Ruiz", " Quito", " flew to ", "Cessna 172", ". ", "Siemens AG", "Berlin-Mitte"]),
)
texts = st.lists(pieces, max_size=12).map("".join)


def apart(entities):
    return [{key: value for key, value in entity.items() if key != "score"} for entity in entities]


def assert_same(found, expected):
    assert apart(found) == apart(expected)
    scores = [[entity["score"] for entity in entities] for entities in (found, expected)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-5)


def assert_well_placed(text, entities):
    for entity in entities:
        assert 0 <= entity["start"] < entity["end"] <= len(text)
        assert text[entity["start"] : entity["end"]] == entity["word"] and entity["word"].strip()
        assert entity["entity_group"] in LABELS and 0.0 <= entity["score"] <= 1.0
    assert all(before["end"] <= after["start"] for before, after in pairwise(entities))


@settings(max_examples=15, deadline=None)
@given(st.lists(texts, min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_entities_of_a_batch_are_those_of_single_texts_in_any_order(released, batch, order):
    together = released.predict(batch, labels=LABELS)
    for text, entities in zip(batch, together, strict=True):
        assert_well_placed(text, entities)
        assert_same(released.predict(text, labels=LABELS), entities)
    shuffled = list(range(len(batch)))
    order.shuffle(shuffled)
    again = released.predict([batch[index] for index in shuffled], labels=LABELS, batch_size=2)
    for index, entities in zip(shuffled, again, strict=True):
        assert_same(entities, together[index])


@settings(max_examples=8, deadline=None)
@given(texts.filter(str.strip), st.integers(1, 60))
def test_padding_changes_no_score(released, text, longer):
    words = text.split()
    [alone] = word_scores(released, [words], labels=LABELS)
    padded, _ = word_scores(released, [words, ["word"] * longer], labels=LABELS)
    torch.testing.assert_close(padded.softmax(-1), alone.softmax(-1), rtol=0, atol=1e-5)


def test_a_long_text_repeats_its_entities_across_windows(released):
    """Wherever a window ends, no entity is lost or doubled."""
    sentence = "Ana Ruiz flew to Quito on a Cessna 172. "
    entities = released.predict(sentence * 60, labels=LABELS)
    assert_well_placed(sentence * 60, entities)
    found = sorted((entity["start"] // len(sentence), entity["word"]) for entity in entities)
    assert [place for place, word in found if word == "Quito"] == list(range(60))
    assert [place for place, word in found if word == "Cessna 172"] == list(range(60))


def test_threads_give_what_one_after_the_other_gives(released):
    """Label sets of their own, windows of different sizes, and a stream, at once on one model."""
    calls = [
        (SENTENCES, LABELS),
        (SENTENCES[::-1], ["city"]),
        ([" ".join(SENTENCES) * 5], ["person", "country or city", "company that makes airplanes"]),
        (SENTENCES * 3, {"PER": "person", "LOC": "location"}),
    ]
    expected = [released.predict(inputs, labels=labels) for inputs, labels in calls]

    def one(number):
        inputs, labels = calls[number % len(calls)]
        return list(released.predict(iter(inputs), labels=labels, batch_size=2 + number % 3))

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(one, range(16)))
    for number, result in enumerate(results):
        for entities, wanted in zip(result, expected[number % len(calls)], strict=True):
            assert_same(entities, wanted)


def test_label_order_changes_little(released):
    """The prompt is a text: what the order of its names changes is bounded here, and measured by
    `label_order.py`."""
    words = [sentence.split() for sentence in SENTENCES[:2]]
    generator = random.Random(0)
    base = [scores.softmax(-1) for scores in word_scores(released, words, labels=LABELS)]
    for _ in range(4):
        order = generator.sample(range(len(LABELS)), len(LABELS))
        shuffled = word_scores(released, words, labels=[LABELS[i] for i in order])
        for one, other in zip(base, shuffled, strict=True):
            back = other.softmax(-1)[:, [0, *(1 + order.index(i) for i in range(len(LABELS)))]]
            assert (one - back).abs().max() < 0.5
            assert (one.argmax(-1) == back.argmax(-1)).float().mean() > 0.8


DETERMINED = """
import hashlib, sys
from modeling_lacl import LaclForTokenClassification, adapt
from modeling_lacl.cli import main

encoder, support, output = sys.argv[1:]
sys.argv = ["lacl", "train", "--encoder", encoder, "--train_file", support, "--output_dir", output]
sys.argv += ["--max_steps", "3", "--use_cpu", "true", "--report_to", "none", "--seed", "7"]
try:
    main()
except SystemExit as stop:
    assert not stop.code
model = LaclForTokenClassification.from_pretrained(output)
adapted = adapt(model, support, steps=2, seed=7)
digest = hashlib.sha256()
for one in (model, adapted):
    for name, tensor in sorted(one.state_dict().items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
print(digest.hexdigest(), adapted.predict("ana flew to quito on a cessna"), sep="\\n")
"""


def test_the_same_seed_gives_the_same_in_two_processes(make_tiny_model, tmp_path):
    """Training, adapting and predicting in fresh processes whose hashes of strings differ."""
    model = make_tiny_model()
    model.lacl.encoder.save_pretrained(tmp_path / "encoder")
    model.tokenizer.save_pretrained(tmp_path / "encoder")
    rows = ["ana\tB-person", "ruiz\tI-person", "flew\tO", "quito\tB-location", "cessna\tB-plane", ""]
    (tmp_path / "data.txt").write_text("\n".join(rows * 12))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", DETERMINED, "encoder", "data.txt", f"output-{seed}"],
            env={**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1", "PYTHONPATH": PACKAGE_ROOT},
            cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for seed in ("1", "2")
    ]  # fmt: skip
    (first, errors), (second, _) = (process.communicate(timeout=240) for process in processes)
    assert len(first.splitlines()[-2]) == 64, errors
    assert first.splitlines()[-2:] == second.splitlines()[-2:]


PACKAGE_ROOT = str(Path(modeling_lacl.__file__).parents[1])
