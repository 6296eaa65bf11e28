"""Uploads by huggingface_hub's real client to a Hub on the loopback; what mistakes and broken lines get."""

import json
import os
import subprocess
import sys

import pytest
import torch
from huggingface_hub import ModelCard
from transformers.testing_utils import CaptureLogger

from modeling_lacl import cli
from modeling_lacl.hub import push as hub_module
from modeling_lacl.hub.push import HubError, hub_errors, push_folder

TEXT = "ana ruiz flew to quito on a cessna 172."


@pytest.fixture
def folder(tiny_model, tmp_path):
    """A checkpoint, with what else may lie beside one."""
    tiny_model.save_pretrained(tmp_path / "ner")
    (tmp_path / "ner" / "metrics.json").write_text('{"train_loss": 1.5}')
    for name in ("training_args.bin", "support.txt", ".env", "events.log"):
        (tmp_path / "ner" / name).write_text("private")
    (tmp_path / "ner" / "checkpoint-3").mkdir()
    (tmp_path / "ner" / "checkpoint-3" / "config.json").write_text("{}")
    return tmp_path / "ner"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def card(repository):
    """The card of a repository; its class gives its metadata no types."""
    return ModelCard(repository.files()["README.md"].decode())


def lacl(monkeypatch, capfd, *arguments):
    monkeypatch.setattr(sys, "argv", ["lacl", *map(str, arguments)])
    code: int | str | None = 0
    try:
        cli.main()
    except SystemExit as stop:
        code = stop.code or 0
    return code, " ".join(capfd.readouterr().err.split())


def test_push_uploads_all_that_others_need_in_one_commit(hub, folder, monkeypatch, capfd):
    before = contents(folder)
    code, printed = lacl(monkeypatch, capfd, "push", folder, "my-ner", "--private", "-m", "First")
    assert code == 0 and "ana/my-ner" in printed
    repository = hub.repositories["ana/my-ner"]
    assert repository.private
    assert [commit.message for commit in repository.commits] == ["initial commit", "First"]
    assert contents(folder) == before
    kept_here = {"training_args.bin", "support.txt", ".env", "events.log"}
    files = repository.files()
    assert files.keys() - {".gitattributes"} == before.keys() - kept_here
    for name in before.keys() - kept_here - {"README.md", "card.json"}:
        assert files[name] == before[name], name
    text = card(repository).text
    assert 'from_pretrained("ana/my-ner")' in text and text.strip().startswith("# my-ner")


DOWNLOAD = """
import json, sys
from transformers import AutoModelForTokenClassification
model = AutoModelForTokenClassification.from_pretrained(sys.argv[1], trust_remote_code=True)
print(json.dumps([type(model).__module__, model.predict(sys.argv[2])]))
"""


def test_what_was_pushed_predicts_the_same_elsewhere(hub, folder, tiny_model, tmp_path):
    """In another process, by the public settings of the client, from the checkpoint's own code."""
    push_folder(folder, "ana/my-ner", private=True)
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.url,
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(tmp_path / "elsewhere"),
        "HF_TOKEN": "secret",
        "PYTHONPATH": "",
    }
    command = [sys.executable, "-c", DOWNLOAD, "ana/my-ner", TEXT]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    module, entities = json.loads(done.stdout.splitlines()[-1])
    assert module.startswith("transformers_modules.ana.")
    expected = tiny_model.predict(TEXT)
    assert expected and len(entities) == len(expected)
    for one, other in zip(entities, expected, strict=True):
        assert one["word"] == other["word"] and one["score"] == pytest.approx(other["score"], abs=1e-6)


def test_the_model_pushes_itself(hub, tiny_model, tmp_path):
    tiny_model.push_to_hub("my-ner", commit_message="From the model", private=True, tags=["birds"])
    repository = hub.repositories["ana/my-ner"]
    assert repository.private and repository.commits[-1].message == "From the model"
    assert {
        "pipeline_lacl.py",
        "tokenizer.json",
        "model.safetensors",
        "README.md",
    } <= repository.files().keys()
    assert "birds" in card(repository).data.tags
    tiny_model.save_pretrained(tmp_path / "saved", push_to_hub=True, repo_id="ana/other")
    assert (tmp_path / "saved" / "config.json").is_file()
    assert "pipeline_lacl.py" in hub.repositories["ana/other"].files()


def test_branches_and_pull_requests(hub, folder):
    push_folder(folder, "my-ner")
    (folder / "metrics.json").write_text("{}")
    push_folder(folder, "my-ner", revision="next", commit_description="Better")
    repository = hub.repositories["ana/my-ner"]
    assert len(repository.commits) == 2
    assert repository.branches["next"][-1].description == "Better"
    assert repository.branches["next"][-1].changed == ["metrics.json"]
    opened = push_folder(folder, "my-ner", create_pr=True)
    assert str(opened.pr_url).endswith("/discussions/1")
    assert len(repository.commits) == 2


def test_stale_weights_go_with_the_same_commit(hub, folder, tiny_model):
    """A loader takes the single file of weights first, whatever else is there."""
    push_folder(folder, "my-ner")
    tiny_model.save_pretrained(folder, max_shard_size="20KB")
    push_folder(folder, "my-ner")
    repository = hub.repositories["ana/my-ner"]
    assert len(repository.commits) == 3
    weights = {name for name in repository.files() if name.startswith("model")} - {"modeling_lacl.py"}
    assert weights == {path.name for path in folder.glob("model*")} - {"modeling_lacl.py"}
    assert len(weights) > 2 and "model.safetensors" not in weights


def test_another_kind_of_model_is_not_replaced(hub, folder):
    push_folder(folder, "my-ner")
    files = hub.repositories["ana/my-ner"].files()
    files["config.json"] = b'{"model_type": "bert"}'
    with pytest.raises(HubError, match=r"another kind \(bert\).*choose another name"):
        push_folder(folder, "my-ner")
    assert len(hub.repositories["ana/my-ner"].commits) == 2


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "adapter_model.safetensors", "onnx/model.onnx", "model-q4.gguf"]
)
def test_weights_without_a_configuration_are_another_kind_as_well(hub, folder, tiny_model, name):
    hub_module.HfApi().create_repo("ana/my-ner")
    files = hub.repositories["ana/my-ner"].files()
    files[name] = b"weights"
    before, there = contents(folder), dict(files)
    for push in (lambda: push_folder(folder, "my-ner"), lambda: tiny_model.push_to_hub("my-ner")):
        with pytest.raises(HubError, match=rf"another kind \({name}, no config.json\).*another name"):
            push()
    assert hub.repositories["ana/my-ner"].files() == there and contents(folder) == before


def test_python_puts_a_commit_on_a_lacl_model_as_transformers_does(hub, folder, tiny_model):
    push_folder(folder, "my-ner")
    torch.nn.init.zeros_(tiny_model.lacl.projection.mean.weight)
    tiny_model.push_to_hub("my-ner", commit_message="Second")
    repository = hub.repositories["ana/my-ner"]
    assert [commit.message for commit in repository.commits[1:]] == ["Upload model", "Second"]
    # The first is there still, in the history.
    assert repository.commits[1].files["model.safetensors"] != repository.files()["model.safetensors"]
    with pytest.raises(HubError, match=r"has a LACL model.*--update \(in Python, update=True\)"):
        tiny_model.push_to_hub("my-ner", update=False)


def test_a_lacl_model_is_replaced_where_that_is_asked_for(hub, folder, monkeypatch, capfd):
    push_folder(folder, "my-ner")
    (folder / "metrics.json").write_text("{}")
    code, printed = lacl(monkeypatch, capfd, "push", folder, "my-ner")
    assert code == 2 and "exists already and has a LACL model" in printed and "--update" in printed
    code, _ = lacl(monkeypatch, capfd, "push", folder, "my-ner", "--update")
    assert code == 0
    assert hub.repositories["ana/my-ner"].commits[-1].changed == ["metrics.json"]


def test_a_card_changed_on_the_hub_stays(hub, folder):
    push_folder(folder, "my-ner")
    files = hub.repositories["ana/my-ner"].files()
    files["README.md"] = files["README.md"].replace(b"# my-ner", b"# The best model")
    with CaptureLogger(hub_module.logger) as log:
        push_folder(folder, "my-ner", commit_message="Again")
    assert "was edited there and is kept" in log.out
    assert b"# The best model" in hub.repositories["ana/my-ner"].files()["README.md"]


def test_a_card_changed_here_goes_as_it_is(hub, folder):
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Mine\n")
    push_folder(folder, "my-ner")
    assert hub.repositories["ana/my-ner"].files()["README.md"] == (folder / "README.md").read_bytes()


def test_the_licence_chosen_on_the_site_stays(hub, folder):
    """A repository made there has a card of metadata alone."""
    hub_module.HfApi().create_repo("ana/my-ner")
    hub.repositories["ana/my-ner"].files()["README.md"] = b"---\nlicense: mit\n---\n"
    push_folder(folder, "my-ner")
    pushed = card(hub.repositories["ana/my-ner"])
    assert pushed.data.license == "mit" and "# my-ner" in pushed.text


def gated(hub):
    hub.accounts["secret"] = "somebody"
    hub.repositories["ana/my-ner"].gated = True


def private(hub):
    hub.accounts["secret"] = "somebody"
    hub.repositories["ana/my-ner"].private = True


def down(hub):
    hub.breaks = "."  # connections that the client has kept
    hub.server_close()


TROUBLE = {
    "gated": (gated, {}, r"ana/my-ner is gated.*ask for it at http://127.*/ana/my-ner"),
    "private": (private, {}, r"may not write to ana/my-ner.*use one with write permission"),
    "no token": (None, {"HF_TOKEN": ""}, r"not logged in.*`hf auth login`.*HF_TOKEN"),
    "wrong token": (
        None,
        {"HF_TOKEN": "nonsense"},
        r"does not take your token.*Invalid credentials.*make another",
    ),
    "reading token": (None, {"HF_TOKEN": "read-only"}, r"may not write to .*write permission"),
    "out of order": (
        lambda hub: setattr(hub, "fails", (500, "repos/create")),
        {},
        r"busy or out of order.*try again later",
    ),
    "refused": (lambda hub: setattr(hub, "fails", (413, "commit")), {}, r"does not take this upload"),
    "conflict": (lambda hub: setattr(hub, "fails", (409, "commit")), {}, r"by somebody else.*try again"),
    "no connection": (down, {}, r"the connection to http://127.* failed.*network"),
    "dropped at once": (
        lambda hub: setattr(hub, "breaks", "repos/create"),
        {},
        r"the connection to .* failed.*try again",
    ),
    "dropped while uploading": (
        lambda hub: setattr(hub, "breaks", "PUT /lfs"),
        {},
        r"the connection to .* failed.*try again",
    ),
    "dropped at the commit": (
        lambda hub: setattr(hub, "breaks", "/commit/"),
        {},
        r"the connection to .* failed.*look at .*/ana/my-ner whether the upload arrived",
    ),
    "dropped while looking": (
        lambda hub: setattr(hub, "breaks", "/resolve/"),
        {},
        r"the connection to .* failed.*try again",
    ),
}


@pytest.mark.parametrize("trouble", TROUBLE)
def test_trouble_gets_a_short_answer_and_changes_nothing(
    hub, folder, tiny_model, monkeypatch, capfd, trouble
):
    prepare, environment, message = TROUBLE[trouble]
    push_folder(folder, "ana/my-ner")
    torch.nn.init.zeros_(tiny_model.lacl.projection.mean.weight)
    tiny_model.save_pretrained(folder)
    before, there = contents(folder), dict(hub.repositories["ana/my-ner"].files())
    if prepare is not None:
        prepare(hub)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the client waits before it tries again
    code, printed = lacl(monkeypatch, capfd, "push", folder, "ana/my-ner", "--update")
    assert code == 2 and "Traceback" not in printed
    with pytest.raises(HubError, match=message), hub_errors("ana/my-ner"):
        push_folder(folder, "ana/my-ner")
    assert contents(folder) == before
    assert hub.repositories["ana/my-ner"].files() == there


def test_a_bad_card_is_reported(hub, folder):
    (folder / "README.md").write_text("---\nlicense: nonsense\n---\n# Mine\n")
    with pytest.raises(HubError, match=r'does not take this upload.*"license" must be one of'):
        push_folder(folder, "my-ner")
    assert len(hub.repositories["ana/my-ner"].commits) == 1


def test_offline(folder, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set.*unset it"):
        push_folder(folder, "my-ner")


@pytest.mark.parametrize("name", ["a b", "a/b/c", "-x", ""])
def test_bad_names(hub, folder, name):
    with pytest.raises(HubError, match="is no name for a repository: give NAME or OWNER/NAME"):
        push_folder(folder, name)


def without(name):
    return lambda folder: (folder / name).unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without("config.json"), "has no checkpoint"),
        (without("model.safetensors"), "has no weights"),
        (without("pipeline_lacl.py"), "save it again"),
        (without("tokenizer_config.json"), "save it again"),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "bert"}'), "has a bert model"),
        (lambda folder: (folder / "config.json").write_text("[]"), "has no checkpoint"),
    ],
)
def test_half_a_checkpoint_is_not_pushed(hub, folder, monkeypatch, capfd, damage, message):
    damage(folder)
    code, printed = lacl(monkeypatch, capfd, "push", folder, "my-ner")
    assert code == 2 and message in printed
    assert not hub.requests


def test_a_report_is_looked_at_before_anything_is_sent(hub, folder, tmp_path, monkeypatch, capfd):
    (tmp_path / "report.json").write_text("{}")
    for name, message in (("none.json", "no such file"), ("report.json", "is not a report")):
        code, printed = lacl(monkeypatch, capfd, "push", folder, "my-ner", "--report", tmp_path / name)
        assert code == 2 and message in printed
    assert not hub.requests
