"""Batches from text, numbers or symbols."""

from fastrnn.train.data.batch import Captioned, Labelled, Pairs, Tagged, Window

__all__ = ["Captioned", "Labelled", "Pairs", "Tagged", "Window"]
