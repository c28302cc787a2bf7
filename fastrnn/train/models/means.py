"""Means over the batches of a data set."""

from __future__ import annotations

from torch import Tensor


class Means:
    """Means over all items, from means over the items of each batch.

    Example:
        >>> means = Means()
        >>> means.add(3, loss=2.0)
        >>> means.add(1, loss=1.0)
        >>> means.result()
        {'loss': 1.75}
    """

    def __init__(self) -> None:
        self.items, self._sums = 0, dict[str, float]()

    def add(self, items: int, **means: float | Tensor) -> None:
        """Add a batch: its number of items and its means."""
        self.items += items
        for name, mean in means.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(mean) * items

    def result(self) -> dict[str, float]:
        """The means over all items.

        Raises:
            ValueError: there were no batches.
        """
        if not self.items:
            raise ValueError(
                "there are no batches to evaluate on. An iterator can be read only once; pass a list or a DataLoader"
            )
        return {name: total / self.items for name, total in self._sums.items()}
