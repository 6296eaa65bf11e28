"""The command line: what a user types, what comes out, and what a mistake gets."""

import gzip
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import modeling_lacl
from modeling_lacl import LaclForTokenClassification, cli
from modeling_lacl.cli.options import parse_labels
from modeling_lacl.cli.output import write_lines
from modeling_lacl.cli.tagging import predict_texts

runner = CliRunner()
SAMPLES = Path(modeling_lacl.__file__).parent / "samples"
SUPPORT = SAMPLES / "wnut17_support_5shot.txt"


@pytest.fixture
def loaded(checkpoint):
    return LaclForTokenClassification.from_pretrained(checkpoint)


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def test_help_is_fast_and_loads_no_torch():
    program = (
        "import sys; from modeling_lacl import cli; sys.argv = ['lacl', '--help']\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        "print({'torch', 'transformers', 'datasets'} & set(sys.modules))"
    )
    before = os.times()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    after = os.times()
    assert after.children_user + after.children_system - before.children_user - before.children_system < 1
    assert done.stdout.endswith("set()\n")
    assert "predict" in done.stdout


@pytest.mark.parametrize(
    "command", ["train", "adapt", "predict", "view", "render", "export", "evaluate", "suggest", "demo"]
)
def test_every_command_explains_itself_with_an_example(command):
    result = runner.invoke(cli.app, [command, "--help"])
    assert result.exit_code == 0
    assert "Examples" in result.output
    assert f"lacl {command}" in result.output


def test_version(lacl):
    code, out, _ = lacl("--version")
    assert code == 0
    assert out.strip() == "0.1.0"


def test_predict_writes_one_object_for_each_line(lacl, checkpoint, loaded):
    texts = ["ana ruiz flew to quito", "", "東京タワー \u2028 x", "ana"]
    code, out, _ = lacl("predict", checkpoint, stdin="\r\n".join(texts).encode())
    assert code == 0
    assert [row["text"] for row in lines(out.replace("\u2028", "\\u2028"))] == texts
    expected = loaded.predict(texts)
    found = [row["entities"] for row in lines(out.replace("\u2028", "\\u2028"))]
    assert [[(e["entity_group"], e["start"], e["end"]) for e in row] for row in found] == [
        [(e["entity_group"], e["start"], e["end"]) for e in row] for row in expected
    ]
    for row in lines(out.replace("\u2028", "\\u2028")):
        for entity in row["entities"]:
            assert row["text"][entity["start"] : entity["end"]] == entity["word"]


def test_predict_reads_a_file_and_writes_a_file(lacl, checkpoint, tmp_path):
    (tmp_path / "texts.txt").write_bytes(b"\xef\xbb\xbfana ruiz\nquito \xff\n")
    code, out, err = lacl("predict", checkpoint, tmp_path / "texts.txt", "--output", tmp_path / "out.jsonl")
    assert (code, out) == (0, "")
    assert err.endswith(f"Saved to {tmp_path / 'out.jsonl'}\n")
    rows = lines((tmp_path / "out.jsonl").read_text(encoding="utf-8"))
    assert [row["text"] for row in rows] == ["ana ruiz", "quito \ufffd"]


@pytest.mark.parametrize("place", ["a file", "standard input", "--text"])
def test_bytes_that_are_not_utf8_are_reported(lacl, checkpoint, tmp_path, place):
    (tmp_path / "texts.txt").write_bytes(b"ana\nquito \xff\xfe\n\xe9t\xe9\n")
    if place == "--text":
        code, _, err = lacl("predict", checkpoint, "--text", "ana", "--text", "quito \udcff\udcfe")
        assert "--text: 2 bytes that are not UTF-8 were replaced by U+FFFD (the first in line 2)" in err
    else:
        stdin = (tmp_path / "texts.txt").read_bytes()
        file = [tmp_path / "texts.txt"] if place == "a file" else []
        code, _, err = lacl("predict", checkpoint, *file, stdin=stdin)
        name = file[0] if file else place
        assert f"{name}: 4 bytes that are not UTF-8 were replaced by U+FFFD (the first in line 2)" in err
    assert code == 0


def test_nothing_is_reported_for_valid_utf8(lacl, checkpoint):
    assert "UTF-8" not in lacl("predict", checkpoint, stdin="été \ufffd\n".encode())[2]


def test_predict_keeps_words(lacl, checkpoint, loaded):
    code, out, _ = lacl("predict", checkpoint, "--words", stdin=b"new-york   -ana-\tflew\n")
    row = lines(out)[0]
    assert code == 0
    assert row["text"] == "new-york -ana- flew"
    words = [row["text"][entity["start"] : entity["end"]] for entity in row["entities"]]
    expected = loaded.predict(["new-york", "-ana-", "flew"], is_split_into_words=True)
    assert words == [entity["word"] for entity in expected]


def test_damaged_weights_get_a_short_answer(lacl, checkpoint):
    weights = checkpoint / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    code, _, err = lacl("predict", checkpoint, "--text", "ana")
    assert code == 2 and "damaged or cut short" in err


def test_an_empty_folder_does_not_hide_a_released_model(lacl, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lacl-minilm-fewnerd").mkdir()
    code, out, _ = lacl("predict", "lacl-minilm-fewnerd", "--text", "Quito", "--labels", "city")
    assert code == 0 and lines(out)[0]["text"] == "Quito"


def test_predict_with_other_labels(lacl, checkpoint, loaded):
    _, out, _ = lacl("predict", checkpoint, "--text", "ana flew to quito", "--labels", "city, play")
    expected = loaded.predict("ana flew to quito", labels=["city", "play"])
    assert [e["entity_group"] for e in lines(out)[0]["entities"]] == [e["entity_group"] for e in expected]


def test_labels_with_names():
    assert parse_labels(["person, ship"]) == ["person", "ship"]
    assert parse_labels(["person", "sports event,ship"]) == ["person", "sports event", "ship"]
    assert parse_labels(["GPE=country or city", "creative-work"]) == {
        "GPE": "country or city",
        "creative-work": "creative work",
    }


@pytest.mark.parametrize(
    ("labels", "message"),
    [("=person", "'=person' has no type"), ("person, = ship", "has no type"), ("O", "'O' stands for"),
     ("person,O", "'O' stands for"), ("O=nothing,person", "'O' stands for"), ("", "at least one entity type"),
     ("x=ship,x=boat", "'x' is given twice")],
)  # fmt: skip
@pytest.mark.parametrize("command", ["predict", "view", "export"])
def test_labels_that_are_no_types(lacl, checkpoint, tmp_path, command, labels, message):
    arguments = {
        "predict": ["--text", "x"],
        "view": ["--text", "x", "--output", tmp_path / "x.html"],
        "export": [tmp_path / "onnx"],
    }
    code, out, err = lacl(command, checkpoint, *arguments[command], "--labels", labels)
    assert (code, out) == (2, "")
    assert message in " ".join(err.replace("│", " ").split())


def test_labels_can_be_repeated(lacl, checkpoint):
    arguments = ["predict", checkpoint, "--text", "ana flew to quito"]
    once = lacl(*arguments, "--labels", "city,play")
    assert lacl(*arguments, "--labels", "city", "--labels", "play") == once
    assert lacl(*arguments, "--labels", "play")[1] != once[1]


@pytest.mark.parametrize(
    ("content", "warning"),
    [
        ("ana\tB-person\nflew\tO\n\nquito\tB-city\n", "look like words with tags in columns"),
        ("ana B-person\nflew O\n" * 40, "look like words with tags in columns"),
        ("ana b-person\nflew o\nquito b-city\n", "look like words with tags in columns"),
        ("ana flew\nto quito\nvitamin O\n", None),
        ("ana\tflew\nto\tquito\nthe\tplay\n", None),
        ("ana\n" * 40, None),
    ],
)
def test_labelled_data_in_place_of_texts_are_reported(lacl, checkpoint, tmp_path, content, warning):
    (tmp_path / "x.txt").write_text(content)
    code, out, err = lacl("predict", checkpoint, tmp_path / "x.txt")
    assert code == 0 and len(lines(out)) == content.count("\n")
    assert err.count(f"{tmp_path / 'x.txt'}: these lines") == bool(warning)
    assert warning is None or warning in err


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "x.txt",
            '{"text": "ana", "entities": []}\n',
            "JSON Lines, .*--engine ray --column text; lacl adapt",
        ),
        ("x.txt", '{"text": "a", "entities": [{"entity_group": "b"}]}\n', "JSON Lines.*lacl render shows"),
        ("x.jsonl", '["ana", "flew"]\n', "this is JSON Lines"),
        ("x.json", '[\n {"text": "ana"}]\n', r"this is JSON, .*Dataset.from_json\(FILE\)\['text'\]"),
        ("x.txt", '[{"text": "ana"}]\n', "this is JSON, "),
        ("x.csv", "ana flew\n", "this is CSV"),
        ("x.txt", "id,Sentence,label\n1,ana flew,x\n", r"this is CSV.*from_csv\(FILE\)\['Sentence'\]"),
        ("x.txt", '"text";"label"\n"ana flew";"x"\n', "this is CSV"),
        ("x.txt", "text\tlabel\nana flew\tx\n", "this is CSV"),
        ("x.txt", "text, or label\n[ana], flew\n{ana}\n", None),
        ("x.txt", "ana,ruiz\nid,label\n", None),
    ],
)
def test_tables_in_place_of_texts_are_errors(lacl, checkpoint, tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    runs = [lacl("predict", checkpoint, tmp_path / name)]
    if name == "x.txt":
        runs.append(lacl("predict", checkpoint, stdin=content.encode()))
    for code, out, err in runs:
        assert (code, out == "") == ((0, False) if message is None else (2, True))
        assert message is None or re.search(message, err)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "cp1252", "UTF8"])
def test_texts_in_another_encoding(lacl, checkpoint, tmp_path, encoding):
    text = "Ana flög nach Quitö\r\nin den späten Stunden\n" if encoding != "cp1252" else "Ana flög\nspäter\n"
    content = text.encode(encoding)
    (tmp_path / "x.txt").write_bytes(content)
    expected = [line.rstrip("\r") for line in text.split("\n")][:-1]
    for arguments, stdin in (([tmp_path / "x.txt"], b""), ([], content)):
        code, out, err = lacl("predict", checkpoint, *arguments, "--encoding", encoding, stdin=stdin)
        assert code == 0 and "U+FFFD" not in err
        assert [one["text"] for one in lines(out)] == expected


def test_an_encoding_that_does_not_fit(lacl, checkpoint, tmp_path):
    file = tmp_path / "x.txt"
    for content, encoding, message in (
        ("ana".encode("utf-16"), "utf-8", "save it as UTF-8, or give --encoding utf-16"),
        (b"ana\n" * 3 + b"\x00", "utf-16", "x.txt: cannot be read as utf-16 .* give its own --encoding"),
        (b"ana\n", "klingon", "'klingon' is no encoding: give --encoding one that Python knows"),
        (b"ana\n", "base64", "'base64' is no encoding"),
    ):
        file.write_bytes(content)
        for command in (["predict"], ["view", "--output", tmp_path / "x.html"]):
            code, out, err = lacl(command[0], checkpoint, file, *command[1:], "--encoding", encoding)
            assert (code, out) == (2, "") and re.search(message, err)
    file.write_bytes(b"ana\nfl\x81w\n")
    code, out, err = lacl("predict", checkpoint, file, "--encoding", "cp1252")
    assert code == 0 and lines(out)[1]["text"] == "fl\ufffdw"
    assert "1 bytes that are not CP1252 were replaced by U+FFFD (the first in line 2)" in err


def test_files_that_are_no_text_are_named(lacl, checkpoint, tmp_path):
    with gzip.open(tmp_path / "x.txt.gz", "wb") as file:
        file.write(b"ana flew\n")
    for command in (["predict"], ["view", "--output", tmp_path / "x.html"]):
        code, out, err = lacl(command[0], checkpoint, tmp_path / "x.txt.gz", *command[1:])
        assert (code, out) == (2, "") and "x.txt.gz: this is a gzip file: unpack it first" in err
    (tmp_path / "x.parquet").write_bytes(b"PAR1\x15")
    _, _, err = lacl("predict", checkpoint, tmp_path / "x.parquet")
    assert "this is a Parquet file: lacl predict takes a column of it by --engine ray --column NAME" in err


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("lacl-minilm-fewnrd", "lacl-minilm-fewnerd"),
        ("LACL-MiniLM-FewNERD", "lacl-minilm-fewnerd"),
        ("lacl-minilm", "lacl-minilm-wide"),
        ("{tmp}/chekpoint", "{tmp}/checkpoint"),
    ],
)
def test_a_mistyped_model_is_reported_at_once(lacl, checkpoint, tmp_path, monkeypatch, name, meant):
    def asked(*arguments, **keywords):
        raise AssertionError("the Hub was asked")

    monkeypatch.setattr("huggingface_hub.file_download.get_hf_file_metadata", asked)
    monkeypatch.setattr("transformers.utils.hub.hf_hub_download", asked)
    name, meant = name.format(tmp=tmp_path), meant.format(tmp=tmp_path)
    code, _, err = lacl("predict", name, "--text", "x")
    assert code == 2 and f"did you mean {meant}?" in err
    with pytest.raises(ValueError, match="did you mean"):
        LaclForTokenClassification.from_pretrained(name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"model_type": "lacl",\n "alpha": ,}', "config.json:2: not JSON"),
        ("[1]", "config.json: holds a list"),
        ("\xff", "config.json: not JSON"),
        ('{"model_type": "lacl", "alpha": 3}', "config.json: alpha must be between"),
        ('{"model_type": "lacl", "alpha": "x"}', "config.json: TypeError"),
        ('{"model_type": "lacl", "encoder_config": {"model_type": "nothing"}}', "config.json: Unrecognized"),
        ('{"model_type": "lacl", "format_version": 9}', "config.json: this checkpoint has LACL format"),
        ('{"model_type": "lacl"}', "config.json does not fit the weights"),
        (None, "has no config.json"),
    ],
)
def test_a_broken_configuration_is_named(lacl, checkpoint, content, message):
    file = checkpoint / "config.json"
    file.unlink()
    if content is not None:
        file.write_text(content, encoding="latin-1")
    code, _, err = lacl("predict", checkpoint, "--text", "x")
    assert code == 2 and message in err and str(checkpoint) in err and "Traceback" not in err


def test_threshold(lacl, checkpoint):
    _, out, _ = lacl("predict", checkpoint, "--text", "ana ruiz flew to quito", "--threshold", "1.0")
    assert lines(out)[0]["entities"] == []


def test_view(lacl, checkpoint):
    code, out, _ = lacl("predict", checkpoint, "--text", "ana flew", "--view")
    assert code == 0
    assert "ana" in out
    assert not out.startswith("{")


def test_svg(lacl, checkpoint, tmp_path):
    code, _, _ = lacl("predict", checkpoint, "--text", "ana flew", "--svg", tmp_path / "x.svg")
    assert code == 0
    assert (tmp_path / "x.svg").read_text(encoding="utf-8").startswith("<svg")


def test_predict_streams(tiny_model):
    """An endless input is answered while it is read, and little of it is held."""
    read = 0

    def endless():
        nonlocal read
        while True:
            read += 1
            yield f"ana flew to quito {read}"

    results = predict_texts(tiny_model, endless(), batch_size=4)
    for number in range(1, 301):
        text, _ = next(results)
        assert text == f"ana flew to quito {number}"
        assert read < number + 4 * 64


def test_someone_who_types_is_answered_at_once(tiny_model):
    read = []

    def typed():
        for text in ("ana", "quito"):
            read.append(text)
            yield text

    results = predict_texts(tiny_model, typed(), one_by_one=True)
    next(results)
    assert read == ["ana"]


def test_an_interrupted_run_leaves_complete_lines(tmp_path):
    def results():
        for number in range(50):
            yield f"text {number}", []
        raise KeyboardInterrupt

    with open(tmp_path / "out.jsonl", "wb", buffering=0) as file, pytest.raises(KeyboardInterrupt):
        write_lines(file, results())
    # Read without closing: nothing waits in a buffer.
    assert len(lines((tmp_path / "out.jsonl").read_text())) == 50


def test_a_full_disk_leaves_whole_lines(tmp_path):
    class Full(io.FileIO):
        def write(self, line):
            return super().write(line if self.tell() + len(line) < 100 else line[:10])

    with Full(tmp_path / "out.jsonl", "wb") as file, pytest.raises(OSError, match=r"out.jsonl.*disk is full"):
        write_lines(file, [("some text", [])] * 9)
    assert lines((tmp_path / "out.jsonl").read_text()) == [{"text": "some text", "entities": []}] * 2


def test_a_list_of_the_arguments_of_a_recipe(lacl):
    code, out, _ = lacl("train", "--arguments")
    assert code == 0
    assert "--labels_per_prompt" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "no/such/folder/at/all", "--text", "x"], "cannot load the checkpoint 'no/such"),
        (["predict", "{checkpoint}", "{tmp}/none.txt"], "none.txt: no such file"),
        (["predict", "{checkpoint}", "{tmp}"], "is a directory"),
        (["predict", "{tmp}", "--text", "x"], "cannot load the checkpoint"),
        (["predict", "{bert}", "--text", "x"], "is a bert model, not a LACL one"),
        (["predict", "{checkpoint}", "--text", "x", "--labels", "person,person"], "twice"),
        (["predict", "{checkpoint}", "--text", "x", "--labels", ","], "at least one"),
        (["predict", "{checkpoint}", "--text", "x", "--threshold", "2"], "--threshold"),
        (["predict", "{checkpoint}", "x.txt", "--text", "x"], "not both"),
        (["predict", "{checkpoint}", "{support}", "-o", "{support}"], "--output is the input file"),
        (["predict", "{checkpoint}", "{support}", "--svg", "{support}"], "--svg is the input file"),
        (["view", "{checkpoint}", "{support}", "-o", "{support}"], "--output is the input file"),
        (["train", "--config", "{recipe}", "--config", "{recipe}"], "are 2 recipes"),
        (["predict", "{checkpoint}", "--text", "x", "-o", "y", "--view"], "one of --output"),
        (["adapt", "{checkpoint}", "{tmp}/none.txt", "-o", "{tmp}/ner"], "none.txt"),
        (["adapt", "{checkpoint}", "{bad}", "-o", "{tmp}/ner"], "bad.txt:2"),
        (["adapt", "{checkpoint}", "{support}", "-o", "{support}"], "exists"),
        (["adapt", "{checkpoint}", "{support}"], "--output"),
        (
            ["adapt", "{checkpoint}", "{support}", "-o", "{tmp}/n", "--label-names", "{names}"],
            "names.yaml has a",
        ),
        (["adapt", "{checkpoint}", "{support}", "-o", "{tmp}/n", "--learning_rate", "-1"], "--learning"),
        (["train", "{tmp}/none.yaml"], "none.yaml"),
        (["train", "{recipe}"], "'train_fil'"),
        (["train", "--train_file", "x", "--output_dir", "{tmp}/o", "--lerning_rate", "1"], "'learning_rate'"),
        (["train", "--train_file", "{tmp}/none.txt", "--output_dir", "{tmp}/o"], "none.txt"),
        (["evaluate", "{tmp}/none.yaml"], "none.yaml"),
        (["evaluate", "{recipe}"], "train_fil"),
        (["nonsense"], "nonsense"),
    ],
)
def test_mistakes_get_a_short_answer(lacl, checkpoint, tiny_model, tmp_path, arguments, message):
    (tmp_path / "bad.txt").write_text("Ana\tB-person\nQuito\n")
    (tmp_path / "recipe.yaml").write_text("train_fil: x\n")
    (tmp_path / "names.yaml").write_text("ship: boat\n")
    tiny_model.lacl.encoder.save_pretrained(tmp_path / "bert")
    places = {
        **{"checkpoint": checkpoint, "tmp": tmp_path, "support": SUPPORT, "bert": tmp_path / "bert"},
        **{"bad": tmp_path / "bad.txt", "recipe": tmp_path / "recipe.yaml", "names": tmp_path / "names.yaml"},
    }
    code, out, err = lacl(*(argument.format(**places) for argument in arguments))
    assert code == 2
    assert message.lower() in " ".join(err.replace("│", " ").split()).lower()
    assert "Traceback" not in err
    assert out == ""


def test_results_stay_until_there_is_a_model(lacl, tmp_path):
    (tmp_path / "texts.txt").write_text("Ana flew")
    (tmp_path / "found.jsonl").write_text("as it was")
    code, _, err = lacl(
        "predict", "lacl-minilm-fewnrd", tmp_path / "texts.txt", "-o", tmp_path / "found.jsonl"
    )
    assert code == 2 and "did you mean" in err
    assert (tmp_path / "found.jsonl").read_text() == "as it was"


def test_debug_shows_the_traceback(lacl):
    with pytest.raises(ValueError, match="none.yaml"):
        lacl("--debug", "evaluate", "none.yaml")


def test_a_missing_encoder_says_how_to_install_it(lacl, monkeypatch):
    from modeling_lacl.hub import bundled as encoder

    encoder.embedded_encoder.cache_clear()
    monkeypatch.setattr(encoder, "find_spec", lambda name: None)
    code, _, err = lacl("demo")
    assert code == 2
    assert ".[demo]" in err


def test_predict_tells_types_that_nobody_gave(make_tiny_model, tmp_path):
    make_tiny_model().save_pretrained(tmp_path)
    command = ["predict", str(tmp_path), "--text", "ana flew"]
    told = runner.invoke(cli.app, command).stderr
    assert "the 3 types of the model are used (person, location" in told and "--labels" in told
    assert "no labels given" not in runner.invoke(cli.app, [*command, "--labels", "city"]).stderr
