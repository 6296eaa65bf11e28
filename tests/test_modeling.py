"""The model: packing in `forward` against one row at a time, objectives, label sets, support, checkpoints."""

import copy
import json
from typing import Any

import pytest
import torch
from torch.nn.functional import elu
from transformers import (
    AutoModel,
    AutoModelForTokenClassification,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    DebertaV2Config,
    DistilBertConfig,
    ModernBertConfig,
    RobertaConfig,
    XLNetConfig,
)

from modeling_lacl import LaclConfig, LaclForTokenClassification, LaclModel
from modeling_lacl.configuration_lacl import DIVERGENCES, FORMAT_VERSION, LOSS_TYPES
from modeling_lacl.divergences import OF_MEANS, pairwise_divergence
from modeling_lacl.losses import context_context_loss, context_label_loss
from modeling_lacl.prompts import PADDING_LABEL, build_prompt, split_prompt

VOCABULARY = 60
LOWEST = torch.finfo(torch.float32).min
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}
COMMON: dict[str, Any] = {"vocab_size": VOCABULARY, "initializer_range": 0.2}

# What the published DeBERTa v2 and v3 have switched on, and the signature of the configuration does not name.
DEBERTA_V3: dict[str, Any] = {
    "position_buckets": 8,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "conv_kernel_size": 3,
}

ENCODERS = {
    "bert": lambda: BertConfig(**COMMON, **SIZES, max_position_embeddings=64),
    "roberta": lambda: RobertaConfig(**COMMON, **SIZES, max_position_embeddings=66, type_vocab_size=1),
    "distilbert": lambda: DistilBertConfig(
        **COMMON, dim=32, n_layers=2, n_heads=4, hidden_dim=48, max_position_embeddings=64
    ),
    "xlnet": lambda: XLNetConfig(**COMMON, d_model=32, n_layer=2, n_head=4, d_inner=48),
    "deberta-v2": lambda: DebertaV2Config(
        **COMMON,
        **SIZES,
        **DEBERTA_V3,
        max_position_embeddings=64,
        relative_attention=True,
        pos_att_type=["c2p", "p2c"],
        position_biased_input=False,
    ),
    "modernbert": lambda: ModernBertConfig(
        **COMMON,
        **SIZES,
        max_position_embeddings=64,
        local_attention=8,
        layer_types=["full_attention", "sliding_attention"],
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        cls_token_id=1,
        sep_token_id=2,
    ),
}
ABSOLUTE = ("bert", "roberta", "distilbert")
SEPARATOR = 2
NAMES = [[5], [6, 7, 8], [9, 6]]
TEXTS = [[1, 20, 21, 22, 23, 24, 25, 2], [1, 30, 2], [1, 40, 41, 42, 40, 2]]

every_encoder = pytest.mark.parametrize("encoder", ENCODERS)


def build(encoder="bert", names=NAMES, **settings):
    """A random model over a small encoder, with labels given as token ids, in eval mode."""
    torch.manual_seed(0)
    settings = {"divergence": "moment_js", "similarity_temperature": 1.0, "label_weight": 0.5, **settings}
    config = LaclConfig(
        encoder_config=ENCODERS[encoder]() if isinstance(encoder, str) else encoder,
        projection_size=settings.pop("projection_size", 16),
        id2label={0: "O", **{i: f"type-{i}" for i in range(1, len(names))}},
        label_token_ids=[list(name) for name in names],
        separator_token_id=SEPARATOR,
        **settings,
    )
    return LaclForTokenClassification(config).eval()


def padded(rows, side="right", value=33, extra=0):
    """Rows as ids and mask; what stands in padding is an ordinary token, which must not matter."""
    length = max(len(row) for row in rows) + extra
    ids = torch.full((len(rows), length), value)
    mask = torch.zeros(len(rows), length, dtype=torch.long)
    for i, row in enumerate(rows):
        places = slice(length - len(row), None) if side == "left" else slice(len(row))
        ids[i, places] = torch.tensor(row)
        mask[i, places] = 1
    return ids, mask


def prompts_of(*orders, names=NAMES):
    """A prompt for each row, padded to the longest."""
    built = [build_prompt(names, SEPARATOR, order) for order in orders]
    length = max(len(ids) for ids, _ in built)
    ids = torch.full((len(built), length), 33)
    labels = torch.full((len(built), length), PADDING_LABEL)
    for i, (row, row_labels) in enumerate(built):
        ids[i, : len(row)] = row
        labels[i, : len(row)] = row_labels
    return ids, labels


def project(model, hidden):
    """The Gaussian head by its formula."""
    head = model.lacl.projection
    mean = hidden @ head.mean.weight.T + head.mean.bias
    variance = elu(hidden @ head.variance.weight.T + head.variance.bias) + 1 + model.config.variance_epsilon
    return mean, variance


def alone(model, text, order):
    """Mean, variance and logits of one text, by the bare encoder on its concatenated tokens."""
    names = model.config.label_token_ids
    tokens, spans = list(text), {}
    for label in order:
        spans[label] = slice(len(tokens), len(tokens) + len(names[label]))
        tokens += [*names[label], SEPARATOR]
    with torch.no_grad():
        hidden = model.lacl.encoder(input_ids=torch.tensor([tokens])).last_hidden_state[0]
        mean, variance = project(model, hidden[: len(text)])
        if not order:
            return mean, variance, None
        labels = project(model, torch.stack([hidden[spans[label]].mean(0) for label in order]))
        divergence = pairwise_divergence(model.config.divergence, (mean, variance), labels)
        scores = (divergence / -model.config.similarity_temperature).log_softmax(-1)
        logits = torch.full((len(text), max(order) + 1), LOWEST)
        logits[:, list(order)] = scores
    return mean, variance, logits


def assert_rows_equal(output, mask, expected):
    for i, (mean, variance, logits) in enumerate(expected):
        inside = mask[i].bool()
        torch.testing.assert_close(output.mean[i, inside], mean, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(output.variance[i, inside], variance, rtol=1e-4, atol=1e-4)
        if logits is not None:
            torch.testing.assert_close(output.logits[i, inside], logits, rtol=1e-4, atol=1e-4)


# ---- packing ----


@every_encoder
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("extra", [0, 5])
def test_rows_are_as_if_alone(encoder, side, extra):
    """Neither padding nor the other rows change a row: it is the bare encoder's on text and prompt."""
    model = build(encoder)
    ids, mask = padded(TEXTS, side, extra=extra)
    with torch.no_grad():
        output = model(ids, mask)
    assert output.logits.shape == (*ids.shape, 3)
    assert_rows_equal(output, mask, [alone(model, text, [0, 1, 2]) for text in TEXTS])


@every_encoder
@pytest.mark.parametrize("side", ["right", "left"])
def test_rows_with_prompts_of_different_lengths(encoder, side):
    model = build(encoder)
    orders = [[2, 0], [0, 1, 2], [1, 2, 0]]
    ids, mask = padded(TEXTS, side)
    prompt_ids, prompt_labels = prompts_of(*orders)
    with torch.no_grad():
        output = model(ids, mask, prompt_ids=prompt_ids, prompt_labels=prompt_labels)
    assert_rows_equal(output, mask, [alone(model, text, o) for text, o in zip(TEXTS, orders, strict=True)])
    assert (output.logits[0, :, 1] == LOWEST).all(), "a label that is not in the row's prompt"


@every_encoder
@pytest.mark.parametrize("side", ["right", "left"])
def test_rows_without_prompts(encoder, side):
    model = build(encoder, use_prompts=False)
    ids, mask = padded(TEXTS, side, extra=3)
    with torch.no_grad():
        output = model(ids, mask)
    assert output.logits is None
    assert_rows_equal(output, mask, [alone(model, text, []) for text in TEXTS])


@pytest.mark.parametrize("encoder", ["bert", "xlnet"])
def test_token_types(encoder):
    """They move with the text; the prompt has type 0."""
    model = build(encoder)
    ids, mask = padded(TEXTS, "left")
    types = (ids % 2) * mask
    with torch.no_grad():
        output = model(ids, mask, token_type_ids=types)
        for i, text in enumerate(TEXTS):
            prompt, _ = build_prompt(NAMES, SEPARATOR)
            tokens = torch.tensor([text + prompt.tolist()])
            own = torch.tensor([[t % 2 for t in text] + [0] * len(prompt)])
            hidden = model.lacl.encoder(input_ids=tokens, token_type_ids=own).last_hidden_state[
                0, : len(text)
            ]
            mean, _ = project(model, hidden)
            torch.testing.assert_close(output.mean[i, mask[i].bool()], mean, rtol=1e-4, atol=1e-4)


def test_token_types_of_an_encoder_without_them():
    model = build("distilbert")
    ids, mask = padded(TEXTS)
    torch.testing.assert_close(
        model(ids, mask, token_type_ids=torch.zeros_like(ids)).logits, model(ids, mask).logits
    )


def test_without_a_mask_all_tokens_count():
    model = build()
    ids = torch.tensor(TEXTS[:1])
    torch.testing.assert_close(model(ids).logits, model(ids, torch.ones_like(ids)).logits)


@pytest.mark.parametrize("encoder", ABSOLUTE)
def test_padding_takes_no_positions(encoder):
    """A batch padded to the encoder's limit still has room for the prompt; too long a text is told."""
    model = build(encoder)
    ids, mask = padded(TEXTS, extra=64 - len(TEXTS[0]))
    with torch.no_grad():
        assert_rows_equal(model(ids, mask), mask, [alone(model, text, [0, 1, 2]) for text in TEXTS])
        prompt_length = len(build_prompt(NAMES, SEPARATOR)[0])
        longest = [1, *[20] * (62 - prompt_length), 2]
        assert model(torch.tensor([longest])).logits.isfinite().all()
        with pytest.raises(ValueError, match="65 tokens, the encoder has 64 positions.*max_prompt_length"):
            model(torch.tensor([[*longest, 2]]))


@pytest.mark.parametrize("encoder", sorted(set(ENCODERS) - set(ABSOLUTE)))
def test_relative_encoders_take_any_length(encoder):
    model = build(encoder)
    text = [1, *[20] * 80, 2]
    with torch.no_grad():
        assert_rows_equal(model(torch.tensor([text])), torch.ones(1, 82), [alone(model, text, [0, 1, 2])])


def test_hidden_states_and_attentions_are_those_of_text_and_prompt():
    model = build()
    model.set_attn_implementation("eager")
    ids, mask = padded(TEXTS)
    output = model(ids, mask, output_hidden_states=True, output_attentions=True)
    width = ids.shape[1] + len(build_prompt(NAMES, SEPARATOR)[0])
    assert [tuple(states.shape) for states in output.hidden_states] == [(3, width, 32)] * 3
    assert [tuple(weights.shape) for weights in output.attentions] == [(3, 4, width, width)] * 2
    assert model(ids, mask).hidden_states is None


def test_output_as_a_mapping_and_a_tuple():
    """Trainer, accelerate and pipelines read outputs by key, or by place."""
    model = build()
    ids, mask = padded(TEXTS)
    output = model(ids, mask, labels=torch.zeros_like(ids))
    parts = ["loss", "logits", "context_context_loss", "context_label_loss", "mean", "variance"]
    assert list(output) == parts
    assert all(output[name] is getattr(output, name) for name in parts)
    assert torch.equal(model(ids, mask, labels=torch.zeros_like(ids), return_dict=False)[0], output.loss)
    output = model(ids, mask)
    assert list(output) == ["logits", "mean", "variance"]
    model.config.return_dict = False
    assert torch.equal(model(ids, mask)[0], output.logits)
    assert torch.equal(model(ids, mask, return_dict=True).logits, output.logits)


def test_prompt_ids_go_with_their_labels():
    model = build()
    prompt_ids, prompt_labels = prompts_of([0, 1])
    for half in ({"prompt_ids": prompt_ids}, {"prompt_labels": prompt_labels}):
        with pytest.raises(ValueError, match="prompt_ids and prompt_labels go together"):
            model(torch.tensor(TEXTS[:1]), **half)


def test_a_model_without_labels():
    model = build()
    model.config.label_token_ids = None
    with pytest.raises(ValueError, match="no labels: call set_labels"):
        model(torch.tensor(TEXTS[:1]))


# ---- objectives ----


@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize("loss_type", LOSS_TYPES)
def test_loss_and_its_parts(divergence, loss_type):
    """From the Gaussians of the rows encoded one by one."""
    model = build(
        divergence=divergence,
        loss_type=loss_type,
        alpha=0.25,
        class_weight_power=0.5,
        similarity_temperature=2.0,
    )
    ids, mask = padded(TEXTS, "left")
    labels = torch.where(mask.bool(), ids % 3, -100)
    labels[:, -1] = -100
    with torch.no_grad():
        output = model(ids, mask, labels=labels)
    rows = [alone(model, text, [0, 1, 2]) for text in TEXTS]
    mean, variance, logits = (torch.cat([row[i][:-1] for row in rows]) for i in range(3))
    flat = torch.cat([torch.tensor(text[:-1]) % 3 for text in TEXTS])
    similarity = -pairwise_divergence(divergence, (mean, variance), (mean, variance)) / 2
    context = context_context_loss(similarity, flat, loss_type, 0.5)
    # The losses do not change when a constant is added to a row of similarities: log_softmax does just that.
    names = context_label_loss(logits, flat, torch.ones_like(logits, dtype=torch.bool), loss_type, 0.5)
    torch.testing.assert_close(output.context_context_loss, context, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(output.context_label_loss, names, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(
        output.loss, 0.25 * output.context_context_loss + 0.75 * output.context_label_loss
    )


def test_loss_without_prompts_is_context_context():
    model = build(use_prompts=False, alpha=0.25)
    ids, mask = padded(TEXTS)
    output = model(ids, mask, labels=torch.where(mask.bool(), ids % 3, -100))
    assert output.context_label_loss is None
    assert torch.equal(output.loss, output.context_context_loss)


def test_a_token_whose_label_is_not_in_its_prompt_has_no_context_label_loss():
    model = build()
    ids, mask = padded(TEXTS)
    prompt_ids, prompt_labels = prompts_of([0, 1, 2], [0, 1], [0, 1])
    labels = torch.full_like(ids, -100)
    labels[0, 1] = 2
    call = {"prompt_ids": prompt_ids, "prompt_labels": prompt_labels}
    expected = model(ids, mask, labels=labels, **call).context_label_loss
    labels[1, 1] = labels[2, 1] = 2
    torch.testing.assert_close(model(ids, mask, labels=labels, **call).context_label_loss, expected)


def test_a_label_beyond_the_prompt():
    model = build()
    with pytest.raises(ValueError, match="labels has the id 3, and the prompt has 3 labels"):
        model(torch.tensor(TEXTS[:1]), labels=torch.full((1, 8), 3))


BATCHES = {
    "mixed": [0, 1, 2, 0, 1, 2, 0, 1],
    "one type only": [1] * 8,
    "no entity": [0] * 8,
    "one token": [-100, 2, *[-100] * 6],
    "no token": [-100] * 8,
}


@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize("loss_type", LOSS_TYPES)
@pytest.mark.parametrize("bf16", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_gradients_are_finite(divergence, loss_type, bf16, scale):
    model = build(divergence=divergence, loss_type=loss_type).train()
    model.lacl.encoder.register_forward_hook(
        lambda module, arguments, output: output.__setitem__(
            "last_hidden_state", output.last_hidden_state * scale
        )
    )
    ids = torch.tensor([TEXTS[0]])
    for name, labels in BATCHES.items():
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            output = model(ids, labels=torch.tensor([labels]))
        output.loss.backward()
        assert output.loss.dtype == output.mean.dtype == output.logits.dtype == torch.float32, name
        assert output.loss.isfinite() and output.logits.isfinite().all(), name
        for parameter in model.parameters():
            assert parameter.grad is None or parameter.grad.isfinite().all(), name
        if name == "mixed":
            assert model.lacl.projection.mean.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_a_label_set_of_one_type(divergence):
    model = build(names=NAMES[:2], divergence=divergence).train()
    output = model(torch.tensor(TEXTS[:1]), labels=torch.tensor([[-100, 1, 0, 0, 0, 0, 0, -100]]))
    output.loss.backward()
    assert output.logits.shape[-1] == 2
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_the_head_is_fp32_under_autocast():
    """Equal to the head in fp32 on the same hidden states, to fp32's precision."""
    model = build()
    ids = torch.tensor(TEXTS[:1])
    prompt_ids, prompt_labels = prompts_of([0, 1, 2])
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        output = model.lacl(ids, prompt_ids=prompt_ids, prompt_labels=prompt_labels)
    mean, variance = project(model, output.last_hidden_state.float())
    torch.testing.assert_close(output.mean, mean, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(output.variance, variance, rtol=1e-5, atol=1e-5)
    for part in (output.label_mean, output.label_variance):
        assert not torch.equal(part, part.bfloat16().float()), "rounded to bf16"


@pytest.mark.parametrize(
    ("encoder", "divergence"),
    [
        *((encoder, "moment_js") for encoder in sorted(set(ENCODERS) - {"xlnet"})),
        *(("bert", divergence) for divergence in DIVERGENCES),
    ],
)
def test_every_weight_is_trained(encoder, divergence):
    """No pooling layer and nothing else idle, on which distributed training would wait."""
    model = build(encoder, divergence=divergence).train()
    ids, mask = padded(TEXTS)
    model(ids, mask, labels=torch.where(mask.bool(), ids % 3, -100)).loss.backward()
    idle = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert idle == frozen
    variance = {"lacl.projection.variance.weight", "lacl.projection.variance.bias"}
    assert frozen == (variance if divergence in OF_MEANS else set())


def test_loading_leaves_idle_weights_frozen(tmp_path):
    model = build("bert", divergence="cosine")
    model.save_pretrained(tmp_path)
    loaded = [LaclForTokenClassification.from_pretrained(tmp_path)]
    loaded += LaclForTokenClassification.from_pretrained(tmp_path, output_loading_info=True)[:1]  # type: ignore[index]
    for again in loaded:
        for (name, a), b in zip(model.named_parameters(), again.parameters(), strict=True):
            assert a.requires_grad == b.requires_grad, name
    other = LaclForTokenClassification.from_pretrained(tmp_path, divergence="jeffreys")
    assert all(parameter.requires_grad for parameter in other.parameters())


def test_no_processes_to_go_across():
    model = build("bert")
    ids, mask = padded(TEXTS)
    with pytest.raises(ValueError, match="torch.distributed is not set up: start .* `accelerate launch`"):
        model(ids, mask, labels=torch.zeros_like(ids), across_processes=True)


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing_enable.*:FutureWarning")
@pytest.mark.parametrize("encoder", sorted(set(ENCODERS) - {"xlnet"}))
def test_gradient_checkpointing(encoder):
    """The encoder's layers run twice, and the gradients are the same. (XLNet has none in transformers.)"""
    ids, mask = padded(TEXTS)
    labels = torch.where(mask.bool(), ids % 3, -100)
    gradients, runs = [], []
    for checkpointing in (False, True):
        model = build(encoder).train()
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        if checkpointing:
            model.gradient_checkpointing_enable()
        calls: list[int] = []
        feed_forward = (
            m for m in model.modules() if type(m).__name__.endswith(("FFN", "MLP", "Intermediate"))
        )
        next(feed_forward).register_forward_pre_hook(lambda *_, calls=calls: calls.append(1))
        model(ids, mask, labels=labels).loss.backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
        runs.append(len(calls))
    assert runs == [1, 2]
    for name, expected in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], expected, msg=name)


@pytest.mark.filterwarnings("ignore")
def test_compiled():
    """Prediction is one graph: no value of a tensor decides what runs."""
    model = build()
    ids, mask = padded(TEXTS, "left")
    with torch.no_grad():
        expected = model(ids, mask).logits
        compiled = torch.compile(model, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(ids, mask).logits, expected)


# ---- label sets ----


def test_set_labels(tiny_model, tiny_tokenizer):
    tiny_model.set_labels(["GPE", "B-creative-work", "person"], {"person": "  New   person ", "O": "nothing"})
    config = tiny_model.config
    assert config.id2label == {0: "O", 1: "GPE", 2: "B-creative-work", 3: "person"}
    assert config.label2id == {"O": 0, "GPE": 1, "B-creative-work": 2, "person": 3}
    assert config.label_names["GPE"] == "country or city"
    assert config.label_names["B-creative-work"] == "creative work"
    assert config.label_names["O"] == "nothing"
    expected = ["nothing", "country or city", "creative work", "new person"]
    assert config.label_token_ids == tiny_tokenizer(expected, add_special_tokens=False)["input_ids"]
    assert config.separator_token_id == tiny_tokenizer.sep_token_id
    assert config.pad_token_id == tiny_tokenizer.pad_token_id


def test_outside_may_be_listed(tiny_model):
    tiny_model.set_labels(["O", "person"])
    assert list(tiny_model.config.id2label.values()) == ["O", "person"]


REFUSED_LABELS = {
    "none": ([], None, "at least one entity type"),
    "outside alone": (["O"], None, "at least one entity type"),
    "a string": ("person", None, "must be a list"),
    "nothing": (None, None, "must be a list"),
    "a number": ([1], None, "labels has 1"),
    "names in a list": (["a"], ["b"], "label_names is .*give a mapping"),
    "a name that is none": (["a"], {"a": None}, "name of the label 'a' is None"),
    "twice": (["person", "person"], None, "'person' stands twice"),
    "one name by rule": (["PER", "person"], None, "'PER' and 'person' share the name 'person'"),
    "one name by mapping": (["a", "b"], {"a": "Work", "b": "work "}, "'a' and 'b' share the name"),
    "spaces apart": (["a", "b"], {"a": "new work", "b": "new  work"}, "share the name|not tell"),
    "the name of outside": (["none", "person"], None, "'O' and 'none' share the name 'none'"),
    "name of an unknown label": (["person"], {"place": "location"}, r"names for \['place'\]"),
    "a name without tokens": (["person", "b"], {"b": " "}, "has no token"),
    "same tokens": (["a", "b"], {"a": "Ω", "b": "Ψ"}, "does not tell the label names 'Ω' and 'Ψ' apart"),
    "a name too long": (["a", "b"], {"b": "z" * 90}, "label 2 has a name of 90 tokens"),
}


@pytest.mark.parametrize(("labels", "names", "message"), REFUSED_LABELS.values(), ids=REFUSED_LABELS.keys())
def test_refused_labels_leave_the_model_as_it_was(tiny_model, labels, names, message):
    tiny_model.config.max_prompt_length = 80
    tiny_model.set_support(torch.zeros(1, 16), torch.ones(1, 16), torch.tensor([1]))
    before = tiny_model.config.to_dict()
    with pytest.raises((TypeError, ValueError), match=message):
        tiny_model.set_labels(labels, names)
    assert tiny_model.config.to_dict() == before
    assert tiny_model.has_support


def test_tokenizer_without_a_separator(tiny_model, tiny_tokenizer):
    tiny_model.tokenizer = copy.deepcopy(tiny_tokenizer)
    tiny_model.tokenizer.sep_token = None
    with pytest.raises(ValueError, match="neither sep_token nor eos_token"):
        tiny_model.set_labels(["person"])


@pytest.mark.parametrize("encoder", ["bert", "xlnet"])
def test_a_label_set_over_several_prompts(encoder):
    """Each type scores against outside, which stands in every prompt, as in a pass of its own."""
    names = [[5], *([6 + i, 20 + i] for i in range(8))]
    model = build(encoder, names=names, max_prompt_length=2 + 3 * 3)
    ids, mask = padded(TEXTS)
    inside = mask.bool()
    groups = split_prompt(names, model.config.max_prompt_length)
    assert len(groups) == 3
    with torch.no_grad():
        output = model(ids, mask)
        passes = [
            model(ids, mask, prompt_ids=prompt_ids, prompt_labels=prompt_labels)
            for prompt_ids, prompt_labels in (
                prompts_of(group, group, group, names=names) for group in groups
            )
        ]
    assert output.logits.shape[-1] == 9
    assert output.logits[inside].isfinite().all() and (output.logits[inside] > LOWEST).all()
    torch.testing.assert_close(output.logits.exp().sum(-1), torch.ones(ids.shape))
    torch.testing.assert_close(output.mean, torch.stack([one.mean for one in passes]).mean(0))
    torch.testing.assert_close(output.variance, torch.stack([one.variance for one in passes]).mean(0))
    for group, one in zip(groups, passes, strict=True):
        together = output.logits[..., group] - output.logits[..., :1]
        apart = one.logits[..., group] - one.logits[..., :1]
        torch.testing.assert_close(together[inside], apart[inside], rtol=1e-4, atol=1e-4)


def test_a_label_set_over_several_prompts_has_a_loss():
    names = [[5], *([6 + i] for i in range(6))]
    model = build(names=names, max_prompt_length=8).train()
    ids, mask = padded(TEXTS)
    output = model(ids, mask, labels=torch.where(mask.bool(), ids % 7, -100))
    output.loss.backward()
    assert output.loss.isfinite()
    assert model.lacl.projection.mean.weight.grad.isfinite().all()


def test_a_set_that_fits_is_one_pass():
    ids, mask = padded(TEXTS)
    calls = []
    model = build(max_prompt_length=9)
    model.lacl.register_forward_hook(lambda *_: calls.append(1))
    exact = model(ids, mask).logits
    assert len(calls) == 1
    model.config.max_prompt_length = 100
    assert torch.equal(model(ids, mask).logits, exact)


def test_label_names_of_the_call(tiny_model, tiny_tokenizer):
    """A call's own labels give what the model gives when those are its labels."""
    batch = tiny_tokenizer(["ana ruiz flew to quito", "new york"], return_tensors="pt", padding=True)
    names = ["none", "work", "new cessna"]
    prompt = build_prompt(tiny_model.tokenize_names(names), tiny_tokenizer.sep_token_id)
    prompt_ids, prompt_labels = (part.expand(2, -1) for part in prompt)
    called = tiny_model(**batch, prompt_ids=prompt_ids, prompt_labels=prompt_labels)
    tiny_model.set_labels(["work", "plane"], {"plane": "new cessna"})
    torch.testing.assert_close(tiny_model(**batch).logits, called.logits)


# ---- support ----


def with_support(model, size=12):
    generator = torch.Generator().manual_seed(1)
    mean = torch.randn(size, 16, generator=generator)
    variance = torch.rand(size, 16, generator=generator) + 0.1
    # The last label has no example.
    labels = torch.arange(size) % (model.config.num_labels - 1)
    model.set_support(mean, variance, labels)
    return mean, variance, labels


@pytest.mark.parametrize("method", ["neighbors", "prototypes"])
@pytest.mark.parametrize("label_weight", [0.0, 0.3, 1.0])
def test_logits_with_support(method, label_weight):
    model = build(support_method=method, label_weight=label_weight)
    ids, mask = padded(TEXTS)
    with torch.no_grad():
        by_names = model(ids, mask)
        mean, variance, labels = with_support(model)
        logits = model(ids, mask).logits
    scores = torch.full((*ids.shape, 3), LOWEST)
    for i in range(len(ids)):
        tokens = (by_names.mean[i], by_names.variance[i])
        for label in (0, 1):
            own = labels == label
            if method == "neighbors":
                support = (mean[own], variance[own])
            else:
                support = (mean[own].mean(0, keepdim=True), variance[own].mean(0, keepdim=True))
            scores[i, :, label] = -pairwise_divergence("moment_js", tokens, support).amin(1)
    probabilities = by_names.logits.softmax(-1) ** label_weight * scores.softmax(-1) ** (1 - label_weight)
    torch.testing.assert_close(logits.exp(), probabilities, rtol=1e-4, atol=1e-6)
    assert logits.isfinite().all()


def test_support_without_prompts():
    model = build(use_prompts=False)
    with_support(model)
    ids, mask = padded(TEXTS)
    logits = model(ids, mask).logits
    torch.testing.assert_close(logits.exp().sum(-1), torch.ones(ids.shape))
    assert (logits[..., 2] == LOWEST).all(), "a type without an example"


def test_support_takes_no_part_in_training_nor_with_labels_of_the_call():
    model = build()
    ids, mask = padded(TEXTS)
    prompt_ids, prompt_labels = prompts_of([0, 1, 2], [0, 1, 2], [0, 1, 2])
    expected = model(ids, mask).logits
    with_support(model)
    assert not torch.equal(model(ids, mask).logits, expected)
    assert torch.equal(model(ids, mask, labels=torch.zeros_like(ids)).logits, expected)
    assert torch.equal(model(ids, mask, prompt_ids=prompt_ids, prompt_labels=prompt_labels).logits, expected)
    model.clear_support()
    assert not model.has_support
    assert torch.equal(model(ids, mask).logits, expected)


def test_new_labels_forget_the_support(tiny_model):
    with_support(tiny_model)
    tiny_model.set_labels(["work"])
    assert not tiny_model.has_support
    assert tiny_model.support_mean.shape == (0, 16)


def test_support_made_in_inference_mode_is_an_ordinary_copy():
    model = build()
    with torch.inference_mode():
        mean, *rest = with_support(model)
        mean.zero_()
    assert model.support_mean.abs().sum() > 0
    assert not model.support_mean.is_inference()
    copy.deepcopy(model).support_mean.add_(1.0)


@pytest.mark.parametrize(
    ("mean", "variance", "labels", "message"),
    [
        ((2, 16), (2, 16), [0, 3], "from 0 to 2, got"),
        ((2, 16), (2, 16), [0, -1], "from 0 to 2, got"),
        ((2, 16), (2, 16), [0], r"must be \(1, 16\)"),
        ((2, 8), (2, 8), [0, 1], r"must be \(2, 16\)"),
        ((2, 16), (1, 16), [0, 1], r"must be \(2, 16\)"),
    ],
)
def test_refused_support(mean, variance, labels, message):
    model = build()
    with pytest.raises(ValueError, match=message):
        model.set_support(torch.zeros(mean), torch.ones(variance), torch.tensor(labels))
    assert not model.has_support


def test_a_copy_shares_nothing(tiny_model):
    with_support(tiny_model)
    before = tiny_model.config.to_dict()
    weights = {name: value.clone() for name, value in tiny_model.state_dict().items()}
    other = copy.deepcopy(tiny_model)
    other.set_labels(["work", "plane"])
    other.set_support(torch.zeros(1, 16), torch.ones(1, 16), torch.tensor([2]))
    other.config.encoder_config.hidden_dropout_prob = 0.9
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    assert tiny_model.config.to_dict() == before
    assert all(torch.equal(value, weights[name]) for name, value in tiny_model.state_dict().items())


# ---- encoders ----


def test_from_encoder_takes_weights_but_shares_nothing(tiny_tokenizer):
    bert = BertModel(BertConfig(**{**COMMON, "vocab_size": len(tiny_tokenizer)}, **SIZES))
    settings = bert.config.to_dict()
    model = LaclForTokenClassification.from_encoder(bert, tiny_tokenizer, ["person"], alpha=0.75)
    assert model.config.alpha == 0.75
    assert not model.training
    loaded = model.lacl.encoder.state_dict()
    assert all(
        torch.equal(loaded[name], value) for name, value in bert.state_dict().items() if name in loaded
    )
    assert not any("pooler" in name for name in loaded)
    model.resize_token_embeddings(len(tiny_tokenizer) + 3)
    with torch.no_grad():
        model.lacl.encoder.embeddings.word_embeddings.weight.zero_()
    assert bert.config.to_dict() == settings
    assert bert.embeddings.word_embeddings.weight.abs().sum() > 0


def test_from_encoder_in_half_precision_is_trained_in_full(tiny_tokenizer):
    """Many published encoders are stored in half precision, in which fine-tuning does not work."""
    config = BertConfig(**{**COMMON, "vocab_size": len(tiny_tokenizer)}, **SIZES, dtype="bfloat16")
    bert = BertModel(config).bfloat16()
    model = LaclForTokenClassification.from_encoder(bert, tiny_tokenizer, ["person"])
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_from_encoder_with_a_head_of_its_own(tiny_tokenizer):
    with pytest.raises(
        ValueError, match="BertForMaskedLM does not fit BertModel: missing weights.*bare encoder"
    ):
        LaclForTokenClassification.from_encoder(
            BertForMaskedLM(BertConfig(**COMMON, **SIZES)), tiny_tokenizer, ["person"]
        )


@every_encoder
def test_attention_implementation_reaches_the_encoder(encoder, tmp_path):
    model = build(encoder)
    model.save_pretrained(tmp_path)
    loaded = LaclForTokenClassification.from_pretrained(tmp_path, attn_implementation="eager")
    assert loaded.lacl.encoder.config._attn_implementation == "eager"
    ids, mask = padded(TEXTS)
    inside = mask.bool()
    with torch.no_grad():
        torch.testing.assert_close(
            loaded(ids, mask).logits[inside], model(ids, mask).logits[inside], rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize("encoder", sorted(set(ENCODERS) - {"xlnet"}))
def test_half_precision(encoder, tmp_path):
    """Loaded in bf16, head and support stay in fp32; cast as a whole, the model works all the same.

    (XLNet of transformers mixes dtypes when it is loaded in half precision, and fails on its own.)
    """
    model = build(encoder)
    with_support(model)
    ids, mask = padded(TEXTS)
    inside = mask.bool()
    with torch.no_grad():
        expected = model(ids, mask).logits[inside].softmax(-1)
        model.save_pretrained(tmp_path)
        loaded = LaclForTokenClassification.from_pretrained(tmp_path, dtype=torch.bfloat16)
        assert loaded.get_input_embeddings().weight.dtype == torch.bfloat16
        assert loaded.state_dict()["lacl.projection.mean.weight"].dtype == torch.float32
        assert torch.equal(loaded.support_mean, model.support_mean)
        for half in (loaded, copy.deepcopy(model).bfloat16()):
            logits = half(ids, mask).logits
            assert logits.dtype == torch.float32
            assert (logits[inside].softmax(-1) - expected).abs().mean() < 0.1


# ---- checkpoints ----


@every_encoder
def test_round_trip(encoder, tmp_path):
    model = build(encoder, label_weight=0.3, divergence="jeffreys")
    mean, variance, labels = with_support(model)
    ids, mask = padded(TEXTS)
    model.save_pretrained(tmp_path)
    loaded = LaclForTokenClassification.from_pretrained(tmp_path)
    state = model.state_dict()
    assert loaded.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in loaded.state_dict().items())
    assert torch.equal(loaded.support_mean, mean)
    assert torch.equal(loaded.support_variance, variance)
    assert torch.equal(loaded.support_labels, labels)
    with torch.no_grad():
        assert torch.equal(loaded(ids, mask).logits, model(ids, mask).logits)


def test_auto_classes(tmp_path):
    model = build()
    model.save_pretrained(tmp_path)
    tagger = AutoModelForTokenClassification.from_pretrained(tmp_path)
    body = AutoModel.from_pretrained(tmp_path)
    assert type(tagger) is LaclForTokenClassification
    assert type(body) is LaclModel
    assert all(torch.equal(value, model.lacl.state_dict()[name]) for name, value in body.state_dict().items())


def test_checkpoint_of_a_newer_format(tmp_path):
    build().save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": FORMAT_VERSION + 1}))
    with pytest.raises(ValueError, match="format version 2, and the code reads up to 1.*update it"):
        LaclForTokenClassification.from_pretrained(tmp_path)


def test_resized_vocabulary_round_trip(tmp_path):
    model = build("roberta")
    model.resize_token_embeddings(VOCABULARY + 8)
    model.save_pretrained(tmp_path)
    loaded = LaclForTokenClassification.from_pretrained(tmp_path)
    assert loaded.get_input_embeddings().weight.shape == (VOCABULARY + 8, 32)
    assert loaded(torch.tensor([[1, VOCABULARY + 7, 2]])).logits.isfinite().all()


def test_the_tokenizer_travels_with_the_model(tiny_model, tiny_tokenizer, tmp_path):
    tiny_model.save_pretrained(tmp_path / "first")
    loaded = LaclForTokenClassification.from_pretrained(tmp_path / "first")
    loaded.save_pretrained(tmp_path / "second")
    again = LaclForTokenClassification.from_pretrained(tmp_path / "second")
    again.set_labels(["work"])
    assert again.tokenizer("ana flew")["input_ids"] == tiny_tokenizer("ana flew")["input_ids"]


def test_no_tokenizer(tmp_path, tiny_tokenizer):
    model = build()
    with pytest.raises(ValueError, match=r"no tokenizer: set model\.tokenizer"):
        _ = model.tokenizer
    model.save_pretrained(tmp_path / "first")
    loaded = LaclForTokenClassification.from_pretrained(tmp_path / "first")
    with pytest.raises(ValueError, match=r"no usable tokenizer in .*set model\.tokenizer"):
        _ = loaded.tokenizer
    loaded.save_pretrained(tmp_path / "second")
    assert (tmp_path / "second" / "model.safetensors").is_file()
    loaded.tokenizer = tiny_tokenizer
    assert loaded.tokenizer is tiny_tokenizer


def test_a_slow_tokenizer_is_refused():
    class Slow:
        is_fast = False

    with pytest.raises(ValueError, match="Slow gives no character offsets"):
        build().tokenizer = Slow()
