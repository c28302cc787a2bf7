"""Truncated backpropagation through time in Lightning, which removed it in 2.0 (#19985, #17848).

    python examples/lightning_truncated_bptt.py      # needs: pip install lightning

Each window is a step of the optimizer, and its detached final state starts the next one, as in fit(stateful=True).
"""

from typing import Any

import torch
from lightning import LightningModule, Trainer
from torch.utils.data import DataLoader

import fastrnn


class TruncatedBPTT(LightningModule):
    """Any model with loss(batch, state) -> Step; batches with ``first`` set start without a state."""

    def __init__(self, model: torch.nn.Module, lr: float, clip: float | None = None) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model, self.lr, self.clip = model, lr, clip
        self.state: Any = None

    def training_step(self, batch: Any, batch_index: int) -> None:
        optimizer = self.optimizers()
        step = self.model.loss(batch, None if batch.first else self.state)
        self.state = fastrnn.detach(step.state)
        optimizer.zero_grad()
        self.manual_backward(step.loss)
        if self.clip is not None:
            self.clip_gradients(optimizer, gradient_clip_val=self.clip, gradient_clip_algorithm="norm")
        optimizer.step()
        self.log("train_loss", step.loss, on_epoch=True, batch_size=step.items)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.lr)


def main() -> None:
    from fastrnn.train.data import LanguageBatches, Vocabulary
    from fastrnn.train.models import LanguageModel

    text = "the cat sat on the mat and the dog sat on the cat . " * 200
    vocabulary = Vocabulary.build(text)
    batches = LanguageBatches(vocabulary.encode(text), batch=10, steps=20)
    model = LanguageModel(vocabulary, embedding=32, hidden=32, layers=1)
    # batch_size=None: these are batches already, and they must stay in order.
    loader = DataLoader(list(batches.epoch(0)), batch_size=None, shuffle=False)
    Trainer(max_epochs=20, accelerator="cpu", logger=False).fit(TruncatedBPTT(model, lr=2.0, clip=1.0), loader)
    print(model.eval().next("the cat sat", top=3))


if __name__ == "__main__":
    main()
