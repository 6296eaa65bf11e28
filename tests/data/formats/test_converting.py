"""What `convert` writes over, and what it does not."""

import pytest

from modeling_lacl.data.converting import convert

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
