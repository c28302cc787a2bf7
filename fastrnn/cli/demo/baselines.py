"""What the demo's character model is measured against: models that only count."""

from __future__ import annotations

from fastrnn.train import tasks
from fastrnn.train.data.made.documentation import documentation
from fastrnn.train.models.ngram import NGram

NAMES = {
    1: "each character from how often it occurs",
    2: "each character from the one before",
    5: "each character from the four before, Kneser-Ney",
}


def baselines(characters: tasks.Run) -> dict[str, float]:
    """Test loss in nats a character: of one and two characters with counts plus one (Laplace's rule of succession), and
    of five with Kneser-Ney's smoothing."""
    text = documentation(docstrings=False)
    vocabulary = characters.model.vocabulary
    train, test = (vocabulary.encode(part or "") for part in (text.train, text.test))
    losses = {}
    for order, name in NAMES.items():
        model = NGram(vocabulary, order, "add-k" if order < 3 else "kneser-ney").count(train)
        losses[name] = -float(model.token_log_probabilities(test).mean())
    return losses
