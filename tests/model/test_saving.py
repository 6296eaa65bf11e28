"""Saved folders: what is in them, and what is there when saving breaks off."""

import ast
import json
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForTokenClassification
from transformers.dynamic_module_utils import get_relative_import_files
from transformers.testing_utils import CaptureLogger

from modeling_lacl import LaclForTokenClassification, LaclModel
from modeling_lacl.hub.publishing import publish
from modeling_lacl.model import pipeline_lacl
from modeling_lacl.model import saving_lacl as checkpoint
from modeling_lacl.model.configuration_lacl import AUTO_MAP, CUSTOM_PIPELINES
from modeling_lacl.model.saving_lacl import CODE_FILE, code_files

TEXT = "Ana Ruiz flew to Quito on a Cessna 172."
PACKAGE = Path(code_files()[0]).parent


def test_a_folder_holds_all_that_it_needs_and_no_pickle(tiny_model, tmp_path):
    tiny_model.save_pretrained(tmp_path / "new" / "model")
    names = {path.name for path in (tmp_path / "new" / "model").iterdir()}
    needed = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert needed | {path.name for path in code_files()} <= names
    assert {Path(name).suffix for name in names} <= {".json", ".safetensors", ".py", ".md"}


def test_the_code_is_closed_under_relative_imports_and_imports_little_else():
    """By Python's own parser, which sees every import, at the top and inside of functions."""
    files = {path.stem: path for path in code_files()}
    standard = sys.stdlib_module_names | {"torch", "transformers", "numpy", "regex", "safetensors"}
    for path in files.values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                assert node.level == 1 and node.module in files, f"{path.name} imports {node.module}"
            elif isinstance(node, ast.ImportFrom):
                assert str(node.module).partition(".")[0] in standard, f"{path.name} imports {node.module}"
            elif isinstance(node, ast.Import):
                assert {alias.name.partition(".")[0] for alias in node.names} <= standard, path.name


def test_the_entry_leads_to_every_file():
    """As transformers follows imports; it copies no other file."""
    entry = PACKAGE / CODE_FILE
    found = {Path(file).name for file in get_relative_import_files(entry)} | {CODE_FILE}
    assert found == {path.name for path in code_files()}


def test_what_the_configuration_names_is_in_the_entry():
    impl = [pipeline["impl"] for pipeline in CUSTOM_PIPELINES.values()]
    for reference in [*AUTO_MAP.values(), *map(str, impl)]:
        module, name = reference.split(".")
        assert f"{module}.py" == CODE_FILE and isinstance(getattr(pipeline_lacl, name), type)


def test_few_files_travel_and_none_is_long():
    lines = [len(path.read_text(encoding="utf-8").splitlines()) for path in code_files()]
    assert len(lines) <= 12 and max(lines) <= 500 and sum(lines) <= 4300


def test_no_folder_of_this_machine_is_in_it(tiny_model, tiny_tokenizer, tmp_path, monkeypatch):
    """Neither that of the encoder, given by a path or by a name beside the working directory, nor its own."""
    tiny_model.lacl.encoder.save_pretrained(tmp_path / "private" / "encoder")
    monkeypatch.chdir(tmp_path)
    for place in (tmp_path / "private" / "encoder", Path("private/encoder")):
        model = LaclForTokenClassification.from_encoder(str(place), tiny_tokenizer, ["person"])
        model.save_pretrained("first")
        LaclForTokenClassification.from_pretrained("first").save_pretrained("second")
        config = Path("second/config.json").read_text()
        assert "private" not in config and str(tmp_path) not in config and '"first"' not in config


def test_the_name_of_an_encoder_on_the_hub_stays(tiny_model, tiny_tokenizer, tmp_path):
    encoder = tiny_model.lacl.encoder
    encoder.config.name_or_path = "someone/encoder"
    model = LaclForTokenClassification.from_encoder(encoder, tiny_tokenizer, ["person"])
    model.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["encoder_config"]["_name_or_path"] == (
        "someone/encoder"
    )


def test_saving_twice_gives_the_same_files(tiny_model, tmp_path):
    tiny_model.save_pretrained(tmp_path / "first")
    tiny_model.predict(TEXT)
    tiny_model.save_pretrained(tmp_path / "second")
    LaclForTokenClassification.from_pretrained(tmp_path / "second").save_pretrained(tmp_path / "third")
    contents = [
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        for name in ("first", "second", "third")
    ]
    assert contents[0] == contents[1]
    assert contents[0].keys() == contents[2].keys()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        assert contents[0][name] == contents[2][name], name


def test_everybody_can_read_what_may_be_read(tiny_model, tmp_path):
    tiny_model.save_pretrained(tmp_path)
    assert len({path.stat().st_mode for path in tmp_path.iterdir()}) == 1


def test_other_files_and_variants_stay_and_stale_shards_go(tiny_model, tmp_path):
    for name in ("notes.txt", "model.fp16.safetensors", "model-00001-of-00002.safetensors"):
        (tmp_path / name).write_text("old")
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    tiny_model.save_pretrained(tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert {"notes.txt", "model.fp16.safetensors", "model.safetensors"} <= names
    assert not names & {"model-00001-of-00002.safetensors", "model.safetensors.index.json"}
    tiny_model.save_pretrained(tmp_path, variant="fp16")
    assert (tmp_path / "model.safetensors").is_file()
    assert load_file(tmp_path / "model.fp16.safetensors").keys() == tiny_model.state_dict().keys()


def test_shards_load_again(tiny_model, tmp_path):
    tiny_model.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    loaded = LaclForTokenClassification.from_pretrained(tmp_path)
    assert loaded.predict(TEXT) == tiny_model.predict(TEXT)


def test_a_process_that_is_not_the_main_one_writes_nothing(tiny_model, tmp_path):
    tiny_model.save_pretrained(tmp_path / "model", is_main_process=False)
    assert not (tmp_path / "model").exists()


def test_the_bare_model_is_saved_with_its_code(tiny_model, tmp_path):
    tiny_model.lacl.save_pretrained(tmp_path)
    assert (tmp_path / CODE_FILE).is_file()
    bare = LaclModel.from_pretrained(tmp_path).state_dict()
    assert all(torch.equal(bare[name], weight) for name, weight in tiny_model.lacl.state_dict().items())


def test_the_bare_model_of_a_whole_checkpoint(tiny_model, tmp_path, capfd):
    tiny_model.save_pretrained(tmp_path)
    bare = LaclModel.from_pretrained(tmp_path)
    assert "UNEXPECTED" not in capfd.readouterr().err
    assert torch.equal(bare.projection.mean.weight, tiny_model.lacl.projection.mean.weight)


def test_a_model_without_a_tokenizer_is_saved_with_a_warning(tiny_model, tmp_path):
    tiny_model.save_pretrained(tmp_path / "first")
    for path in (tmp_path / "first").glob("tokenizer*"):
        path.unlink()
    loaded = LaclForTokenClassification.from_pretrained(tmp_path / "first")
    with CaptureLogger(checkpoint.logger) as log:
        loaded.save_pretrained(tmp_path / "second")
    assert "saved without a tokenizer" in log.out
    assert (tmp_path / "second" / "model.safetensors").is_file()


def test_the_tokenizer_of_another_place_in_a_checkpoint(tiny_model, tmp_path):
    """What says where the weights are says where the tokenizer is."""
    tiny_model.save_pretrained(tmp_path / "inner")
    loaded = LaclForTokenClassification.from_pretrained(tmp_path, subfolder="inner")
    assert loaded.predict(TEXT) == tiny_model.predict(TEXT)


def test_half_a_checkpoint_does_not_load(tmp_path, monkeypatch):
    """Whenever moving breaks off, config.json is not there."""
    unfinished, folder = tmp_path / "new", tmp_path / "old"
    names = ("config.json", "model.safetensors", "tokenizer.json", "metrics.json")
    for broken_at in range(len(names)):
        for place in (unfinished, folder):
            place.mkdir(exist_ok=True)
            for name in names:
                (place / name).write_text(place.name)
        (folder / "model-00001-of-00002.safetensors").write_text("stale")
        replace = Path.replace
        count = iter(range(len(names)))

        def breaks(self, target, broken_at=broken_at, count=count, replace=replace):
            if next(count) == broken_at:
                raise OSError("no space left")
            return replace(self, target)

        with monkeypatch.context() as patch, pytest.raises(OSError):
            patch.setattr(Path, "replace", breaks)
            publish(unfinished, folder)
        assert not (folder / "config.json").exists()
    for name in names:
        (unfinished / name).write_text("new")
    publish(unfinished, folder)
    assert {path.name: path.read_text() for path in folder.iterdir()} == dict.fromkeys(names, "new")


def test_only_what_differs_moves(tiny_model, tmp_path):
    """A kill while files move leaves no checkpoint: nothing that is there already prolongs that time."""
    tiny_model.save_pretrained(tmp_path)
    before = {path.name: path.stat().st_ino for path in tmp_path.iterdir()}
    tiny_model.config.label_weight = 0.25
    tiny_model.save_pretrained(tmp_path)
    after = {path.name: path.stat().st_ino for path in tmp_path.iterdir()}
    # The card tells how the model decodes.
    assert {name for name in before if after[name] != before[name]} == {"config.json", "README.md"}
    assert LaclForTokenClassification.from_pretrained(tmp_path).config.label_weight == 0.25


def test_a_folder_without_a_configuration_is_no_checkpoint(tiny_model, tmp_path):
    """transformers would build the default encoder, and make up the weights that do not fit it."""
    tiny_model.save_pretrained(tmp_path)
    (tmp_path / "config.json").unlink()
    for model_class in (LaclForTokenClassification, LaclModel):
        with pytest.raises(OSError, match="has no config.json"):
            model_class.from_pretrained(tmp_path)


@contextmanager
def files_no_larger_than(size):
    """A limit of the system on the size of files, as if the disk were full."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        # At once: it holds for the test runner's own output as well.
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_failed_save_leaves_the_old_checkpoint(tiny_model, tmp_path):
    tiny_model.save_pretrained(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    tiny_model.config.label_weight = 0.25
    with files_no_larger_than(20_000), pytest.raises(Exception, match="(?i)too large"):
        tiny_model.save_pretrained(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_file_is_no_checkpoint(tiny_model, tmp_path):
    tiny_model.save_pretrained(tmp_path)
    with pytest.raises(OSError, match="is a file: name the folder"):
        type(tiny_model).from_pretrained(tmp_path / "config.json")


def test_a_checkpoint_of_the_first_layout_loads(tiny_model, tmp_path):
    """Its configuration names classes in `auto_lacl.py`, which is no file of this package any more."""
    tiny_model.save_pretrained(tmp_path / "old")
    file = tmp_path / "old" / "config.json"
    written = file.read_text(encoding="utf-8")
    file.write_text(written.replace('"pipeline_lacl.', '"auto_lacl.'), encoding="utf-8")
    assert "auto_lacl.LaclForTokenClassification" in file.read_text(encoding="utf-8")
    expected = tiny_model.predict(TEXT)
    assert expected
    assert LaclForTokenClassification.from_pretrained(tmp_path / "old").predict(TEXT) == expected
    loaded = AutoModelForTokenClassification.from_pretrained(tmp_path / "old")
    assert type(loaded) is LaclForTokenClassification and loaded.predict(TEXT) == expected
    loaded.save_pretrained(tmp_path / "new")
    assert (tmp_path / "new" / "config.json").read_text(encoding="utf-8") == written
