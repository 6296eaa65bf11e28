"""What several tests share: a tokenizer and a model small enough to be made on the spot, with no download."""

import os
import socket
import string

# Two processes of tests share the processor: more threads in each would wait for each other.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
# As `lacl` does before they are loaded, which in its tests they are already.
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")

import pytest
import torch
from hub_server import LocalHub  # type: ignore[import-not-found]  # pytest finds it beside this file
from huggingface_hub import constants
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from modeling_lacl import LaclForTokenClassification

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CHARACTERS = [
    *string.ascii_lowercase,
    *string.digits,
    *string.punctuation,
    *"äöüßéñçøıλжשعहक東京タワに行สวัด’“”…€👍",
]
WORDS = "the a in of to on person location creative work none ana ruiz flew quito york cessna play".split()

# So that its failing asserts show their values, as those of the tests do.
pytest.register_assert_rewrite("prediction_cases")


@pytest.fixture(autouse=True)
def no_debug(monkeypatch):
    """`lacl --debug` sets this in its process, which is that of the other tests as well."""
    monkeypatch.setenv("LACL_DEBUG", "")  # what is set is put back; what is only deleted is not


@pytest.fixture
def free_port():
    """A port of this machine on which nothing listens, for processes that meet there."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def tiny_tokenizer():
    """Lower-casing WordPiece tokenizer of the BERT kind over single characters and a few whole words.

    Control characters have no token; characters outside the vocabulary are `[UNK]`.
    """
    vocabulary = [*SPECIAL, *CHARACTERS, *(f"##{character}" for character in CHARACTERS), *WORDS]
    backend = Tokenizer(
        models.WordPiece(
            {token: index for index, token in enumerate(dict.fromkeys(vocabulary))}, unk_token="[UNK]"
        )
    )
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", SPECIAL.index("[CLS]")), ("[SEP]", SPECIAL.index("[SEP]"))],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


@pytest.fixture(scope="session")
def make_tiny_model(tiny_tokenizer):
    """Builds a random model over a 2-layer BERT of width 32; `encoder` and `config` arguments override."""

    def make(
        labels=("person", "location", "creative-work"),
        *,
        encoder=None,
        model_class=LaclForTokenClassification,
        **config,
    ):
        torch.manual_seed(0)
        settings = {
            "vocab_size": len(tiny_tokenizer),
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 64,
            "max_position_embeddings": 128,
            # Wide enough for random weights to tell words apart.
            "initializer_range": 0.5,
        }
        bert = BertModel(BertConfig(**{**settings, **(encoder or {})}), add_pooling_layer=False)
        model = model_class.from_encoder(
            bert, tiny_tokenizer, list(labels), **{"projection_size": 16, **config}
        )
        return model.eval()

    return make


@pytest.fixture
def tiny_model(make_tiny_model):
    """A fresh random model with the labels person, location and creative-work; the same at every call."""
    return make_tiny_model()


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A Hub on the loopback, which huggingface_hub's client in this process is set to; see `hub_server`."""
    with LocalHub() as server:
        # What HF_ENDPOINT, HF_HUB_OFFLINE, HF_HUB_DISABLE_XET and HF_HOME set when the client is imported.
        settings = {
            "ENDPOINT": server.url,
            "HUGGINGFACE_CO_URL_TEMPLATE": server.url + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_OFFLINE": False,
            "HF_HUB_DISABLE_XET": True,
            "HF_HUB_CACHE": str(tmp_path / "hf-cache"),
            "HF_TOKEN_PATH": str(tmp_path / "hf-token"),
        }
        for name, value in settings.items():
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setattr("transformers.utils.hub._hf_api", None, raising=False)
        monkeypatch.setenv("HF_TOKEN", "secret")
        yield server


@pytest.fixture(scope="session")
def tiny_encoder(tiny_tokenizer, tmp_path_factory):
    """Folder of a random one-layer BERT of width 16 and its tokenizer, for recipes to start from."""
    folder = tmp_path_factory.mktemp("tiny-encoder")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tiny_tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=128,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    tiny_tokenizer.save_pretrained(folder)
    return folder
