"""Batches from text, numbers or symbols."""

from fastrnn.train.data.batch import Captioned, Labelled, Pairs, Tagged, Window
from fastrnn.train.data.language_batches import LanguageBatches
from fastrnn.train.data.vocabulary import Vocabulary

__all__ = ["Captioned", "Labelled", "LanguageBatches", "Pairs", "Tagged", "Vocabulary", "Window"]
