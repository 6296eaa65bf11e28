"""Benchmark LACL, SpanMarker, GLiNER and a plain token-classification pipeline, all with the same encoder.

    python benchmarks/peers.py --peers_python PEERS/bin/python

Each system runs in a separate process, which imports its package, loads a saved model, and finds entities in
the same texts; the processes take turns. All use the encoder `--encoder` (MiniLM), with random weights on top
of it. These affect only the time of collecting entities, and thresholds are set so that few are found.
SpanMarker and GLiNER may need other versions of transformers than LACL, so they run with the Python of a
separate environment, `--peers_python`:

    python -m venv PEERS && PEERS/bin/pip install torch gliner span-marker
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measuring import arguments, in_child, machine_line, peak_mib, sample_texts, table

PEERS = ("span_marker", "gliner")
SYSTEMS = {
    "lacl": "LACL, with a support set",
    "lacl_names": "LACL, label names given in the call",
    "pipeline": "plain pipeline",
    "span_marker": "SpanMarker",
    "gliner": "GLiNER",
}
TYPES = ["person", "city", "company", "airplane", "creative work", "event", "product", "country"]


def main() -> None:
    options = arguments(
        __doc__,
        ("--peers_python", {"help": "Python with span-marker and gliner; without it, they are skipped"}),
        ("--encoder", {"default": "minilm", "help": "name or folder of a BERT encoder (default: minilm)"}),
        ("--texts", {"type": int, "default": 200, "help": "number of texts (default: 200)"}),
        ("--batch_size", {"type": int, "default": 32, "help": "texts per batch (default: 32)"}),
    )
    if options.child:
        task = json.loads(options.child)
        print(json.dumps(prepare(task) if task["save"] else measure(task, options)))
        return
    if options.quick:
        options.texts, options.rounds = 3, 1
    with tempfile.TemporaryDirectory() as folder:
        print(comparison(Path(folder), options), end="\n\n")
    print(machine_line(options))


def comparison(folder: Path, options: argparse.Namespace) -> str:
    from modeling_lacl.hub.bundled import embedded_encoder_path

    texts = folder / "texts.json"
    texts.write_text(json.dumps(sample_texts(options.texts)), encoding="utf-8")
    encoder = embedded_encoder_path(options.encoder)
    os.environ["HF_HUB_OFFLINE"] = "1"
    tasks: dict[str, dict[str, Any]] = {}
    notes = []
    for system in SYSTEMS:
        if (system in PEERS and not options.peers_python) or (options.quick and system != "lacl"):
            continue
        task = {"system": system, "folder": str(folder / system.removesuffix("_names")), "save": True}
        task |= {"encoder": encoder, "texts": str(texts), "batch_size": options.batch_size}
        try:
            saved = in_child(task, python=python_of(system, options)) if system != "lacl_names" else {}
        except RuntimeError as error:
            notes.append(f"{SYSTEMS[system]} does not run: {error}")
            continue
        notes += [saved["versions"]] if "versions" in saved else []
        tasks[system] = task | {"save": False}
    extra = [f"--threads={options.threads}", *(["--cpu_time"] if options.cpu_time else [])]
    results: dict[str, list[dict[str, float]]] = {system: [] for system in tasks}
    for _ in range(options.rounds):
        for system, task in tasks.items():
            results[system].append(in_child(task, *extra, python=python_of(system, options)))
    return report(results, options) + "".join(f"\n\n{note}" for note in notes)


def python_of(system: str, options: argparse.Namespace) -> str:
    return options.peers_python if system in PEERS else sys.executable


def report(results: dict[str, list[dict[str, float]]], options: argparse.Namespace) -> str:
    rows = [["system", "texts/s", "LACL / it", "peak MiB", "import s", "load s"]]
    for system, rounds in results.items():
        medians = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
        share = statistics.median(
            ours["rate"] / one["rate"] for ours, one in zip(results["lacl"], rounds, strict=True)
        )
        rows.append([SYSTEMS[system], f"{medians['rate']:.1f}", f"{share:.2f} ×", f"{medians['mib']:.0f}"])
        rows[-1] += [f"{medians['import']:.1f}", f"{medians['load']:.2f}"]
    head = f"{options.texts} texts, {len(TYPES)} types, {options.batch_size} texts a batch"
    return f"{head}; wanted: ahead of SpanMarker and GLiNER on texts per second:\n\n{table(rows)}"


def prepare(task: dict[str, Any]) -> dict[str, str]:
    """Create a model and save it; return the package versions."""
    import torch
    import transformers

    system, encoder, folder = task["system"], task["encoder"], task["folder"]
    torch.manual_seed(0)
    if system == "lacl":
        from modeling_lacl import LaclForTokenClassification, adapt

        tokenizer = transformers.AutoTokenizer.from_pretrained(encoder)
        model = LaclForTokenClassification.from_encoder(encoder, tokenizer, TYPES)
        support = [
            {"tokens": [*text.split()], "ner_tags": [f"B-{TYPES[index % len(TYPES)]}"] + ["O"] * (n - 1)}
            for index, text in enumerate(json.loads(Path(task["texts"]).read_text())[:40] * 3)
            if (n := len(text.split())) and index < max(len(TYPES), 40)
        ]
        adapt(model, support, steps=0).save_pretrained(folder)
        return {}
    if system == "pipeline":
        names = ["O", *(f"{prefix}-{name}" for name in TYPES for prefix in "BI")]
        plain = transformers.AutoModelForTokenClassification.from_pretrained(
            encoder, num_labels=len(names), id2label=dict(enumerate(names))
        )
        plain.save_pretrained(folder)
        transformers.AutoTokenizer.from_pretrained(encoder).save_pretrained(folder)
        return {}
    if system == "span_marker":
        import span_marker

        names = ["O", *(f"{prefix}-{name}" for name in TYPES for prefix in "BI")]
        marker = span_marker.SpanMarkerModel.from_pretrained(encoder, labels=names)
        marker.save_pretrained(folder)
        marker.tokenizer.save_pretrained(folder)
        version = span_marker.__version__
    else:
        import gliner

        config = gliner.GLiNERConfig(model_name=encoder, hidden_size=384, max_len=384, span_mode="markerV0")
        gliner.GLiNER.from_config(config).save_pretrained(folder)
        version = gliner.__version__
    return {"versions": f"{SYSTEMS[system]} {version} with transformers {transformers.__version__}"}


def measure(task: dict[str, Any], options: argparse.Namespace) -> dict[str, float]:
    """Measure the time of importing, loading and finding entities, and the peak memory."""
    system, folder, batch_size = task["system"], task["folder"], task["batch_size"]
    texts: list[str] = json.loads(Path(task["texts"]).read_text(encoding="utf-8"))
    start = time.perf_counter()  # processor time would not include reading files
    if system.startswith("lacl"):
        from modeling_lacl import LaclForTokenClassification as package
    elif system == "pipeline":
        from transformers import pipeline as package
    elif system == "span_marker":
        from span_marker import SpanMarkerModel as package
    else:
        from gliner import GLiNER as package
    imported = time.perf_counter()
    if system == "pipeline":
        model: Any = package("token-classification", model=folder, aggregation_strategy="first")
    elif system == "gliner":
        model = package.from_pretrained(folder, local_files_only=True)
    else:
        model = package.from_pretrained(folder)
    loaded = time.perf_counter()

    def find(texts: list[str]) -> None:
        if system.startswith("lacl"):
            names = {"labels": TYPES} if system == "lacl_names" else {}
            model.predict(texts, batch_size=batch_size, threshold=0.5, **names)
        elif system == "pipeline":
            model(texts, batch_size=batch_size)
        elif system == "span_marker":
            model.predict(texts, batch_size=batch_size)
        else:
            model.inference(texts, TYPES, batch_size=batch_size, threshold=0.99)

    if not system == "pipeline":
        model.eval()
    find(texts[:batch_size])
    start_finding = options.clock()
    find(texts)
    took = options.clock() - start_finding
    return {
        "import": imported - start,
        "load": loaded - imported,
        "rate": len(texts) / took,
        "mib": peak_mib(),
    }


if __name__ == "__main__":
    main()
