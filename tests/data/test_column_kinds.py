"""Columns before the words are not taken for the words, and what stays open is an error."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modeling_lacl.data.examples import LaclDataError
from modeling_lacl.data.reading import read_dataset
from modeling_lacl.data.tags import gold_tags

SENTENCES = [
    [("Mira", "NNP", "B-person"), ("Vask", "NNP", "I-person"), ("flew", "VBD", "O"), ("home", "RB", "O")],
    [("She", "PRP", "O"), ("saw", "VBD", "O"), ("3", "CD", "O"), ("ships", "NNS", "O"), (".", ".", "O")],
    [("Quito", "NNP", "B-place"), ("sleeps", "VBZ", "O")],
]


def running(start, missing=None):
    def column(sentences):
        return [
            ["_" if position == missing else str(position) for position in range(start, start + len(one))]
            for one in sentences
        ]

    return column


def with_gap(sentences):
    """Numbers from 1 of which one is missing: 1, 2, 4, …"""
    return [[str(position + (position > 2)) for position in range(1, len(one) + 1)] for one in sentences]


def offsets(end):
    def column(sentences):
        result: list[list[str]] = []
        position = 0
        for one in sentences:
            result.append([])
            for word, *_ in one:
                result[-1].append(str(position + (len(word) if end else 0)))
                position += len(word) + 1
        return result

    return column


def pairs(sentences):
    return [
        [f"{a}-{b}" for a, b in zip(*both, strict=True)]
        for both in zip(offsets(0)(sentences), offsets(1)(sentences), strict=True)
    ]


KINDS = {
    "from one": running(1),
    "from zero": running(0),
    "one blank": running(1, missing=2),
    "gap": with_gap,
    "through the file": lambda s: offsets(0)([[("",)] * len(one) for one in s]),
    "start": offsets(0),
    "end": offsets(1),
    "offsets": pairs,
    "document": lambda s: [["news"] * len(one) for one in s],
    "file": lambda s: [[f"{'abc'[n]}.txt"] * len(one) for n, one in enumerate(s)],
    "ids": lambda s: [[f"s{n}.w{m}" for m in range(len(one))] for n, one in enumerate(s)],
    "first of sentence": lambda s: [["Sentence:", *[""] * (len(one) - 1)] for one in s],
    "parts of speech": lambda s: [[word[1] for word in one] for one in s],
    "chunks": lambda s: [["B-NP" if word[1].startswith("N") else "O" for word in one] for one in s],
}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=st.lists(st.sampled_from(sorted(KINDS)), max_size=3, unique=True), behind=st.booleans())
def test_columns_before_the_words(tmp_path_factory, before, behind):
    columns = [KINDS[kind](SENTENCES) for kind in before]
    lines = []
    for number, sentence in enumerate(SENTENCES):
        for position, (word, part, tag) in enumerate(sentence):
            fields = [column[number][position] for column in columns]
            lines.append("\t".join([*fields, word, *[part] * behind, tag]))
        lines.append("")
    path = tmp_path_factory.mktemp("columns") / "data.txt"
    path.write_text("\n".join(lines))
    dataset = read_dataset(path)
    assert dataset["tokens"][:] == [[word for word, *_ in sentence] for sentence in SENTENCES]
    assert gold_tags(dataset) == [[tag for *_, tag in sentence] for sentence in SENTENCES]


CONLLU = """# sent_id = 1
1\tVa\tandare\tVERB\tV\t_\t0\troot\t_\tO
2-3\tdella\t_\t_\t_\t_\t_\t_\t_\t_
2\tdi\tdi\tADP\tE\t_\t4\tcase\t_\tO
3\tla\til\tDET\tRD\t_\t4\tdet\t_\tO
4\tMira\tMira\tPROPN\tSP\t_\t1\tobl\t_\tB-person
4.1\tparte\tpartire\tVERB\tV\t_\t_\t_\t1:conj\tO
"""


def test_ranges_and_empty_nodes_are_no_words(tmp_path):
    path = tmp_path / "data.conllu"
    path.write_text(CONLLU)
    assert read_dataset(path)["tokens"][:] == [["Va", "di", "la", "Mira"]]
    path.write_text("1\tMira\tB-person\n2-3\tdella\tO\n2\tdi\tO\n3\tla\tO\n3.1\tx\tO\n")
    assert read_dataset(path)["tokens"][:] == [["Mira", "di", "la"]]
    # Without a column of numbers these are words.
    path.write_text("won\tVBD\tO\n2-3\tCD\tB-score\n4.1\tCD\tB-score\n")
    assert read_dataset(path)["tokens"][:] == [["won", "2-3", "4.1"]]


@pytest.mark.parametrize("misc", ["Gloss=Mira", "SpaceAfter=No|Ref=MARK_1.1", "start_char=0|end_char=4"])
def test_features_are_no_tags(tmp_path, misc):
    path = tmp_path / "data.conllu"
    path.write_text(
        f"1\tMira\tMira\tPROPN\tNNP\t_\t2\tnsubj\t_\t{misc}\n2\tran\trun\tVERB\tVBD\t_\t0\troot\t_\t_\n"
    )
    with pytest.raises(
        LaclDataError,
        match="column 9 has features as CoNLL-U's MISC has .*brackets under Entity, or tags under NER",
    ):
        read_dataset(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("4\t9\t3\tB-x\n7\t12\t3\tO\n", "not clear which .*column 0 has '4', '7'; .*--token-column 0"),
        ("a.txt\tnews\tO\na.txt\tnews\tB-x\n", "column 1 has 'news'; name it: --token-column 0"),
    ],
)
def test_what_stays_open_is_an_error(tmp_path, content, message):
    path = tmp_path / "data.txt"
    path.write_text(content)
    with pytest.raises(LaclDataError, match=message):
        read_dataset(path)
    assert len(read_dataset(path, token_column=0)[0]["tokens"]) == 2


def test_two_columns_of_tags(tmp_path):
    path = tmp_path / "data.tsv"
    path.write_text("1\tUni\tB-ORG\tO\n2\tOslo\tI-ORG\tB-LOC\n3\tin\tO\tO\n4\tRom\tB-LOC\tO\n")
    with pytest.raises(LaclDataError, match="columns 2 and 3 both have tags of the same types.*GermEval"):
        read_dataset(path)
    assert gold_tags(read_dataset(path, tag_column=2)) == [["B-ORG", "I-ORG", "O", "B-LOC"]]
    path.write_text("Uni I-ORG B-ORG\nOslo I-ORG I-ORG\nin O O\n")  # the same in two schemes
    assert gold_tags(read_dataset(path)) == [["B-ORG", "I-ORG", "O"]]


def test_tables_in_quotes(tmp_path):
    path = tmp_path / "data.tsv"
    path.write_text('"Mira"\t"B-person"\n"said"\t"O"\n""""\t"O"\n')
    dataset = read_dataset(path)
    assert dataset["tokens"][:] == [["Mira", "said", '"']] and gold_tags(dataset) == [["B-person", "O", "O"]]
