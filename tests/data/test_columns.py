"""Column files as people leave them."""

import logging
import re

import pytest

from modeling_lacl.data.examples import LaclDataError
from modeling_lacl.data.reading import read_dataset
from modeling_lacl.data.tags import gold_tags


@pytest.fixture
def write(tmp_path):
    def write(content, name="data.conll"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def sentences(dataset):
    pairs = zip(dataset["tokens"], gold_tags(dataset), strict=True)
    return [list(zip(*sentence, strict=True)) for sentence in pairs]


ANA = [[("Ana", "B-person"), ("Ruiz", "I-person"), ("flew", "O")], [("Quito", "B-place")]]


@pytest.mark.parametrize(
    "content",
    [
        "Ana\tB-person\nRuiz\tI-person\nflew\tO\n\nQuito\tB-place\n",
        "Ana B-person\nRuiz I-person\nflew O\n\nQuito B-place\n",
        "Ana\tB-person\r\nRuiz\tI-person\r\nflew\tO\r\n\r\nQuito\tB-place\r\n",
        "\ufeffAna\tB-person\nRuiz\tI-person\nflew\tO\n \t \n\n\u00a0\n\nQuito\tB-place",
        "Ana B-person\nRuiz\tI-person\nflew   O  \n\nQuito \t B-place\n",
        "Ana\tB-person\nRuiz I-person\nflew\tO\t\n\nQuito\tB-place\n",
        "B-person\tAna\nI-person\tRuiz\nO\tflew\n\nB-place\tQuito\n",
        "B-person\tAna\r\nI-person\tRuiz\r\nO\tflew\r\n\r\nB-place\tQuito\r\n",
        "Ana NNP B-NP B-person\nRuiz NNP I-NP I-person\nflew VBD B-VP O\n\nQuito NNP B-NP B-place\n",
        "1\tAna\tB-person\n2\tRuiz\tI-person\n3\tflew\tO\n\n1\tQuito\tB-place\n",
        "# a comment\n# id\nAna\tB-person\nRuiz\tI-person\n# here too\nflew\tO\n\n#\n# end\nQuito\tB-place\n",
        "Ana person\nRuiz person\nflew O\n\nQuito place\n",
        "Ana\tI-person\nRuiz\tI-person\nflew\tO\n\nQuito\tI-place\n",
        "Ana\tB-person\nRuiz\tE-person\nflew\tO\n\nQuito\tS-place\n",
        "Ana\tB-person\nRuiz\tL-person\nflew\tO\n\nQuito\tU-place\n",
        "Ana\tb-person\nRuiz\ti-person\nflew\to\n\nQuito\tb-place\n",
        "B_person\tAna\nI_person\tRuiz\nO\tflew\n\nB_place\tQuito\n",
        "Ana NNP B-NP b-person\nRuiz NNP I-NP i-person\nflew VBD B-VP o\n\nQuito NNP B-NP b-place\n",
        "Ana\tB-person\tAna\nRuiz\tI-person\tRuiz\nflew\tO\to\n\nQuito\tB-place\tQuito\n",
    ],
    ids=["tab", "space", "crlf", "bom-blank-no-end", "tabs-for-spaces", "spaces-for-tabs", "tag-first",
         "tag-first-crlf", "conll03", "numbered", "comments", "io", "prefixed-io", "bioes", "bilou",
         "lower-case", "underscore", "lower-case-last", "lemma-o"],
)  # fmt: skip
def test_all_these_are_the_same(write, content):
    dataset = read_dataset(write(content))
    assert sentences(dataset) == ANA
    assert dataset.features["ner_tags"].feature.names == ["O", "B-person", "I-person", "B-place", "I-place"]
    assert dataset["id"] == ["0", "1"]


def test_numbers_that_are_words(write):
    path = write("1999\tCD\tB-time\n2000\tCD\tB-time\n\n" + "9" * 5000 + "\tCD\tO\n")
    assert [token for sentence in sentences(read_dataset(path)) for token, _ in sentence][:2] == [
        "1999",
        "2000",
    ]
    assert sentences(read_dataset(write("1\tB-x\n2\tI-x\n"))) == [[("1", "B-x"), ("2", "I-x")]]


def test_columns_given(write):
    path = write("x\tB-place\tAna\tB-person\ny\tO\tran\tO\n")
    assert sentences(read_dataset(path, token_column=2, tag_column=1)) == [[("Ana", "B-place"), ("ran", "O")]]
    assert sentences(read_dataset(path, token_column=-2)) == [[("Ana", "B-person"), ("ran", "O")]]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"tag_column": 2}, "tag_column=2, but lines have 2 columns"),
        ({"token_column": -3}, "token_column=-3, but lines have 2"),
        ({"token_column": 1}, "both column 1"),
        ({"tag_column": "ner"}, "number of a column from 0, got 'ner'"),
    ],
)
def test_columns_that_are_not_there(write, columns, message):
    with pytest.raises(LaclDataError, match=message):
        read_dataset(write("Ana\tB-person\n"), **columns)


def test_few_nerd_types_are_kept_whole(write):
    path = write(
        "Baltic\tevent-attack/battle/war/militaryconflict\nUS\tlocation-GPE\nUK\tlocation-GPE\nof\tO\n"
    )
    assert sentences(read_dataset(path)) == [
        [
            ("Baltic", "B-event-attack/battle/war/militaryconflict"),
            ("US", "B-location-GPE"),
            ("UK", "I-location-GPE"),
            ("of", "O"),
        ]
    ]


def test_hash_is_a_word(write):
    tabs = "#\tO\n# \tO\n#tag\tB-group\n#!\tO\n# newdoc\n\n# O\n#\tB-group\n"
    assert [[token for token, _ in s] for s in sentences(read_dataset(write(tabs)))] == [
        ["#", "#", "#tag", "#!"],
        ["#", "#"],
    ]
    spaces = "# O\n# comment\nAna B-person\n# text = Ana\n# B-person\n"
    assert sentences(read_dataset(write(spaces))) == [[("#", "O"), ("Ana", "B-person"), ("#", "B-person")]]
    assert sentences(read_dataset(write("# O\n# O\n"))) == [[("#", "O"), ("#", "O")]]


def test_forgotten_tag_of_a_hashtag_is_no_comment(write):
    with pytest.raises(LaclDataError, match=r"data\.conll:2: 1 columns where"):
        read_dataset(write("a\tO\n#tag\nb\tO\n"))


def test_documents(write):
    mark = "-DOCSTART- -X- -X- O\n\n"
    dataset = read_dataset(write(f"{mark}Ana NNP B-NP B-person\n\nran VBD B-VP O\n{mark}Quito NNP B-NP O\n"))
    assert dataset["document_id"] == ["0", "0", "1"]
    assert [row["tokens"] for row in dataset] == [["Ana"], ["ran"], ["Quito"]]
    late = "a\tO\n\n-DOCSTART-\n\nb\tO\n\nc\tO\n-DOCSTART- (7)\nd\tO\n"
    assert read_dataset(write(late))["document_id"] == ["0", "1", "1", "2"]
    named = "# newdoc id = GUM_news\n# sent_id = 1\na\tO\n# newdoc id = GUM_bio\nb\tO\n"
    assert read_dataset(write(named))["document_id"] == ["GUM_news", "GUM_bio"]
    assert read_dataset(write("a\tO\n\nb\tO"))["document_id"] == ["0", "0"]


@pytest.mark.parametrize(
    "odd",
    [
        "a\u00a0b",
        "a\u2028b",
        "a\x85b",
        "a\x0cb",
        "a\x1cb",
        "a b",
        "a\rb",
        "\u200b",
        "\u00a0",
        "\x00",
        "\ufeff",
    ],
)
def test_odd_characters_stay_inside_their_token(write, odd):
    dataset = read_dataset(write(f"one\tO\n{odd}\tB-x\nlast\tO\n"))
    assert sentences(dataset) == [[("one", "O"), (odd, "B-x"), ("last", "O")]]


def test_no_break_space_does_not_split_columns(write):
    assert sentences(read_dataset(write("10\u00a0km B-x\nis O\n"))) == [[("10\u00a0km", "B-x"), ("is", "O")]]


def test_invalid_utf8_is_replaced_with_a_warning(write, caplog):
    with caplog.at_level(logging.WARNING):
        dataset = read_dataset(write(b"fine\tO\nbro\xffk\xfeen\tB-x\nreal \xef\xbf\xbd\tO\n"))
    assert dataset[0]["tokens"] == ["fine", "bro\ufffdk\ufffden", "real \ufffd"]
    assert [record.getMessage().split(": ", 1)[1] for record in caplog.records] == [
        "2 bytes that are not utf-8 were replaced by U+FFFD (the first in line 2)"
    ]


def test_other_encodings(write):
    text = "Zoë\tB-person\nran\tO\n"
    assert sentences(read_dataset(write(text.encode("latin-1")), encoding="latin-1"))[0][0][0] == "Zoë"
    assert sentences(read_dataset(write(text.encode("utf-16")), encoding="utf-16"))[0][0][0] == "Zoë"
    with pytest.raises(LaclDataError, match="encoding utf-16"):
        read_dataset(write(text.encode("utf-16")))
    for encoding in ("utf-9", "rot13"):
        with pytest.raises(LaclDataError, match=f"unknown encoding '{encoding}'"):
            read_dataset(write(text), encoding=encoding)
    with pytest.raises(LaclDataError, match="cannot be read as ascii|cannot be read as utf-16"):
        read_dataset(write(b"odd"), encoding="utf-16")


def test_inside_without_begin_warns_once(write, caplog):
    path = write("a\tB-x\nb\tI-x\n\nc\tO\nd\tI-x\ne\tI-y\n")
    with caplog.at_level(logging.WARNING):
        dataset = read_dataset(path)
    assert sentences(dataset)[1] == [("c", "O"), ("d", "B-x"), ("e", "B-y")]
    (record,) = caplog.records
    message = record.getMessage()
    assert message.startswith(f"{path}: 2 BIO tags") and message.endswith(f"at {path}:4)")


@pytest.mark.parametrize(
    ("content", "messages"),
    [
        (
            "a\tO\nb\tb-x\nc\ti-x\n",
            ["2: tags in another spelling were read as those of a scheme: 'b-x' as 'B-x'"],
        ),
        ("a\tO\nb\ti-x\nc\ti-y\n", ["2: the tag 'i-x' was taken for .*I-TYPE", "3: the tag 'i-y'"]),
        ("a\to\nb\tperson\n", ["1: the tag 'o' was taken for .* write a capital O"]),
        ("a\t0\nb\t1\n", ["1: the tag '0' was taken for"]),
        ("a\tO\nb\te-mail\nc\ti-phone\n", []),
        ("a\tO\nb\tb-cell\nc\tperson\n", []),
        ("a\tO\nb\tB-o\nc\tI-o\n", []),
    ],
)
def test_tags_that_look_like_mistakes_warn(write, caplog, content, messages):
    path = write(content)
    read_dataset(path)
    found = [record.getMessage() for record in caplog.records]
    assert len(found) == len(messages)
    for one, message in zip(found, messages, strict=True):
        assert re.match(re.escape(str(path)) + ":" + message, one)
    caplog.clear()
    read_dataset(path, scheme="IO")
    assert not caplog.records


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\tO\nb\tO\tO\n", r":2: 3 columns where the other lines have 2"),
        ("a\tO\nb\n", r":2: 1 columns where"),
        ("a\tO\n\tO\n", r":2: the token is empty"),
        ("a\tO\nb\t\n", r":2: the tag is empty"),
        ("a\tO\nNew York\n", r":2: no tab between token and tag"),
        ("a\tB-x\n\n\nb\tperson\n", r":4: the tag 'person' has no scheme prefix"),
        ("a\tB-x\n# why\nb\tQ\n", r":3: the tag 'Q' has no scheme prefix"),
        ("Ana\nran\n", r"single column"),
        ("", "no sentence"),
        ("\n \n\n", "no sentence"),
        ("-DOCSTART- O\n\n", "no sentence"),
    ],
)
def test_malformed_lines_are_named(write, content, message):
    with pytest.raises(
        LaclDataError, match=r"data\.conll" + (message if message[0] == ":" else ".*" + message)
    ):
        read_dataset(write(content))


def test_label_set(write):
    path = write("a\tB-x\nb\tO\n\nc\tB-y\nd\tI-y\n")
    dataset = read_dataset(path, labels=["z", "y", "x"])
    assert dataset.features["ner_tags"].feature.names == ["O", "B-z", "I-z", "B-y", "I-y", "B-x", "I-x"]
    assert sentences(dataset) == [[("a", "B-x"), ("b", "O")], [("c", "B-y"), ("d", "I-y")]]
    assert (
        read_dataset(path, labels=["O", "B-x", "I-x", "B-y", "I-y"]).features == read_dataset(path).features
    )
    with pytest.raises(LaclDataError, match=r"odd\.conll:2: the tag 'b_y' is not in the label set \(x\)"):
        read_dataset(write("a\tO\nb\tb_y\nc\ti_y\n", "odd.conll"), labels=["x"])
    with pytest.raises(LaclDataError, match=r"data\.conll:4: the tag 'B-y' is not in the label set \(x, z\)"):
        read_dataset(path, labels=["x", "z"])


def test_long_sentence(write):
    size = 20_000
    dataset = read_dataset(write("".join(f"w{i}\t{'B-x' if i % 7 == 0 else 'O'}\n" for i in range(size))))
    assert len(dataset) == 1 and len(dataset[0]["tokens"]) == size
    assert sum(dataset[0]["ner_tags"]) == len(range(0, size, 7))
