"""FEW-NERD's episode-data: one episode per line."""

import json

import pytest

from modeling_lacl.data.corpora.few_nerd import read_episodes
from modeling_lacl.data.examples import LaclDataError

EPISODE = {
    "support": {
        "word": [["Ana", "flew"], ["to", "Oslo"]],
        "label": [["person-actor", "O"], ["O", "location-GPE"]],
    },
    "query": {"word": [["Lima", "is", "warm"]], "label": [["location-GPE", "O", "O"]]},
    "types": ["person-actor", "location-GPE"],
}


def write(tmp_path, *episodes):
    path = tmp_path / "test_2_1.jsonl"
    path.write_text("".join(json.dumps(episode) + "\n" for episode in episodes))
    return path


def test_episodes_in_order(tmp_path):
    second = EPISODE | {"types": ["location-GPE", "person-actor"]}
    path = write(tmp_path, EPISODE, second)
    first, other = read_episodes(path)
    assert first.types == ["person-actor", "location-GPE"] and other.types == ["location-GPE", "person-actor"]
    assert first.support == [["Ana", "flew"], ["to", "Oslo"]]
    assert first.support_labels == [["person-actor", "O"], ["O", "location-GPE"]]
    assert first.query == [["Lima", "is", "warm"]] and first.query_labels == [["location-GPE", "O", "O"]]
    assert [one.types for one in read_episodes(path, skip=1)] == [other.types]


def test_reads_no_further_than_it_is_asked(tmp_path):
    path = write(tmp_path, EPISODE, {"types": []})
    episodes = read_episodes(path)
    assert next(episodes).types == EPISODE["types"]
    with pytest.raises(LaclDataError, match=r"test_2_1\.jsonl:2: no list 'types'"):
        next(episodes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": {"word": [["a"]]}}, "'query' needs as many lists under 'word' as under 'label'"),
        ({"query": {"word": [], "label": []}}, "'query' needs as many lists"),
        (
            {"query": {"word": [["a", "b"]], "label": [["O"]]}},
            "sentence 0 of 'query' must have a label for every",
        ),
        ({"query": {"word": [[1]], "label": [["O"]]}}, "sentence 0 of 'query' must have"),
        (
            {"query": {"word": [["a"]], "label": [["art-film"]]}},
            "has the label 'art-film', which is not in 'types'",
        ),
        ({"support": None}, "'support' needs"),
        ({"types": "person"}, "no list 'types'"),
    ],
)
def test_malformed_episodes_are_named_with_the_line(tmp_path, change, message):
    path = write(tmp_path, EPISODE, EPISODE | change)
    with pytest.raises(LaclDataError, match=rf"test_2_1\.jsonl:2: .*{message}"):
        list(read_episodes(path))


def test_files_that_are_none(tmp_path):
    with pytest.raises(LaclDataError, match="no such file; FEW-NERD's episode-data is at"):
        next(read_episodes(tmp_path / "none.jsonl"))
    (tmp_path / "bad.jsonl").write_text("{")
    with pytest.raises(LaclDataError, match=r"bad\.jsonl:1: not a JSON object"):
        next(read_episodes(tmp_path / "bad.jsonl"))
