"""Models of sequences, each with any cell and any number of layers."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastrnn.train.models.captioner import Captioner as Captioner
    from fastrnn.train.models.classifier import Classifier as Classifier
    from fastrnn.train.models.encoder_decoder import EncoderDecoder as EncoderDecoder
    from fastrnn.train.models.forecaster import Forecaster as Forecaster
    from fastrnn.train.models.frames import FrameModel as FrameModel
    from fastrnn.train.models.language_model import LanguageModel as LanguageModel
    from fastrnn.train.models.ngram import NGram as NGram
    from fastrnn.train.models.prediction import Predictor as Predictor
    from fastrnn.train.models.recurrent import Recurrent as Recurrent
    from fastrnn.train.models.tagger import Tagger as Tagger

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

if not TYPE_CHECKING:  # else a type checker would accept any name

    def __getattr__(name: str) -> Any:
        if name not in HOMES:
            raise AttributeError(f"module 'fastrnn.train.models' has no attribute {name!r}")
        globals()[name] = getattr(import_module(f"fastrnn.train.models.{HOMES[name]}"), name)
        return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *HOMES})
