"""The instruction sets that fastrnn has kernels for, from the least to the most, and those of this process."""

import fastrnn

SETS = ("generic", "avx2", "avx512", "avx512_bf16")


def sets_here() -> tuple[str, ...]:
    """Those that this processor has, or up to the one that FASTRNN_ISA forces."""
    return SETS[: SETS.index(fastrnn.info()["instruction_set"]) + 1]
