"""Layers with recurrent dropout and zoneout, whose masks depend on a seed."""

import torch

import fastrnn
from tests.support.twins import make, results


def carries_c(cell):
    return "lstm" in cell


def layer_of(cell, hidden, rates, inputs=3, **options):
    """A layer with these rates of recurrent dropout and of zoneout of h and, where there is one, of c."""
    names = ("recurrent_dropout", "zoneout_h", "zoneout_c")[: 2 + carries_c(cell)]
    return make(fastrnn, cell, inputs, hidden, **dict(zip(names, rates, strict=False)), **options)


def computed(layer, *given, seed=3, **options):
    """:func:`results` of the masks of a seed."""
    torch.manual_seed(seed)
    return results(layer, *given, **options)


def flat(found):
    return [t for t in torch.utils._pytree.tree_leaves(found) if t is not None]
