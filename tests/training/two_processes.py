"""What test_distributed.py runs in two processes, and, to compare with, in one.

    torchrun --nproc_per_node 2 tests/two_processes.py FOLDER

`FOLDER/model` is a model; results go to `FOLDER/results-<process>.pt`.
"""

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from datasets import Dataset
from torch.nn.parallel import DistributedDataParallel

from modeling_lacl import LaclForTokenClassification, LaclTrainer, LaclTrainingArguments
from modeling_lacl.data.type_names import TypeName
from modeling_lacl.training.corpora import TrainingCorpora, TrainingCorpus

ROWS = 48
TYPES = 6

# Options of the model, and which of eight sequences the first of the two processes has.
STEPS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "halves": ((0, 1, 2, 3), {}),
    "uneven": ((0, 1, 2, 3, 4, 5), {"loss_type": "container", "class_weight_power": 1.0, "alpha": 0.5}),
    "no token on one side": ((0, 1, 2, 3, 4, 5, 6), {"loss_type": "decoupled", "divergence": "jeffreys"}),
    "context-context alone": ((1, 2, 5), {"class_weight_power": 1.0, "alpha": 1.0}),
    "outside repelled alone": ((0, 1, 2, 3, 4), {"outside_attracts": False}),
    "without prompts": ((0, 1, 2), {"use_prompts": False}),
}
TRAININGS: dict[str, dict[str, Any]] = {
    "plain": {"max_steps": 8, "gradient_accumulation_steps": 2},
    "coarse": {
        "max_steps": 4,
        "coarse_probability": 0.5,
        "labels_per_prompt": 2,
        "dataloader_num_workers": 1,
    },
    "episodes": {"max_steps": 4, "sampling": "episodes", "n_way": 2, "k_shot": 1, "q_shot": 1},
    "corpora": {"max_steps": 4, "group_size": 2},
}
SAVED_AT = 9


def make_batch():
    """Eight sequences of random tokens; the last has ignored labels only."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(5, 60, (8, 12), generator=generator)
    labels = torch.randint(0, 4, (8, 12), generator=generator)
    labels[torch.rand(8, 12, generator=generator) < 0.5] = -100
    labels[7] = -100
    return ids, labels


def make_rows():
    """Rows that all differ, of 4 to 12 tokens, each with some of six types."""
    generator = torch.Generator().manual_seed(2)
    rows = []
    for row in range(ROWS):
        length = int(torch.randint(2, 11, (), generator=generator))
        ids = [5 + row // 10, 5 + row % 10, *torch.randint(5, 60, (length,), generator=generator).tolist()]
        labels = torch.randint(-3, TYPES + 1, (len(ids),), generator=generator).clamp(min=0).tolist()
        rows.append({"input_ids": ids, "attention_mask": [1] * len(ids), "labels": [-100, *labels[1:]]})
    return Dataset.from_list(rows)


def make_corpora():
    """Half of the rows for each of two corpora, each entity a word long."""
    rows = [
        {
            **row,
            "entities": [[word, word, label] for word, label in enumerate(row["labels"][1:]) if label > 0],
            "corpus": "ab"[number % 2],
        }
        for number, row in enumerate(make_rows())
    ]
    rows = sorted(rows, key=lambda row: row["corpus"])
    corpora = [
        TrainingCorpus(
            name=name,
            domain="",
            licence="",
            attribution="",
            sentences=ROWS // 2,
            weight=1.0,
            types=[TypeName(f"{name} {number}", f"{name} {number}") for number in range(TYPES)],
            foreign=[],
            lengths=np.array([len(row["input_ids"]) for row in rows if row["corpus"] == name]),
        )
        for name in "ab"
    ]
    return TrainingCorpora(corpora, Dataset.from_list(rows))


def load(folder, **config):
    return LaclForTokenClassification.from_pretrained(folder / "model", **config).train()


def gradients(model):
    return {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}


class Recorder(LaclTrainer):
    """Keeps the sequences and labels of each step, and whose random state each checkpoint has."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.seen, self.prompts, self.saved_by = [], [], []

    def training_step(self, model, inputs, *args, **kwargs):
        self.seen.append([row[row != 0].tolist() for row in inputs["input_ids"]])
        return super().training_step(model, inputs, *args, **kwargs)

    def compute_loss(self, model, inputs, *args, **kwargs):
        self.prompts.append(inputs["prompt_ids"][0].tolist())
        return super().compute_loss(model, inputs, *args, **kwargs)

    def _save_rng_state(self, output_dir):
        if self.args.process_index == 1:
            time.sleep(0.5)  # the other process does not overtake it
        super()._save_rng_state(output_dir)
        self.saved_by.append(sorted(path.name for path in Path(output_dir).glob("rng_state*")))


def train(folder, name, *, batch_size, resume=None, **options):
    """Trains and returns what is to be compared."""
    settings = {
        "per_device_train_batch_size": batch_size,
        # AdamW would make a whole step of what rounding leaves of a gradient that is zero.
        "optim": "sgd",
        "learning_rate": 1e-2,
        "logging_steps": 1,
        "labels_per_prompt": 3,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        "seed": 3,
    }
    many = name.startswith("corpora")
    trainer = Recorder(
        model=load(folder),
        args=LaclTrainingArguments(output_dir=str(folder / name), **{**settings, **options}),
        train_dataset=None if many else make_rows(),
        corpora=make_corpora() if many else None,
        coarse_names={"person": "some", "location": "some"},
    )
    trainer.train(resume_from_checkpoint=resume)
    keys = ("loss", "grad_norm", "context_context_loss", "context_label_loss")
    return {
        "log": [[entry[key] for key in keys] for entry in trainer.state.log_history if "loss" in entry],
        "seen": trainer.seen,
        "prompts": trainer.prompts,
        "saved_by": trainer.saved_by,
        "weights": {key: value.clone() for key, value in trainer.model.state_dict().items()},
    }


def main(folder):
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    ids, labels = make_batch()
    results: dict[str, Any] = {"steps": {}, "trainings": {}}
    for name, (first, config) in STEPS.items():
        own = list(first) if rank == 0 else [row for row in range(8) if row not in first]
        model = load(folder, **config).double()
        parallel = DistributedDataParallel(model)  # averages gradients for as long as it is there
        output = parallel(ids[own], labels=labels[own], across_processes=True)
        output.loss.backward()
        parts = [output.loss, output.context_context_loss, output.context_label_loss]
        results["steps"][name] = [None if part is None else part.item() for part in parts], gradients(model)
    for name, options in TRAININGS.items():
        results["trainings"][name] = train(folder, name, batch_size=4, **options)
    for name, strategy in (("at random", "random"), ("by length", "group_by_length")):
        ordered: dict[str, Any] = {
            "num_train_epochs": 3,
            "train_sampling_strategy": strategy,
            "batch_size": 4,
        }
        unbroken = train(folder, f"{name}/unbroken", save_strategy="steps", save_steps=SAVED_AT, **ordered)
        checkpoint = str(folder / name / "unbroken" / f"checkpoint-{SAVED_AT}")
        resumed = train(folder, f"{name}/resumed", resume=checkpoint, **ordered)
        results[name] = {"unbroken": unbroken, "resumed": resumed}
    torch.save(results, folder / f"results-{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
