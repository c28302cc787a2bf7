"""The baselines of the demo's character model: models that only count."""

from __future__ import annotations

from fastrnn.train import tasks
from fastrnn.train.data.made.documentation import documentation
from fastrnn.train.models.ngram import NGram

NAMES = {
    1: "each character by its frequency",
    2: "each character from the previous one",
    5: "each character from the previous four, Kneser-Ney",
}


def baselines(characters: tasks.Run) -> dict[str, float]:
    """Test loss in nats per character of n-grams: orders 1 and 2 with add-one smoothing (Laplace), order 5 with
    Kneser-Ney smoothing."""
    text = documentation(docstrings=False)
    vocabulary = characters.model.vocabulary
    train, test = (vocabulary.encode(part or "") for part in (text.train, text.test))
    losses = {}
    for order, name in NAMES.items():
        model = NGram(vocabulary, order, "add-k" if order < 3 else "kneser-ney").count(train)
        losses[name] = -float(model.token_log_probabilities(test).mean())
    return losses
