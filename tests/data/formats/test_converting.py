"""What `convert` writes over, and what it does not."""

import os

import pytest

from modeling_lacl.data.converting import convert
from modeling_lacl.data.formats.registry import FORMATS
from modeling_lacl.data.reading import read_texts

COLUMNS = "Ana\tB-person\nran\tO\n\n"


def test_no_file_of_the_source_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "train.txt"
    source.write_text(COLUMNS)
    with pytest.raises(ValueError, match="train.txt: is what is read; name another file"):
        convert(source, tmp_path / "train.ann")
    with pytest.raises(ValueError, match="train.txt: is what is read"):
        convert("./train.txt", "train.ann")
    convert(source, tmp_path / "docs.ann")
    for document in ("docs.ann", "docs.txt"):
        for output, to in (("docs.txt", None), ("docs.ann", None), ("docs.ann", "jsonl")):
            with pytest.raises(ValueError, match=f"{output}: is what is read"):
                convert(tmp_path / document, tmp_path / output, to)
    with pytest.raises(ValueError, match=r"docs\.txt: is what is read"):
        convert(tmp_path, tmp_path / "docs.txt", format="brat")
    assert source.read_text() == COLUMNS and (tmp_path / "docs.txt").read_text() == "Ana ran\n"
    convert(source, tmp_path / "docs.ann")  # a document of brat's may be replaced


def test_a_text_that_is_no_document_of_brat_is_not_replaced(tmp_path):
    (tmp_path / "ads.txt").write_text("other text")
    with pytest.raises(FileExistsError, match="ads.txt: would be replaced, .*give the output another name"):
        convert([{"text": "Ana", "entities": []}], tmp_path / "ads.ann")
    assert [path.name for path in tmp_path.iterdir()] == ["ads.txt"]


def test_documents_of_brat_are_all_there(tmp_path, caplog):
    ids = ["a/1", "a_1", "A_1", "", "x" * 300, "v1.5", ".."]
    examples = [{"document_id": one, "text": f"text {n}", "entities": []} for n, one in enumerate(ids)]
    examples.append({"document_id": "a/1", "text": " \n", "entities": []})
    convert(examples, tmp_path / "new" / "out", "brat")
    files = list((tmp_path / "new" / "out").iterdir())
    assert len(files) == 2 * len(ids)
    assert len({file.name.casefold() for file in files}) == len(files)
    assert sorted(one.text for one in read_texts(tmp_path / "new" / "out")[0]) == [
        f"text {n}" for n in range(len(ids))
    ]
    assert "1 texts without a word were left out (the first has the id 7)" in caplog.text
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out"]


def test_what_stands_in_the_way_of_a_folder_stays(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old.ann").touch()
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    example = {"text": "Ana", "entities": []}
    for name, problem in (("out", "out: is not empty"), ("file", "file: is a file")):
        with pytest.raises(FileExistsError, match=f"{problem}, and nothing there is replaced; name a new"):
            convert([example], tmp_path / name, "brat")
    monkeypatch.chdir(tmp_path / "empty")
    convert([example], ".", "brat")
    assert sorted(path.name for path in (tmp_path / "empty").iterdir()) == ["0.ann", "0.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file", "out"]


def test_types_and_marks_that_brat_cannot_have(tmp_path, caplog):
    text = "\ufeffAna ran"
    entities = [(1, 4, "famous  person"), (1, 4, "x")]
    convert([{"text": text, "entities": entities}], tmp_path / "a.ann")
    (again,), _ = read_texts(tmp_path / "a.ann")
    assert again.text == " Ana ran" and again.spans == [(1, 4, "famous__person"), (1, 4, "x")]
    assert "an underscore stands for it in 'famous  person'" in caplog.text


@pytest.mark.skipif(os.name != "posix", reason="limits the size of files")
@pytest.mark.parametrize("name", FORMATS)
def test_a_write_that_fails_leaves_what_was_there(tmp_path, name):
    import resource
    import signal

    path = tmp_path / ("out.ann" if name == "brat" else "out")
    examples = [{"text": f"Ana {number} ran", "entities": [(0, 3, "person")]} for number in range(500)]
    if name != "dataset":
        convert(examples[:1], path, name)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    heeded = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limit[1]))
    try:
        with pytest.raises(OSError, match="out"):
            convert(examples, path, name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, heeded)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
