"""A small corpus and model."""

SENTENCES = [f"graph trees minors w{i % 7} w{i % 3}".split() for i in range(200)]
SMALL = {"vector_size": 8, "min_count": 1, "seed": 1}
