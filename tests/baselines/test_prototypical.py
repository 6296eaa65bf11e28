"""The prototypical network: its loss against a loop, its training, its decoding."""

import pytest
import torch

from modeling_lacl import adapt
from modeling_lacl.baselines.prototypical import PrototypicalModel, prototypical_loss

PLAIN = {
    "use_prompts": False,
    "projection": "hidden",
    "divergence": "euclidean",
    "similarity_temperature": 1.0,
    "support_method": "prototypes",
}


def test_the_loss_is_that_of_a_loop():
    torch.manual_seed(0)
    states = torch.randn(4, 6, 3).double()
    labels = torch.tensor(
        [[0, 1, 1, 0, -100, -100], [1, 0, 2, 3, 0, -100], [2, 0, 0, 2, 0, 0], [0, 2, 1, -100, -100, -100]]
    )
    support: dict[int, list[torch.Tensor]] = {}
    query = []
    for row in range(4):
        for column in range(6):
            label = int(labels[row, column])
            if label >= 0 and row % 2 == 0:
                support.setdefault(label, []).append(states[row, column])
            elif label >= 0:
                query.append((states[row, column], label))
    centres = {label: torch.stack(found).mean(0) for label, found in support.items()}
    losses = []
    for state, label in query:
        if label in centres:  # label 3 has no prototype
            scores = {one: -((state - centre) ** 2).sum() for one, centre in centres.items()}
            losses.append(torch.stack(list(scores.values())).logsumexp(0) - scores[label])
    torch.testing.assert_close(prototypical_loss(states, labels, 4), torch.stack(losses).mean())


def test_without_a_reachable_query_token_the_loss_is_zero_with_zero_gradients():
    states = torch.randn(1, 3, 2, requires_grad=True)
    loss = prototypical_loss(states, torch.tensor([[0, 1, 0]]), 2)
    loss.backward()
    assert loss.item() == 0 and states.grad is not None and not states.grad.any()


def test_training_lowers_the_loss(make_tiny_model, tiny_tokenizer):
    model = make_tiny_model(model_class=PrototypicalModel, encoder={"initializer_range": 0.1}, **PLAIN)
    batch = tiny_tokenizer(["ana flew", "york play", "ana in york", "the play to ana"], padding=True)
    batch = {key: torch.tensor(value) for key, value in batch.items()}
    labels = torch.full(batch["input_ids"].shape, -100)
    for row, tags in enumerate([[1, 0], [2, 3], [1, 0, 2], [0, 3, 0, 1]]):
        labels[row, 1 : 1 + len(tags)] = torch.tensor(tags)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(20):
        loss = model(**batch, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


def test_decoding_is_by_the_nearest_prototype(make_tiny_model, tiny_tokenizer):
    support = [
        {"tokens": "Ana Ruiz flew to Quito".split(), "ner_tags": "B-pilot I-pilot O O B-town".split()},
        {"tokens": "the play in York".split(), "ner_tags": "O O O B-town".split()},
    ]
    source = make_tiny_model(model_class=PrototypicalModel, **PLAIN)
    ner = adapt(source, support, steps=0)
    centres = torch.stack([ner.support_mean[ner.support_labels == label].mean(0) for label in range(3)])
    batch = tiny_tokenizer("Ana in York", return_tensors="pt")
    with torch.no_grad():
        states = ner.lacl.encoder(**batch).last_hidden_state[0]
        found = ner(batch["input_ids"], batch["attention_mask"]).logits[0].argmax(-1)
    assert found.tolist() == ((states[:, None] - centres) ** 2).sum(-1).argmin(1).tolist()


def test_other_decoding_is_refused(make_tiny_model):
    with pytest.raises(ValueError, match="support_method='prototypes'"):
        make_tiny_model(model_class=PrototypicalModel, **{**PLAIN, "support_method": "neighbors"})
