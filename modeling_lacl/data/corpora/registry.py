"""Description of each corpus: its files, its reader, its tag scheme, and where to get it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..columns import read_columns
from ..examples import Sentence
from .gum import read_gum
from .i2b2 import read_i2b2
from .ontonotes import read_ontonotes


@dataclass(frozen=True)
class Corpus:
    """A corpus that `load_corpus` knows.

    Attributes:
        title: Its name for display.
        source: A sentence that says where to get it.
        layout: The expected files in its folder, for the error message if there are none.
        files: Pattern of its file names; other files in the folder are ignored.
        read: Reads the sentences of one file.
        scheme: Tag scheme, one of `SCHEMES`.
        among: A word in the paths of its files, for releases that also have other languages or tasks.
        in_folders: Its splits are folders of many files; otherwise each is one file in the corpus's folder.
        own_types: Its splits have different types by design, so that each split has only its own.
    """

    title: str
    source: str
    layout: str
    files: re.Pattern[str]
    read: Callable[[Path], Iterator[Sentence]]
    scheme: str = "BIO"
    among: str | None = None
    in_folders: bool = False
    own_types: bool = False


CORPORA: dict[str, Corpus] = {
    "ontonotes": Corpus(
        title="OntoNotes 5.0",
        source="It is not free: get LDC2013T19 from the Linguistic Data Consortium "
        "(https://catalog.ldc.upenn.edu/LDC2013T19), and fill the CoNLL-2012 files in with its words "
        "(https://conll.cemantix.org/2012/data.html).",
        layout="train, development and test folders of *gold_conll files, or one such file for each",
        files=re.compile(r".*gold_conll"),
        read=read_ontonotes,
        among="english",
        in_folders=True,
    ),
    "conll2003": Corpus(
        title="CoNLL-2003",
        source="It is not free: the annotations are at https://www.clips.uantwerpen.be/conll2003/ner/, the "
        "texts are the Reuters corpus RCV1, which NIST gives out (https://trec.nist.gov/data/reuters).",
        layout="eng.train, eng.testa and eng.testb, or train.txt, valid.txt and test.txt",
        files=re.compile(r"eng\.(train|testa|testb)|(train|dev|valid|validation|test|testa|testb)(\.\w+)?"),
        read=partial(read_columns, token_column=0, tag_column=3),
        scheme="IOB1",  # also reads BIO: copies of the corpus have either
    ),
    "wnut17": Corpus(
        title="WNUT-2017",
        source="It is free: https://github.com/leondz/emerging_entities_17",
        layout="wnut17train.conll, emerging.dev.conll and emerging.test.annotated, or train.conll, dev.conll "
        "and test.conll",
        files=re.compile(
            r"wnut17train\.conll|emerging\.dev\.conll|emerging\.test\.annotated"
            r"|(train|dev|valid|test)\.(conll|txt)"
        ),
        read=partial(read_columns, token_column=0, tag_column=1),
    ),
    "i2b2_2014": Corpus(
        title="I2B2-2014",
        source="It is not free: sign the data use agreement at the DBMI portal of Harvard Medical School "
        "(https://portal.dbmi.hms.harvard.edu/projects/n2c2-nlp/), and get the 2014 de-identification data.",
        layout="the unpacked training-PHI-Gold-Set1, training-PHI-Gold-Set2 and testing-PHI-Gold-fixed",
        files=re.compile(r".*\.xml"),
        read=read_i2b2,
        among="phi",
        in_folders=True,
    ),
    "gum": Corpus(
        title="GUM",
        source="It is free: https://github.com/UniversalDependencies/UD_English-GUM",
        layout="en_gum-ud-train.conllu, en_gum-ud-dev.conllu and en_gum-ud-test.conllu, or flattened columns "
        "in train.conll, dev.conll and test.conll",
        files=re.compile(r"en_gum-ud-(train|dev|test)\.conllu|(train|dev|test)\.(conllu|conll|txt)"),
        read=read_gum,
    ),
    "few_nerd": Corpus(
        title="FEW-NERD",
        source="It is free: https://ningding97.github.io/fewnerd/",
        layout="train.txt, dev.txt and test.txt (the folder inter, intra or supervised)",
        files=re.compile(r"(train|dev|val|test)\.txt"),
        read=partial(read_columns, token_column=0, tag_column=1),
        scheme="IO",
        own_types=True,
    ),
}
