"""A tiny model and a small target domain in files."""

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from modeling_lacl import LaclForTokenClassification

SUPPORT_0 = """\
Ana B-person
Ruiz I-person
flew O
to O
Quito B-location

Breaking O
Bad B-creative-work
was O
great O
"""
SUPPORT_1 = """\
Oslo B-location
is O
cold O

the O
Mona B-creative-work
Lisa I-creative-work
by O
Leonardo B-person
"""
TEST = """\
Leonardo B-person
flew O
to O
Oslo B-location
. O

Ana B-person
Ruiz I-person
saw O
the O
Mona B-creative-work
Lisa I-creative-work
in O
Quito B-location

nothing O
here O
"""


@pytest.fixture(scope="session")
def tokenizer():
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", *letters, *(f"##{x}" for x in letters)]
    vocabulary += ["person", "location", "creative", "work", "none", "the", "flew", "to", "in", "is"]
    backend = Tokenizer(models.WordPiece({token: i for i, token in enumerate(vocabulary)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **names)


@pytest.fixture
def model(tokenizer):
    torch.manual_seed(0)
    encoder = BertModel(
        BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=128,
            initializer_range=0.5,
        )
    )
    return LaclForTokenClassification.from_encoder(
        encoder, tokenizer, ["person", "building"], projection_size=16, max_text_length=64
    )


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    (folder / "support-1shot").mkdir(parents=True)
    (folder / "support-1shot" / "0.txt").write_text(SUPPORT_0)
    (folder / "support-1shot" / "1.txt").write_text(SUPPORT_1)
    (folder / "test.conll").write_text(TEST)
    return folder
