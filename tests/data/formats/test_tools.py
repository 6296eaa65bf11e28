"""A small export of each tool, in the form that the tool documents."""

import json

import pytest
from datasets import Dataset

from modeling_lacl.data.examples import LaclDataError
from modeling_lacl.data.reading import read_dataset, read_texts

TEXT = "🎉 Ana Ruiz of Oslo University won"
PERSON, SCHOOL, CITY = (2, 10, "person"), (14, 29, "school"), (14, 18, "city")
ALL = sorted([PERSON, SCHOOL, CITY])


def spans(shift=0, **names):
    """The entities as mappings, and their offsets with the emoji counted as `1 + shift`."""
    start, end, label = (names.get(key, key) for key in ("start", "end", "label"))
    return [{start: a + shift, end: b + shift, label: name} for a, b, name in ALL]


def studio(labels="labels", text=True):
    """Label Studio counts UTF-16 units."""
    return [
        {"start": a + 1, "end": b + 1, **({"text": TEXT[a:b]} if text else {}), labels: [name]}
        for a, b, name in ALL
    ]


def task(*results, **more):
    made = [
        {"id": n, "completed_by": n, "was_cancelled": False, "ground_truth": False, "result": one}
        for n, one in enumerate(results)
    ]
    return {"id": 7, "data": {"text": TEXT}, "annotations": made, "predictions": [], **more}


def result(values):
    regions = [
        {"id": f"r{n}", "from_name": "label", "to_name": "text", "type": "labels", "value": value}
        for n, value in enumerate(values)
    ]
    choice = {"from_name": "topic", "to_name": "text", "type": "choices", "value": {"choices": ["news"]}}
    return [*regions, choice]


def argilla(responses=None, suggestions=None):
    return {
        "id": "a1",
        "fields": {"text": TEXT},
        "metadata": {"source": "web"},
        "suggestions": suggestions or {},
        "responses": responses or {},
        "vectors": {},
        "_server_id": "6ff1",
    }


ANSWER = {"value": spans(), "user_id": "u1"}
BY_USERS = {"quality": [{"value": "good", "user_id": "u1"}], "ner": [ANSWER, {**ANSWER, "user_id": "u2"}]}
PRODIGY_TOKENS = [
    {"text": word, "start": TEXT.index(word), "end": TEXT.index(word) + len(word), "id": n, "ws": True}
    for n, word in enumerate(TEXT.split())
]
EXPORTS = {
    "doccano": {"id": 3, "text": TEXT, "label": [list(one) for one in ALL], "Comments": []},
    "doccano with relations": {
        "id": 3,
        "text": TEXT,
        "Comments": [],
        "entities": [{"id": 9, **one} for one in spans(start="start_offset", end="end_offset")],
        "relations": [],
    },
    "Label Studio": task(result(studio())),
    "Label Studio, no text of spans": task(result(studio(text=False))),
    "Label Studio, two agree": task(result(studio()), result(studio()[::-1])),
    "Label Studio, ground truth": task(
        result([]),
        result(studio()),
        annotations=[{"result": []}, {"result": result(studio()), "ground_truth": True}],
    ),
    "Label Studio, one skipped": task(
        annotations=[
            {"was_cancelled": True, "result": []},
            {"was_cancelled": False, "result": result(studio())},
        ]
    ),
    "Label Studio, offsets of Python": task(
        result([{"start": a, "end": b, "text": TEXT[a:b], "labels": [name]} for a, b, name in ALL])
    ),
    "Label Studio's JSON-MIN": {
        "id": 7,
        "text": TEXT,
        "label": studio(),
        "annotator": 1,
        "annotation_id": 1,
        "created_at": "2024-03-09T22:16:08Z",
        "updated_at": "2024-03-09T22:16:08Z",
        "lead_time": 4.3,
    },
    "Label Studio's JSON-MIN, other names": {"review": TEXT, "ner": studio(), "annotator": 1, "id": 7},
    "Prodigy": {
        "text": TEXT,
        "_input_hash": 1,
        "_task_hash": 2,
        "tokens": PRODIGY_TOKENS,
        "spans": spans(),
        "_view_id": "spans_manual",
        "answer": "accept",
    },
    "Argilla": argilla(BY_USERS),
    "Argilla, suggestions": argilla(suggestions={"ner": {"value": spans(), "score": None, "agent": "m"}}),
    "Argilla, flattened": {
        "id": "a1",
        "text": TEXT,
        "ner.responses": [[], spans()],
        "ner.responses.users": ["u1", "u2"],
        "ner.responses.status": ["discarded", "submitted"],
    },
    "Argilla 1, feedback": {
        "fields": {"text": TEXT},
        "responses": [{"user_id": "u1", "status": "submitted", "values": {"ner": {"value": spans()}}}],
        "suggestions": [{"question_name": "ner", "value": []}],
    },
    "Argilla 1": {
        "text": TEXT,
        "tokens": TEXT.split(),
        "prediction": None,
        "annotation": [[name, a, b] for a, b, name in ALL],
    },
    "spaCy": [TEXT, {"entities": [list(one) for one in ALL], "cats": {}}],
    "spaCy, spans": [TEXT, {"spans": {"sc": [list(one) for one in ALL]}}],
    "NER Annotator": {
        "classes": ["person", "school", "city"],
        "annotations": [[TEXT, {"entities": [list(one) for one in ALL]}], None],
    },
}


@pytest.mark.parametrize("name", EXPORTS)
@pytest.mark.parametrize("kind", ["lines", "array", "list"])
def test_exports(tmp_path, caplog, name, kind):
    export = EXPORTS[name]
    source = [export]
    if kind != "list":
        source = tmp_path / "export.json"
        lines = [json.dumps(export)] * 2 if kind == "lines" else [json.dumps([export] * 2, indent=1)]
        source.write_text("\n".join(lines))
    texts, found = read_texts(source)
    assert [(one.text, sorted(one.spans)) for one in texts] == [(TEXT, ALL)] * (1 if kind == "list" else 2)
    assert found.startswith(name.partition(",")[0].removesuffix(" 1").removesuffix(" with relations")) or (
        name == "NER Annotator" and found == "spaCy's tuples"
    )
    said = {
        "Argilla, suggestions": "have suggestions but no response",
        "NER Annotator": "are not annotated, or were skipped, and were left out",
    }
    assert (said[name] in caplog.text) if name in said else not caplog.records
    assert [row["entities"] for row in read_dataset(source, nested="keep")] == [
        [
            {"start": 1, "end": 3, "label": "person"},
            {"start": 4, "end": 5, "label": "city"},
            {"start": 4, "end": 6, "label": "school"},
        ]
    ] * len(texts)


def test_what_nobody_annotated_is_left_out(caplog):
    good = EXPORTS["Label Studio"]
    for left in (
        task(),
        task(annotations=[{"was_cancelled": True, "result": result(studio())}]),
        argilla({"ner": []}),
        {**EXPORTS["Argilla 1"], "annotation": None},
    ):
        caplog.clear()
        assert len(read_dataset([good, left], nested="keep")) == 1
        assert "1 examples are not annotated, or were skipped, and were left out (the first at" in caplog.text
    # Without a span, Prodigy and JSON-MIN write no list.
    for empty in ({"text": TEXT, "answer": "accept"}, {"text": TEXT, "annotator": 1, "id": 2}):
        assert read_dataset([empty], nested="keep")["entities"][:] == [[]]


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (
            task(result(studio()), result([])),
            "2 annotations that differ; keep one of them in Label Studio, or",
        ),
        (
            argilla({"ner": [ANSWER, {"value": [], "user_id": "u2"}]}),
            "2 annotations that differ; .* in Argilla",
        ),
        (
            task(result([{"start": "/p[1]", "end": "/p[1]", "labels": ["x"]}])),
            "starts at '/p.1.', a place in HTML",
        ),
        ({"data": {"a": "x", "b": "y"}, "annotations": [{"result": []}]}, r"no 'text' among \['a', 'b'\]"),
        ({**EXPORTS["Argilla 1"], "annotation": [1]}, r"annotation must have \(label, start, end\)"),
        ([TEXT, {"entities": 1}], "must be lists, as spaCy has them"),
        (task(annotations=[{"result": None}]), "no list 'result'"),
        (task(annotations="x"), "annotations must be a list"),
    ],
)
def test_faults_are_named(example, message):
    with pytest.raises(LaclDataError, match=rf"examples\[0\]: .*{message}"):
        read_dataset([example], nested="keep")


def test_datasets_of_tools_keep_their_columns():
    rows = [{"fields": {"text": TEXT}, "responses": {"ner": [ANSWER]}, "suggestions": None, "other": 1}]
    assert read_texts(Dataset.from_list(rows))[1] == "Argilla"
    rows = [{"text": TEXT, "ner.responses": [spans()], "ner.responses.status": ["submitted"], "image": "x"}]
    assert read_texts(Dataset.from_list(rows))[0][0].spans == ALL


def test_words_of_a_tool_are_kept_where_they_are_all_of_the_text():
    for tokens, words in (
        (["don't", "go", "U.S."], ["don't", "go", "U.S."]),
        (["do", "n't", "\n", "go", "U.S."], ["do", "n't", "go", "U.S."]),
        (["don't", "U.S."], ["don't", "go", "U.S", "."]),
        (["do", "##n't", "go", "U.S."], ["don't", "go", "U.S", "."]),
        (["don't go", "U.S."], ["don't", "go", "U.S", "."]),
    ):
        text = "don't\n go U.S."
        assert read_dataset([{"text": text, "tokens": tokens, "entities": []}])["tokens"][0] == words


def test_the_log_has_the_format_and_the_numbers(caplog, tmp_path):
    path = tmp_path / "export.jsonl"
    path.write_text(json.dumps(EXPORTS["doccano"]))
    with caplog.at_level("INFO"):
        read_dataset(path, nested="keep")
    assert f"{path}: doccano, 1 sentences, 3 entities" in caplog.messages
