"""The benchmark of episodes, on a tiny encoder: both ways give the same tags."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertModel

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "episodes.py"


@pytest.mark.parametrize("model", ["gaussian", "nnshot"])
def test_both_ways_give_the_same_tags(model, tmp_path, tiny_tokenizer, monkeypatch, capsys):
    lines = []
    for number in range(60):
        kind, word = (("person", "ana"), ("city", "quito"), ("plane", "cessna"))[number % 3]
        # Every tenth sentence is longer than a window of the model, 128 tokens with the special ones.
        lines.append(f"the\tO\n{word}\t{kind}\nflew\tO\n" + "to\tO\n" * (200 * (number % 10 == 0)))
    (tmp_path / "test.txt").write_text("\n".join(lines))
    torch.manual_seed(0)
    size: Any = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = BertConfig(
        vocab_size=len(tiny_tokenizer), max_position_embeddings=128, initializer_range=0.5, **size
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(tmp_path / "encoder")
    tiny_tokenizer.save_pretrained(tmp_path / "encoder")
    arguments = f"--encoder {tmp_path / 'encoder'} --model {model} --n_way 2 --shots 2 --episodes 7 --block 3"
    monkeypatch.setattr("sys.argv", [str(PROGRAM), str(tmp_path / "test.txt"), *arguments.split()])
    runpy.run_path(str(PROGRAM), run_name="__main__")
    report = capsys.readouterr().out
    assert re.search(r"- 0 of [1-9]\d+ words have different tags, in the 7 episodes", report)
    assert "| times faster |" in report
