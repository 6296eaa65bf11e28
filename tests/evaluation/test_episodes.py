"""Episodes: sampled by the rule, without access to gold tags, pooled, resumed after an interruption."""

import json
from pathlib import Path

import pytest

from modeling_lacl import adapt
from modeling_lacl.data.tag_schemes import io_to_bio
from modeling_lacl.evaluation import episodes as protocol
from modeling_lacl.evaluation.recipe import TransferRecipe
from modeling_lacl.evaluation.targets import EpisodeTarget
from modeling_lacl.evaluation.transfer import evaluate_transfer
from modeling_lacl.training.word_labels import predict_words

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


@pytest.fixture
def tagged(monkeypatch):
    """The tags that were scored, episode by episode."""
    calls = []
    count = protocol.entity_counts

    def recorded(gold, tags):
        calls.append(tags)
        return count(gold, tags)

    monkeypatch.setattr(protocol, "entity_counts", recorded)
    return calls


def published(recipe, *episodes):
    """The recipe on episodes from a file in the format of FEW-NERD's episode-data."""
    path = Path(recipe.data_root) / "test_2_1.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in episodes))
    recipe.episodes = [
        EpisodeTarget(name="Words", file=path.name, n_way=2, k_shot=1, number=len(episodes), published=True)
    ]
    return recipe


def an_episode(first="person", second="location", query=("O", "location", "O")):
    return {
        "support": {
            "word": [["Ana", "Ruiz", "flew"], ["to", "Oslo"]],
            "label": [[first, first, "O"], ["O", second]],
        },
        "query": {"word": [["the", "Quito", "flew"], ["Ruiz"]], "label": [list(query), ["person"]]},
        "types": [first, second],
    }


def test_published_episodes(recipe, model, tagged):
    second = an_episode("ship", "person", ("O", "ship", "ship"))
    (result,) = evaluate_transfer(published(recipe, an_episode(), second), model).episodes
    assert [(one.episode, one.types, one.gold) for one in result.episodes] == [
        (0, ["person", "location"], 2),
        (1, ["ship", "person"], 2),
    ]
    # As adapting to the sentences and tagging the others, said in so many words.
    support = [
        {"tokens": ["Ana", "Ruiz", "flew"], "ner_tags": ["B-person", "I-person", "O"]},
        {"tokens": ["to", "Oslo"], "ner_tags": ["O", "B-location"]},
    ]
    adapted = adapt(model, support, steps=0, seed=recipe.seed)
    ids = predict_words(adapted, [["the", "Quito", "flew"], ["Ruiz"]])
    assert tagged[0] == io_to_bio(ids, ["person", "location"])


def test_gold_tags_of_query_sentences_do_not_reach_predictions(recipe, model, tagged):
    episodes = [an_episode(), an_episode("ship", "person", ("ship", "O", "O"))]
    (before,) = evaluate_transfer(published(recipe, *episodes), model).episodes
    for episode in episodes:
        episode["query"]["label"] = [["O", "O", "O"], ["O"]]
    recipe.output += "-again"
    (after,) = evaluate_transfer(published(recipe, *episodes), model).episodes
    assert tagged[2:] == tagged[:2]
    assert [one.found for one in after.episodes] == [one.found for one in before.episodes]
    assert all(one.gold == 2 for one in before.episodes) and all(one.gold == 0 for one in after.episodes)


def test_words_past_the_window_are_scored(recipe, model, tagged):
    episode = an_episode()
    episode["query"]["word"][0] += ["flew"] * 200 + ["Oslo"]  # many windows of the model's 64 tokens
    episode["query"]["label"][0] += ["O"] * 200 + ["location"]
    (result,) = evaluate_transfer(published(recipe, episode), model).episodes
    assert [len(tags) for tags in tagged[0]] == [204, 1] and result.episodes[0].gold == 3


def test_what_is_wrong_with_published_episodes(recipe, model):
    published(recipe, an_episode())
    recipe.episodes[0].number = 2
    with pytest.raises(ValueError, match=r"test_2_1\.jsonl: holds 1 episodes; set 'number' of 'Words'"):
        evaluate_transfer(recipe, model)
    recipe.output += "-again"
    recipe.episodes[0].n_way = 5
    with pytest.raises(ValueError, match="episode 0 has 2 types, and 'Words' has n_way 5"):
        evaluate_transfer(recipe, model)


def test_a_killed_run_over_published_episodes_goes_on(recipe, model):
    kinds = ("ship", "city", "boat")
    published(recipe, an_episode(), *(an_episode(kind, "person", ("O", kind, "O")) for kind in kinds))
    (whole,) = evaluate_transfer(recipe, model).episodes
    file = Path(recipe.output) / "words.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([*lines[:2], lines[3]]))
    (again,) = evaluate_transfer(recipe, model).episodes
    assert without_seconds(again) == without_seconds(whole)


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
    file.write_text(lines[0][:20])
    (again,) = evaluate_transfer(recipe, model).episodes
    assert without_seconds(again) == without_seconds(whole) and file.read_text().startswith(lines[0])


def test_results_of_other_settings_are_not_mixed(recipe, model):
    evaluate_transfer(recipe, model)
    recipe.seed += 1
    with pytest.raises(ValueError, match="made with other settings"):
        evaluate_transfer(recipe, model)


def test_a_file_that_is_not_there(recipe, model):
    recipe.episodes[0].file = "nothing.txt"
    with pytest.raises(ValueError, match="set 'data_root'"):
        evaluate_transfer(recipe, model)
