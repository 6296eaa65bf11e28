"""`accelerate launch training/train.py` by the configurations in training/accelerate, in real processes."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from modeling_lacl import LaclForTokenClassification

ROOT = Path(__file__).parent.parent
CONFIGURATIONS = ROOT / "training" / "accelerate"
SENTENCES = [
    {"tokens": ["ana", "flew", "to", place], "ner_tags": ["B-person", "O", "O", "B-location"]}
    for place in ["quito", "york"] * 4
]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory, tiny_encoder):
    folder = tmp_path_factory.mktemp("recipe")
    with (folder / "train.jsonl").open("w") as file:
        file.writelines(json.dumps(one) + "\n" for one in SENTENCES)
    values = {
        "encoder": str(tiny_encoder),
        "projection_size": 8,
        "train_file": str(folder / "train.jsonl"),
        "max_steps": 3,
        "per_device_train_batch_size": 2,
        "learning_rate": 1e-3,
        "use_cpu": True,
        "disable_tqdm": True,
        "report_to": "none",
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(values))
    return folder / "recipe.yaml"


def launch(recipe, output, configuration, *options):
    """A started `accelerate launch`, in a session of its own."""
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "accelerate.commands.launch"),
            *("--config_file", str(configuration), *options),
            *(str(ROOT / "training" / "train.py"), str(recipe), "--output_dir", str(output)),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def finish(*processes):
    try:
        for process in processes:
            output, _ = process.communicate(timeout=240)
            assert process.returncode == 0, output
    finally:
        for process in processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def test_two_processes_on_one_machine_and_on_two(recipe, tmp_path):
    """Two machines, here two launches that meet on the loopback, make the model that one makes."""
    finish(launch(recipe, tmp_path / "one", CONFIGURATIONS / "cpu_two_processes.yaml"))
    # As the file says, but for what this machine lacks.
    many = yaml.safe_load((CONFIGURATIONS / "many_machines.yaml").read_text())
    many |= {"use_cpu": True, "mixed_precision": "no", "num_processes": 2, "main_process_port": free_port()}
    (tmp_path / "many.yaml").write_text(yaml.safe_dump(many))
    options = ("--main_process_ip", "127.0.0.1", "--machine_rank")
    finish(*(launch(recipe, tmp_path / "two", tmp_path / "many.yaml", *options, rank) for rank in ("0", "1")))
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=1e-5, atol=1e-6, msg=name)
    model = LaclForTokenClassification.from_pretrained(tmp_path / "two")
    assert sorted(model.config.id2label.values()) == ["O", "location", "person"]


def test_the_configuration_for_many_gpus_differs_in_the_machines_alone():
    """What is said of one machine is said of many, so that a recipe trains alike on both."""
    one, many = (
        yaml.safe_load((CONFIGURATIONS / name).read_text())
        for name in ("multi_gpu.yaml", "many_machines.yaml")
    )
    of_machines = {"num_machines", "main_process_ip", "main_process_port", "rdzv_backend", "same_network"}
    assert many.keys() - one.keys() == of_machines - {"num_machines"}
    assert {key for key in one if one[key] != many[key]} == {"num_machines", "num_processes"}
