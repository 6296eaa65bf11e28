"""`lacl convert`: in a line what was read, the file, and short errors."""

import json

import pytest

from modeling_lacl import cli
from modeling_lacl.data.formats.registry import FORMATS

NESTED = {"text": "Oslo University", "label": [[0, 15, "school"], [0, 4, "city"]]}


@pytest.fixture
def run(monkeypatch, capfd):
    def lacl(*arguments):
        monkeypatch.setattr("sys.argv", ["lacl", "convert", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code, capfd.readouterr().err

    return lacl


def test_convert(tmp_path, run):
    export, output = tmp_path / "export.jsonl", tmp_path / "train.conllu"
    export.write_text(json.dumps(NESTED) + "\n" + json.dumps({"text": "Ana", "label": []}))
    code, said = run(export, output)
    assert code == 0 and "Entity=(e1-school(e2-city)" in output.read_text()
    assert said == (
        f"{export}: doccano, 2 sentences, 2 entities of 2 types, 1 sentences with nested ones\n"
        f"Saved to {output}: CoNLL-U\n"
    )
    code, said = run(export, tmp_path / "a.conll")
    assert code == 2 and "'Oslo' (city) and 'Oslo University' (school) overlap, which CoNLL columns" in said
    assert run(export, tmp_path / "a.conll", "--nested", "outermost")[0] == 0
    assert (tmp_path / "a.conll").read_text() == "Oslo\tB-school\nUniversity\tI-school\n\nAna\tO\n\n"
    assert "no format 'x' to write" in run(export, output, "--to", "x")[1]
    assert "nested must be one of" in run(export, output, "--nested", "x")[1]


def test_the_help_names_all_formats(run, monkeypatch, capfd):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("sys.argv", ["lacl", "convert", "--help"])
    with pytest.raises(SystemExit):
        cli.main()
    said = " ".join(capfd.readouterr().out.replace("│", " ").split())
    assert ", ".join(FORMATS).replace(", dataset", "", 1) in said.replace(", dataset", "", 1)
