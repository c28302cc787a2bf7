"""Models of sequences, each with any cell and any number of layers."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass

# The file of each model. Also what a saved model may name: to load one runs no code but these classes'.
HOMES = {
    "Captioner": "captioner",
    "Classifier": "classifier",
    "EncoderDecoder": "encoder_decoder",
    "Forecaster": "forecaster",
    "FrameModel": "frames",
    "LanguageModel": "language_model",
    "NGram": "ngram",
    "Predictor": "prediction",
    "Recurrent": "recurrent",
    "Tagger": "tagger",
}

if not TYPE_CHECKING:  # a type checker would take any name for one of the package's

    def __getattr__(name: str) -> Any:
        if name not in HOMES:
            raise AttributeError(f"module 'fastrnn.train.models' has no attribute {name!r}")
        globals()[name] = getattr(import_module(f"fastrnn.train.models.{HOMES[name]}"), name)
        return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *HOMES})
