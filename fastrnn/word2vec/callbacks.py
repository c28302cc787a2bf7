"""What is called as a training goes on: objects with gensim's methods, and one more."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastrnn.word2vec.model import Word2Vec

# Called with (epoch, words done in it, words of an epoch, mean loss of a pair so far), at most ten times a second.
Progress = Callable[[int, int, int, float], None]

EVENTS = ("on_train_begin", "on_epoch_begin", "on_progress", "on_epoch_end", "on_train_end")


class CallbackAny2Vec:
    """Base class of callbacks, by gensim's name. Any object that has at least one of these methods will do.

    A method may look at the model, save it, or change its settings, which then hold from the next epoch on. What it
    raises ends the training and is passed on; ``model.wv`` is what had been learned by then.
    """

    def on_train_begin(self, model: Word2Vec) -> None:
        """Called when :meth:`Word2Vec.train` begins, after the corpus was read."""

    def on_epoch_begin(self, model: Word2Vec) -> None:
        """Called once before every epoch."""

    def on_progress(self, model: Word2Vec, epoch: int, words_done: int, words: int, mean_loss: float) -> None:
        """Called within an epoch, at most ten times a second.

        Args:
            epoch: counted from the first training of the model.
            words_done, words: of the epoch so far, and of all of it.
            mean_loss: of a pair so far.
        """

    def on_epoch_end(self, model: Word2Vec) -> None:
        """Called once after every epoch; ``model.losses[-1]`` is its loss."""

    def on_train_end(self, model: Word2Vec) -> None:
        """Called after the last epoch, unless something was raised."""


class ProgressCallback(CallbackAny2Vec):
    """A function of :data:`Progress` as a callback."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def on_progress(self, model: Word2Vec, epoch: int, words_done: int, words: int, mean_loss: float) -> None:
        self.progress(epoch, words_done, words, mean_loss)


def checked(callbacks: Iterable[Any]) -> tuple[Any, ...]:
    """Callbacks as a tuple. Raises TypeError where they are none, which otherwise would never be called."""
    if not isinstance(callbacks, Iterable):
        raise TypeError(f"callbacks must be a list of objects, got {callbacks!r}; write callbacks=[…]")
    found = tuple(callbacks)
    for callback in found:
        if not any(hasattr(callback, event) for event in EVENTS):
            raise TypeError(f"a callback must have one of the methods {', '.join(EVENTS)}, got {callback!r}")
    return found


def notify(callbacks: Iterable[Any], event: str, *arguments: Any) -> None:
    """Call the method of that name of every callback that has it."""
    for callback in callbacks:
        method = getattr(callback, event, None)
        if method is not None:
            method(*arguments)
