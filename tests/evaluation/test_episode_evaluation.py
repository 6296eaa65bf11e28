"""Episodes: drawn by the rule, blind to gold tags, pooled, gone on with after a kill."""

import json
from pathlib import Path

import pytest

from modeling_lacl.evaluation import EpisodeTarget, TransferRecipe, evaluate_transfer
from modeling_lacl.evaluation import episode_evaluation as protocol

WORDS = {"person": ["Ana", "Leonardo"], "location": ["Quito", "Oslo"], "ship": ["Mona", "Lisa"]}


@pytest.fixture
def recipe(tmp_path):
    lines = []
    for number in range(40):
        label = list(WORDS)[number % 3]
        lines += [f"the\tO\n{WORDS[label][number % 2]}\t{label}\nis\tO\nin\tO\n"]
    (tmp_path / "test.txt").write_text("\n".join(lines))
    return TransferRecipe(
        checkpoint="in memory",
        episodes=[EpisodeTarget(name="Words", file="test.txt", n_way=2, k_shot=2, q_shot=3, number=6)],
        adapt={"steps": 0},
        output=str(tmp_path / "out"),
        data_root=str(tmp_path),
    )


def without_seconds(result):
    return [{**vars(one), "seconds": None} for one in result.episodes]


def test_counts_are_pooled_over_episodes(recipe, model):
    report = evaluate_transfer(recipe, model)
    (result,) = report.episodes
    assert result.shots == "2-way 2~4-shot"
    assert [one.episode for one in result.episodes] == list(range(6))
    assert all(len(one.types) == 2 and 6 <= one.gold <= 12 for one in result.episodes)
    correct, found, gold = (
        sum(getattr(one, key) for one in result.episodes) for key in ("correct", "found", "gold")
    )
    assert result.f1 == pytest.approx(2 * correct / (found + gold))
    assert result.recall == pytest.approx(correct / gold)
    row = report.summary()[-1]
    assert row["f1"]["pooled"] == result.f1 and row["f1"]["count"] == 6
    assert f"{100 * result.f1:.1f}" in report.to_markdown()


def test_gold_tags_of_query_sentences_do_not_reach_predictions(recipe, model, monkeypatch):
    """With the query's tags all set to outside behind its back, the model sees and finds the same."""
    tagged = []
    count = protocol.entity_counts

    def recorded(gold, tags):
        tagged.append(tags)
        return count(gold, tags)

    monkeypatch.setattr(protocol, "entity_counts", recorded)
    evaluate_transfer(recipe, model)
    before = list(tagged)
    tagged.clear()

    score = protocol._score

    def without_gold(adapted, tokenizer, dataset, *rest):
        outside = dataset.map(lambda row: {"ner_tags": [0] * len(row["ner_tags"])})
        return score(adapted, tokenizer, outside, *rest)

    monkeypatch.setattr(protocol, "_score", without_gold)
    recipe.output += "-again"
    (result,) = evaluate_transfer(recipe, model).episodes
    assert tagged == before and all(one.gold == 0 for one in result.episodes)


def test_a_killed_run_goes_on_where_it_was(recipe, model):
    (whole,) = evaluate_transfer(recipe, model).episodes
    file = Path(recipe.output) / "words.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    assert len(lines) == 7
    file.write_text("".join(lines[:4]) + lines[4][:20])
    kept = [json.loads(line) for line in lines[1:4]]
    (again,) = evaluate_transfer(recipe, model).episodes
    assert without_seconds(again) == without_seconds(whole)
    assert [json.loads(line) for line in file.read_text().splitlines()[1:4]] == kept


def test_results_of_other_settings_are_not_mixed(recipe, model):
    evaluate_transfer(recipe, model)
    recipe.seed += 1
    with pytest.raises(ValueError, match="made with other settings"):
        evaluate_transfer(recipe, model)


def test_a_file_that_is_not_there(recipe, model):
    recipe.episodes[0].file = "nothing.txt"
    with pytest.raises(ValueError, match="set 'data_root'"):
        evaluate_transfer(recipe, model)
