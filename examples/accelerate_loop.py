"""Your own stateful training loop with Hugging Face accelerate, in one process or several.

python examples/accelerate_loop.py               # needs: pip install accelerate
accelerate launch --cpu --num_processes 2 examples/accelerate_loop.py
"""

from typing import Any

import torch
from accelerate import Accelerator

import fastrnn
from fastrnn.train import evaluate, to_device
from fastrnn.train.data import LanguageBatches, Vocabulary
from fastrnn.train.loop.distributed import columns
from fastrnn.train.models import LanguageModel

TEXT = "the cat sat on the mat and the dog sat on the cat . " * 200


class Loss(torch.nn.Module):
    """A module whose forward is the loss: several processes exchange the gradients of a forward."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Any, state: Any) -> tuple[Any, ...]:
        return tuple(self.model.loss(batch, state))


def main(epochs: int = 8) -> float:
    accelerator = Accelerator()
    torch.manual_seed(0)
    vocabulary = Vocabulary.build(TEXT)
    batches = LanguageBatches(vocabulary.encode(TEXT), batch=10, steps=20)
    loss_of = Loss(LanguageModel(vocabulary, embedding=32, hidden=32, layers=1))
    loss_of, optimizer = accelerator.prepare(loss_of, torch.optim.Adam(loss_of.parameters(), lr=1e-2))

    for epoch in range(epochs):
        state = None
        for whole in batches.epoch(epoch):
            # Each process reads its columns of the batch, so the state of its rows stays with it. The average of the
            # gradients is that of the joined batch if all processes have the same number of columns.
            batch, _ = columns(whole, accelerator.process_index, accelerator.num_processes)
            batch = to_device(batch, accelerator.device)
            with accelerator.autocast():
                loss, _, state = loss_of(batch, None if batch.first else state)
            state = fastrnn.detach(state)
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(loss_of.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()

    model = accelerator.unwrap_model(loss_of).model
    figures = evaluate(model, batches, stateful=True)
    accelerator.print(f"loss {figures['loss']:.4f}; after 'the cat sat': {model.eval().next('the cat sat', top=3)}")
    return figures["loss"]


if __name__ == "__main__":
    main()
