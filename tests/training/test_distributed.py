"""Two processes with half the batch each are one process with the whole: run as such, on the CPU."""

import subprocess
import sys
from collections import Counter

import pytest
import torch
import two_processes  # type: ignore[import-not-found]  # pytest finds it beside this file
from two_processes import SAVED_AT, STEPS, TRAININGS, gradients, load, make_batch, make_rows, train

LABELS = ["person", "location", "creative-work", "ship", "plane", "game"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, make_tiny_model):
    """A small model without dropout, which would differ between processes."""
    folder = tmp_path_factory.mktemp("processes")
    model = make_tiny_model(LABELS, encoder={"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0})
    model.save_pretrained(folder / "model")
    return folder


@pytest.fixture(scope="module")
def results(folder):
    """What each of the two processes found."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone"]
    done = subprocess.run(
        [*launch, two_processes.__file__, str(folder)], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(folder / f"results-{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("name", STEPS)
def test_loss_and_gradients_are_those_of_one_process(folder, results, name):
    ids, labels = make_batch()
    model = load(folder, **STEPS[name][1]).double()
    output = model(ids, labels=labels)
    output.loss.backward()
    expected = gradients(model)
    (first, gradients_0), (second, gradients_1) = (one["steps"][name] for one in results)
    for part, a, b in zip(("loss", "context_context_loss", "context_label_loss"), first, second, strict=True):
        if output.get(part) is not None:
            assert (a + b) / 2 == pytest.approx(output[part].item(), rel=1e-6)
    assert output.loss > 0 and max(gradient.abs().max() for gradient in expected.values()) > 1e-3
    assert expected.keys() == gradients_0.keys()
    for key, gradient in expected.items():
        assert torch.equal(gradients_0[key], gradients_1[key])
        torch.testing.assert_close(gradients_0[key], gradient, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", TRAININGS)
def test_training_is_that_of_one_process(folder, results, name):
    """Plain batches are one batch; episodes and groups of corpora are apart, as if accumulated."""
    options = dict(TRAININGS[name])
    apart = name in ("episodes", "corpora")
    if apart:
        alone = train(folder, f"{name}-alone", batch_size=4, gradient_accumulation_steps=2, **options)
    else:
        alone = train(folder, f"{name}-alone", batch_size=8, **options)
    first, second = (one["trainings"][name] for one in results)
    assert len(alone["log"]) == options["max_steps"]
    torch.testing.assert_close(torch.tensor(first["log"]), torch.tensor(alone["log"]), rtol=1e-4, atol=1e-5)
    for key, value in alone["weights"].items():
        torch.testing.assert_close(first["weights"][key], value, rtol=1e-3, atol=1e-4)
        assert torch.equal(first["weights"][key], second["weights"][key])
    if apart:
        assert first["prompts"] == alone["prompts"][0::2] and second["prompts"] == alone["prompts"][1::2]
    else:
        assert first["prompts"] == second["prompts"] == alone["prompts"]
        together = [a + b for a, b in zip(first["seen"], second["seen"], strict=True)]
        assert together == alone["seen"]


@pytest.mark.parametrize("order", ["at random", "by length"])
def test_every_epoch_has_every_row_once(results, order):
    """All processes must shuffle alike in each epoch."""
    rows = Counter(tuple(row) for row in make_rows()["input_ids"])
    steps = len(rows) // 8
    orders = []
    for epoch in range(3):
        part = slice(epoch * steps, (epoch + 1) * steps)
        every = [one[order]["unbroken"]["seen"][part] for one in results]
        seen = [tuple(row) for batches in every for batch in batches for row in batch]
        assert Counter(seen) == rows
        orders.append(seen)
    assert orders[0] != orders[1] != orders[2]


@pytest.mark.parametrize("order", ["at random", "by length"])
def test_a_resumed_run_of_two_processes_goes_on_as_if_unbroken(results, order):
    """It was broken in its second epoch."""
    for one in results:
        unbroken, resumed = one[order]["unbroken"], one[order]["resumed"]
        assert resumed["seen"] == unbroken["seen"][SAVED_AT:]
        assert resumed["log"] == unbroken["log"]


def test_a_checkpoint_is_complete_when_all_processes_have_saved(results):
    """`trainer_state.json`, which marks a checkpoint as complete, is written after all of these files."""
    for one in results:
        assert one["by length"]["unbroken"]["saved_by"] == [["rng_state_0.pth", "rng_state_1.pth"]] * 2
