"""`accelerate launch training/train.py` by the configurations in training/accelerate, in real processes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest
import torch
import yaml
from safetensors.torch import load_file

from modeling_lacl import LaclForTokenClassification

ROOT = Path(__file__).parents[2]
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
        "max_steps": 12,
        "logging_steps": 1,
        "per_device_train_batch_size": 2,
        "learning_rate": 1e-3,
        "use_cpu": True,
        "disable_tqdm": True,
        "report_to": "none",
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(values))
    return folder / "recipe.yaml"


def launch(recipe, output, configuration, *options, training=()):
    """A started `accelerate launch` with options of its own and of the training, in a session of its own."""
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "accelerate.commands.launch"),
            *("--config_file", str(configuration), *options),
            *(str(ROOT / "training" / "train.py"), str(recipe), "--output_dir", str(output), *training),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(*processes):
    try:
        for process in processes:
            output, _ = process.communicate(timeout=240)
            assert process.returncode == 0, output
    finally:
        for process in processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def unbroken(recipe, tmp_path_factory):
    """What two processes on one machine make."""
    folder = tmp_path_factory.mktemp("unbroken") / "one"
    finish(launch(recipe, folder, CONFIGURATIONS / "cpu_two_processes.yaml"))
    return folder


def test_two_processes_on_one_machine_and_on_two(recipe, unbroken, tmp_path, free_port):
    """Two machines, here two launches that meet on the loopback, make the model that one makes."""
    # As the file says, but for what this machine lacks.
    many = yaml.safe_load((CONFIGURATIONS / "many_machines.yaml").read_text())
    many |= {"use_cpu": True, "mixed_precision": "no", "num_processes": 2, "main_process_port": free_port}
    (tmp_path / "many.yaml").write_text(yaml.safe_dump(many))
    options = ("--main_process_ip", "127.0.0.1", "--machine_rank")
    finish(*(launch(recipe, tmp_path / "two", tmp_path / "many.yaml", *options, rank) for rank in ("0", "1")))
    one, two = (load_file(folder / "model.safetensors") for folder in (unbroken, tmp_path / "two"))
    assert one.keys() == two.keys()
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=1e-5, atol=1e-6, msg=name)
    model = LaclForTokenClassification.from_pretrained(tmp_path / "two")
    assert sorted(model.config.id2label.values()) == ["O", "location", "person"]


def curve(folder):
    """What was logged of each step."""
    history = json.loads((folder / "trainer_state.json").read_text())["log_history"]
    keys = ("loss", "grad_norm", "context_context_loss", "context_label_loss")
    return {entry["step"]: [entry[key] for key in keys] for entry in history if "loss" in entry}


def test_two_processes_killed_in_mid_training_go_on(recipe, unbroken, tmp_path):
    """Dropout is on: each process resumes with its own random numbers."""
    folder = tmp_path / "killed"
    training = ("--save_strategy", "steps", "--save_steps", "1", "--save_total_limit", "3", "--resume")
    command = (recipe, folder, CONFIGURATIONS / "cpu_two_processes.yaml")
    launched = launch(*command, training=training)
    deadline = time.monotonic() + 200
    while not (folder / "checkpoint-4" / "trainer_state.json").exists():
        assert launched.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    launcher = psutil.Process(launched.pid)
    for process in [launcher, *launcher.children(recursive=True)]:
        process.kill()
    launched.communicate()
    assert not (folder / "model.safetensors").exists()
    # As if the kill had come while the next checkpoint was being saved.
    (folder / "checkpoint-99").mkdir()
    finish(launch(*command, training=training))
    resumed = curve(folder)
    assert list(resumed) == list(range(1, 13)) and len({loss for loss, *_ in resumed.values()}) == 12
    assert resumed == curve(unbroken)
    one, two = (load_file(place / "model.safetensors") for place in (unbroken, folder))
    assert all(torch.equal(two[name], weight) for name, weight in one.items())


def test_the_configuration_for_many_gpus_differs_in_the_machines_alone():
    """What is said of one machine is said of many, so that a recipe trains alike on both."""
    one, many = (
        yaml.safe_load((CONFIGURATIONS / name).read_text())
        for name in ("multi_gpu.yaml", "many_machines.yaml")
    )
    of_machines = {"num_machines", "main_process_ip", "main_process_port", "rdzv_backend", "same_network"}
    assert many.keys() - one.keys() == of_machines - {"num_machines"}
    assert {key for key in one if one[key] != many[key]} == {"num_machines", "num_processes"}
