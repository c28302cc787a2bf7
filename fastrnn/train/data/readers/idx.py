"""Arrays in the idx format: MNIST."""

from __future__ import annotations

import math
import os
from typing import NamedTuple

import numpy as np

from fastrnn.train.data.readers import files
from fastrnn.train.data.readers.files import File

WHERE = (
    "MNIST is the four files train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz and "
    "t10k-labels-idx1-ubyte.gz, by LeCun, Cortes and Burges; torchvision.datasets.MNIST downloads them into MNIST/raw."
)
# The third byte of a file and its dtype; all are big-endian.
_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


class Mnist(NamedTuple):
    """Images (N, 28, 28) and labels (N,), uint8."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def read_mnist(folder: File) -> Mnist:
    """The four files of MNIST or of a data set in the same format, compressed or not.

    Raises:
        FileNotFoundError: a file is missing; the error says where to get it.
        ValueError: a file is damaged, or the numbers of labels and images differ.
    """
    arrays = []
    for part in ("train", "t10k"):
        images = _member(folder, part, "images", 3)
        labels = _member(folder, part, "labels", 1)
        if images.ndim != 3 or labels.shape != images.shape[:1]:
            raise ValueError(
                f"{os.fspath(folder)}, {part}: expected images (N, H, W) and labels (N,), "
                f"got shapes {images.shape} and {labels.shape}"
            )
        arrays += [images, labels]
    return Mnist(*arrays)


def read_idx(file: File) -> np.ndarray:
    """The array of an idx file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: its magic number is wrong, or its size differs from its header.
    """
    return _array(files.read_bytes(file, WHERE), os.fspath(file))


def _member(folder: File, part: str, kind: str, dimensions: int) -> np.ndarray:
    names = [f"{part}-{kind}{mark}idx{dimensions}-ubyte" for mark in "-."]
    place, content = files.read_member(folder, names, WHERE)
    return _array(content, place)


def _array(content: bytes, place: str) -> np.ndarray:
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _DTYPES:
        hint = "; it is compressed, so its name should end in .gz" if content.startswith(b"\x1f\x8b") else ""
        raise ValueError(
            f"{place}: expected the magic number of an idx file, such as 00 00 08 03, got {content[:4].hex(' ')}{hint}"
        )
    dtype, dimensions = np.dtype(_DTYPES[content[2]]), content[3]
    begin = 4 + 4 * dimensions
    shape = tuple(int.from_bytes(content[at : at + 4], "big") for at in range(4, begin, 4))
    expected = begin + math.prod(shape) * dtype.itemsize
    if len(content) != expected or dimensions == 0:
        raise ValueError(f"{place}: an array {shape} of {dtype} needs a file of {expected} bytes, got {len(content)}")
    array = np.frombuffer(content, dtype, offset=begin).reshape(shape)
    return array.astype(dtype.newbyteorder("="))  # a copy, so that it can be written to
