"""Callbacks during training: gensim's methods, and on_progress."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastrnn.word2vec.model import Word2Vec

# Called as progress(epoch, words done in it, words in an epoch, mean loss per pair), at most ten times a second.
Progress = Callable[[int, int, int, float], None]

EVENTS = ("on_train_begin", "on_epoch_begin", "on_progress", "on_epoch_end", "on_train_end")


class CallbackAny2Vec:
    """Base class of callbacks, with gensim's name. Any object with at least one of these methods works, too.

    A method may inspect or save the model, or change its settings, which takes effect in the next epoch. An exception
    ends training and is raised from ``train``; ``model.wv`` keeps what was learned until then.
    """

    def on_train_begin(self, model: Word2Vec) -> None:
        """Called at the start of :meth:`Word2Vec.train`, after the corpus was read."""

    def on_epoch_begin(self, model: Word2Vec) -> None:
        """Called before every epoch."""

    def on_progress(self, model: Word2Vec, epoch: int, words_done: int, words: int, mean_loss: float) -> None:
        """Called during an epoch, at most ten times a second.

        Args:
            epoch: counted from the model's first training.
            words_done, words: words trained so far in this epoch, and all words of the epoch.
            mean_loss: mean loss per pair so far.
        """

    def on_epoch_end(self, model: Word2Vec) -> None:
        """Called after every epoch; ``model.losses[-1]`` is its loss."""

    def on_train_end(self, model: Word2Vec) -> None:
        """Called after the last epoch, unless an exception was raised."""


class ProgressCallback(CallbackAny2Vec):
    """A :data:`Progress` function as a callback."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def on_progress(self, model: Word2Vec, epoch: int, words_done: int, words: int, mean_loss: float) -> None:
        self.progress(epoch, words_done, words, mean_loss)


def checked(callbacks: Iterable[Any]) -> tuple[Any, ...]:
    """Callbacks as a tuple. Raises TypeError for objects without any of the methods."""
    if not isinstance(callbacks, Iterable):
        raise TypeError(f"callbacks must be a list, got {callbacks!r}; write callbacks=[…]")
    found = tuple(callbacks)
    for callback in found:
        if not any(hasattr(callback, event) for event in EVENTS):
            raise TypeError(f"a callback must have one of the methods {', '.join(EVENTS)}, got {callback!r}")
    return found


def notify(callbacks: Iterable[Any], event: str, *arguments: Any) -> None:
    """Call the method ``event`` of every callback that has it."""
    for callback in callbacks:
        method = getattr(callback, event, None)
        if method is not None:
            method(*arguments)
