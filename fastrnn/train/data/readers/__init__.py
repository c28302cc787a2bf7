"""Readers of the usual data sets and formats. Each returns plain lists, arrays and named tuples."""

from fastrnn.train.data.readers.columns import Chunked, Chunking, read_columns, read_conll2000
from fastrnn.train.data.readers.hugging_face import read_dataset
from fastrnn.train.data.readers.idx import Mnist, read_idx, read_mnist
from fastrnn.train.data.readers.pairs import read_pairs
from fastrnn.train.data.readers.piano_rolls import PianoRolls, read_piano_rolls
from fastrnn.train.data.readers.polarity import read_polarity
from fastrnn.train.data.readers.table import Table, read_table
from fastrnn.train.data.readers.text import Corpus, read_corpus, read_text, text_blocks

__all__ = [
    "Chunked",
    "Chunking",
    "Corpus",
    "Mnist",
    "PianoRolls",
    "Table",
    "read_columns",
    "read_conll2000",
    "read_corpus",
    "read_dataset",
    "read_idx",
    "read_mnist",
    "read_pairs",
    "read_piano_rolls",
    "read_polarity",
    "read_table",
    "read_text",
    "text_blocks",
]
