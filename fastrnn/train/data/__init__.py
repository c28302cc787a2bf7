"""Batches of text, numbers or symbols; ``readers`` reads the usual data sets and formats."""

from fastrnn.train.data import readers
from fastrnn.train.data.arrays import Arrays
from fastrnn.train.data.batch import Captioned, Labelled, Pairs, Tagged, Window
from fastrnn.train.data.bucketed import Bucketed
from fastrnn.train.data.collating import one_hot
from fastrnn.train.data.language_batches import LanguageBatches
from fastrnn.train.data.scaler import Scaler
from fastrnn.train.data.series import ETT_HOURS, Series
from fastrnn.train.data.splitting import split
from fastrnn.train.data.token_file import encode_file
from fastrnn.train.data.vocabulary import Vocabulary

__all__ = [
    "ETT_HOURS",
    "Arrays",
    "Bucketed",
    "Captioned",
    "Labelled",
    "LanguageBatches",
    "Pairs",
    "Scaler",
    "Series",
    "Tagged",
    "Vocabulary",
    "Window",
    "encode_file",
    "one_hot",
    "readers",
    "split",
]
