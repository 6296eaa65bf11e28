"""The system of the paper's authors: its options against their equations, as loops over tokens."""

import copy
import math
from typing import Any

import pytest
import torch
from torch.nn.functional import elu
from transformers import TrainerCallback

from modeling_lacl import LaclDataCollator, LaclForTokenClassification, LaclTrainingArguments, adapt
from modeling_lacl.data.support import read_support
from modeling_lacl.data.tokenize import tokenize_dataset
from modeling_lacl.training.default_collator import default_collator

SENTENCES = [
    {"tokens": "Ana Ruiz flew to Quito .".split(), "ner_tags": "B-pilot I-pilot O O B-town O".split()},
    {"tokens": "the cessna in York".split(), "ner_tags": "O B-plane O B-town".split()},
    {"tokens": "Ana in Quito".split(), "ner_tags": "B-pilot O B-town".split()},
]
TYPES = ["pilot", "town", "plane"]
PAPER: dict[str, Any] = {
    "projection": "relu_gaussian",
    "variance_epsilon": 1e-14,
    "divergence": "jeffreys",
    "similarity_temperature": 1.0,
    "loss_type": "supcon_out",
    "alpha": 0.1,
    "class_weight_power": 0.0,
    "label_vector": "cls",
}


def suffix(tokenizer, names):
    """`[CLS] none [SEP] [CLS] pilot [SEP] …` as token ids, and the places of each `[CLS]`."""
    ids: list[int] = []
    places: list[int] = []
    for name in names:
        places.append(len(ids))
        ids += tokenizer(name)["input_ids"]
    return ids, places


def states(model, words, names=("none", *TYPES)):
    """Last hidden states of the first piece of each word, and of the `[CLS]` before each name."""
    tokenizer = model.tokenizer
    ids, firsts = [tokenizer.cls_token_id], []
    for word in words:
        firsts.append(len(ids))
        ids += tokenizer(word, add_special_tokens=False)["input_ids"]
    ids.append(tokenizer.sep_token_id)
    own, places = suffix(tokenizer, names)
    hidden = model.lacl.encoder(torch.tensor([ids + own])).last_hidden_state[0]
    return hidden[firsts], hidden[[len(ids) + place for place in places]]


def gaussians(model, hidden):
    head, hidden = model.lacl.projection, hidden.relu()
    variance = elu(hidden @ head.variance.weight.T + head.variance.bias) + 1 + 1e-14
    return list(zip(hidden @ head.mean.weight.T + head.mean.bias, variance, strict=True))


def kl(p, q):
    (mean_p, var_p), (mean_q, var_q) = p, q
    ratio = var_p / var_q
    return 0.5 * (ratio + (mean_q - mean_p) ** 2 / var_q - 1 - ratio.log()).sum()


def symmetrised_kl(p, q):
    return -0.5 * (kl(p, q) + kl(q, p))


def unit_euclidean(p, q):
    return -((p[0] / p[0].norm() - q[0] / q[0].norm()) ** 2).sum()


def transcribed(model, similarity, inside):
    """Context–context and context–label loss of all sentences as one batch."""
    tokens, labels, cross = [], [], []
    for sentence in SENTENCES:
        words, names = states(model, sentence["tokens"])
        own = [0 if tag == "O" else TYPES.index(tag[2:]) + 1 for tag in sentence["ner_tags"]]
        of_names = gaussians(model, names)
        for token, label in zip(gaussians(model, words), own, strict=True):
            to_names = torch.stack([similarity(token, name) for name in of_names])
            cross.append(-to_names.softmax(0)[label].log())
            tokens.append(token)
            labels.append(label)
    losses = []
    for i, label in enumerate(labels):
        others = [j for j in range(len(labels)) if j != i]
        exponent = {j: similarity(tokens[i], tokens[j]).exp() for j in others}
        positives = [j for j in others if labels[j] == label]
        total = torch.stack(list(exponent.values())).sum()
        if not positives:
            continue
        if inside:
            near = torch.stack([exponent[j] for j in positives]).sum()
            losses.append((-near.log() + total.log() + math.log(len(positives))) / math.log(2))
        else:
            losses.append(-torch.stack([(exponent[j] / total).log() for j in positives]).mean())
    return torch.stack(losses).mean(), torch.stack(cross).mean()


@pytest.mark.parametrize(
    ("options", "similarity", "inside"),
    [
        ({}, symmetrised_kl, False),
        ({"loss_type": "container"}, symmetrised_kl, True),
        ({"divergence": "cosine", "similarity_temperature": 0.5}, unit_euclidean, False),
    ],
    ids=["sum outside", "sum inside", "1-shot"],
)
def test_the_loss_of_a_batch(make_tiny_model, tmp_path, options, similarity, inside):
    model = make_tiny_model(TYPES, **{**PAPER, **options})
    with torch.no_grad():  # as random weights make them, e^similarity would be 0
        for layer in (model.lacl.projection.mean, model.lacl.projection.variance):
            layer.weight.mul_(0.2)
    arguments = LaclTrainingArguments(output_dir=str(tmp_path), fixed_labels=True, report_to="none")
    support = read_support(SENTENCES)
    sequences = tokenize_dataset(support.dataset, model.tokenizer, TYPES)
    batch = default_collator(model, arguments)(list(sequences))
    with torch.no_grad():
        output = model(**batch)
        context, label = transcribed(model, similarity, inside)
    # CONTaiNER takes logarithms to the base 2.
    unit = math.log(2) if inside else 1.0
    assert output.context_context_loss.item() / unit == pytest.approx(context.item(), rel=1e-4)
    assert output.context_label_loss.item() == pytest.approx(label.item(), rel=1e-4)
    expected = 0.1 * output.context_context_loss + 0.9 * output.context_label_loss
    assert output.loss.item() == pytest.approx(expected.item())


def test_all_labels_in_one_order(tiny_tokenizer):
    names = ["none", "person", "location", "creative work"]
    collate = LaclDataCollator(
        tiny_tokenizer, names, fixed_labels=True, label_vector="cls", labels_per_prompt=1
    )
    ids, places = suffix(tiny_tokenizer, names)
    for labels in ([0, 3, -100], [2, 2, 1]):
        batch = collate([{"input_ids": [5, 6, 7], "attention_mask": [1] * 3, "labels": labels}])
        assert batch["labels"].tolist() == [labels] and batch["prompt_ids"].tolist() == [ids]
        marked = [places.index(place) if place in places else -1 for place in range(len(ids))]
        assert batch["prompt_labels"].tolist() == [marked]


def test_what_contradicts_fixed_labels(tiny_tokenizer, tmp_path):
    with pytest.raises(ValueError, match="merges no types into coarse groups: leave out coarse_names"):
        LaclDataCollator(tiny_tokenizer, ["none", "a"], fixed_labels=True, coarse_names={"a": "b"})
    with pytest.raises(ValueError, match="3 labels may have 9 tokens.*8; leave out fixed_labels"):
        options: Any = {"fixed_labels": True, "label_vector": "cls", "max_prompt_length": 8}
        LaclDataCollator(tiny_tokenizer, ["none", "a", "b"], labels_per_prompt=1, **options)
    with pytest.raises(ValueError, match="sampling 'episodes' those of an episode; leave one of them out"):
        LaclTrainingArguments(output_dir=str(tmp_path), fixed_labels=True, sampling="episodes")


class _Steps(TrainerCallback):
    """Records the number of steps, and the prompt and the size of their batches."""

    def __init__(self):
        self.steps, self.sizes, self.prompts = 0, set(), set()

    def on_train_begin(self, args, state, control, train_dataloader=None, **kwargs):
        for batch in train_dataloader:
            self.sizes.add(len(batch["input_ids"]))
            self.prompts.add(tuple(batch["prompt_ids"][0].tolist()))

    def on_step_end(self, args, state, control, **kwargs):
        self.steps += 1


def test_the_second_stage(make_tiny_model, tmp_path):
    """As many steps as said, all examples in a batch, and the nearest example by unit hidden states."""
    source = make_tiny_model(["ship"], **PAPER, viterbi=False)
    watch = _Steps()
    options: Any = {"steps": 3, "batch_size": 1000, "fixed_labels": True, "decoding": "unit_hidden"}
    ner = adapt(source, SENTENCES, callbacks=[watch], **options)
    names = ["none", *ner.entity_types]
    ids, _ = suffix(ner.tokenizer, names)
    assert (watch.steps, watch.sizes, watch.prompts) == (3, {3}, {tuple(ids)})
    with torch.no_grad():
        examples, labels = [], []
        for sentence in SENTENCES:
            words, _ = states(ner, sentence["tokens"], names)
            examples += list(words)
            labels += [0 if tag == "O" else names.index(tag[2:]) for tag in sentence["ner_tags"]]
        queries = ["Ruiz in Quito", "the cessna . York to Ana"]
        expected = []
        for query in queries:
            for word in states(ner, query.split(), names)[0]:
                unit = word / word.norm()
                distances = [((unit - one / one.norm()) ** 2).sum().item() for one in examples]
                expected.append(labels[distances.index(min(distances))])
    ner.save_pretrained(tmp_path)
    for model in (ner, LaclForTokenClassification.from_pretrained(tmp_path)):
        batch = model.tokenizer(queries, return_tensors="pt", padding=True)
        with torch.no_grad():
            found = model(**batch).logits.argmax(-1)
        firsts = [batch.word_to_tokens(row, word).start for row, word in _words(queries)]
        rows = [row for row, _ in _words(queries)]
        assert found[rows, firsts].tolist() == expected
    assert 0 in expected and len(set(expected)) > 1


def _words(queries):
    return [(row, word) for row, query in enumerate(queries) for word in range(len(query.split()))]


def test_mistakes_are_named(make_tiny_model):
    with pytest.raises(TypeError, match="fixed_labels is 'no': give True or False"):
        adapt(make_tiny_model(), SENTENCES, fixed_labels="no")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="decoding is 'cosine': give one of gaussian, unit_hidden"):
        adapt(make_tiny_model(), SENTENCES, decoding="cosine")
    with pytest.raises(ValueError, match="a model of spans can only decode by its 'gaussian' head"):
        adapt(make_tiny_model(max_span_words=3), SENTENCES, decoding="unit_hidden")


def test_a_label_vector_needs_its_token(make_tiny_model, tiny_tokenizer):
    model = make_tiny_model(label_vector="cls")
    model.tokenizer = copy.deepcopy(tiny_tokenizer)
    model.tokenizer.cls_token = None
    with pytest.raises(ValueError, match='label_vector="cls" needs a tokenizer with a cls_token'):
        model.set_labels(["person"])
