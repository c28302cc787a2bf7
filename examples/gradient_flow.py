"""How gradients vanish, explode or survive on their way back through time, for four cells of one size.

    python examples/gradient_flow.py            # draws gradient_flow.png, in a few seconds

Each network reads 100 random steps, and only its last output enters the loss. The plots show the norm of dLoss/dh_t.
"""

import math
import sys

import matplotlib

matplotlib.use("Agg")  # draws into a file; needs no display
import matplotlib.pyplot as plt

from fastrnn.train.flow import compare, draw

STEPS = 100
SETTINGS = {
    "torch's initialisation": {},
    "recurrent weights × 4": {"recurrent_scale": 4.0},
    "open gates: forget bias log(T - 1)": {"forget_bias": math.log(STEPS - 1)},
}


def main(file: str = "gradient_flow.png") -> None:
    figure, axes = plt.subplots(len(SETTINGS), 4, figsize=(13, 8), sharex=True, sharey="row", layout="constrained")
    for row, (setting, options) in zip(axes, SETTINGS.items(), strict=True):
        print(setting)
        flows = compare(("rnn_sigmoid", "rnn_tanh", "gru", "lstm"), steps=STEPS, **options)
        for axis, (cell, flow) in zip(row, flows.items(), strict=True):
            draw(axis, flow, cell)
            (norms,) = flow.h.values()
            print(f"  {cell:12} step 1: {norms[0]:8.1e}   step {STEPS // 2}: {norms[STEPS // 2 - 1]:8.1e}")
        row[0].set_ylabel(setting)
    figure.savefig(file, dpi=80)
    print(f"drawn into {file}")


if __name__ == "__main__":
    main(*sys.argv[1:])
