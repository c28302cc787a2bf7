"""Word vectors in the files that TensorBoard's projector reads."""

from __future__ import annotations

import os
from pathlib import Path

from fastrnn.word2vec.files.compression import replacing
from fastrnn.word2vec.vectors.lookup import Lookup
from fastrnn.word2vec.vectors.word2vec_format import checked_limit

CONFIG = 'embeddings {\n  tensor_path: "vectors.tsv"\n  metadata_path: "metadata.tsv"\n}\n'


def to_projector(vectors: Lookup, folder: str | os.PathLike[str], limit: int | None = 10000) -> None:
    """See :meth:`fastrnn.word2vec.WordVectors.to_projector`."""
    place, limit = Path(folder), checked_limit(limit)
    place.mkdir(parents=True, exist_ok=True)
    keys = vectors.index_to_key[:limit]
    names = [" ".join(str(key).split()) or repr(key) for key in keys]
    if vectors.counts is not None:
        names = ["word\tcount", *(f"{name}\t{count}" for name, count in zip(names, vectors.counts, strict=False))]
    numbers = ["\t".join(map(str, row)) for row in vectors.vectors[:limit]]
    for name, lines in (("vectors.tsv", numbers), ("metadata.tsv", names)):
        with replacing(place / name) as out:
            out.write("".join(f"{line}\n" for line in lines).encode())
    with replacing(place / "projector_config.pbtxt") as out:
        out.write(CONFIG.encode())
