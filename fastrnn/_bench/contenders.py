"""The contenders: each turns a piece of work into a function without arguments that does it once.

All use the weights of one `torch.nn` layer, and their results are compared with its results before any timing.
"""

import copy
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from fastrnn._bench.peers import PEERS, SERVES, TORCH_QUANTIZES
from fastrnn._bench.work import Work

# In the order in which they take turns. "frozen" is fastrnn with its weights packed before the first call, as the peers
# pack theirs.
CONTENDERS = ("torch", *PEERS, "fastrnn", "frozen")

# The largest difference from torch.nn, relative to the largest value, that rounding explains. bfloat16 results are
# compared with torch.nn in float32, since torch.nn in bfloat16 may itself be less accurate. int8 weights are off by up
# to 1/254 of the largest of their row; torch's own GRU is off by 0.03 after 100 steps.
TOLERANCES = {"float32": 1e-4, "bfloat16": 1e-2, "float64": 1e-12, "float16": 2e-3, "tf32": 2e-3, "int8": 0.1}

Run = Callable[[], Any]


def entrants(work: Work) -> list[str]:
    """Names the contenders that can do the work. All but torch.nn and fastrnn's plain layers only infer, on the CPU."""
    return [name for name in CONTENDERS if takes_part(name, work)]


def takes_part(name: str, work: Work) -> bool:
    infers = work.mode == "infer" and work.device == "cpu"
    if name in PEERS:
        return infers and not work.packed and work.cell in SERVES[name].get(work.dtype, ())
    if name == "frozen":
        return infers and work.dtype in ("float32", "bfloat16")
    return name != "torch" or work.dtype != "int8" or work.cell in TORCH_QUANTIZES


def parse_contenders(text: str) -> list[str]:
    """Reads "torch,openvino" or an empty text; raises ValueError for an unknown name."""
    names = [part.strip() for part in text.split(",") if part.strip()]
    for name in names:
        if name not in CONTENDERS:
            raise ValueError(f"--without takes names of {', '.join(CONTENDERS)}; got {name!r}")
    return names


def prepare(name: str, work: Work) -> Run:
    """Returns the function to time. Inference returns the output, training the gradients of input and weights.

    Raises ArithmeticError if the results differ from torch.nn's.
    """
    run, expected = set_up(name, work)
    if name != "torch":
        check(name, work, run(), expected())
    return run


def set_up(name: str, work: Work) -> tuple[Run, Run]:
    """Returns the functions of the contender and of torch.nn in float32 or better; neither has run yet."""
    torch.set_num_threads(work.threads)
    layers = torch_layers(work)
    exact = copy.deepcopy(layers).to(torch.promote_types(layers.weight_ih_l0.dtype, torch.float32))
    return contender(name, work, layers), of_module(work, exact, exact.weight_ih_l0.dtype)


def contender(name: str, work: Work, layers: Any) -> Run:
    """Returns the contender's function, with the weights of the torch.nn layers."""
    if name in PEERS:
        input, _ = example(work, torch.float32)
        return PEERS[name](work, layers, input.numpy())
    if name != "torch":
        import fastrnn

        ours = build(fastrnn, work, **{"recompute": True} if work.recompute else {})
        ours.load_state_dict(layers.state_dict())
        layers = fastrnn.freeze(ours.eval()) if name == "frozen" else ours
        if work.dtype == "int8":
            layers = fastrnn.quantize(ours.eval())
    elif work.dtype == "int8":
        layers = quantized_by_torch(layers)
    return of_module(work, layers, torch_dtype(work))


def quantized_by_torch(layers: torch.nn.Module) -> torch.nn.Module:
    """Layers with int8 weights, dynamically quantized by torch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # all of it is deprecated
        model = torch.nn.ModuleList([layers.eval()])
        return torch.ao.quantization.quantize_dynamic(model, {type(layers)}, dtype=torch.qint8)[0]


def torch_layers(work: Work) -> Any:
    torch.manual_seed(0)
    return build(torch.nn, work)


def build(library: ModuleType, work: Work, **more: Any) -> Any:
    *_, I, H = work.shape
    layers = getattr(library, work.cell)
    more |= {"dtype": torch_dtype(work), "device": work.device}
    return layers(I, H, num_layers=work.num_layers, bidirectional=work.bidirectional, **more)


def torch_dtype(work: Work) -> torch.dtype:
    return torch.float32 if work.dtype in ("tf32", "int8") else getattr(torch, work.dtype)


def example(work: Work, dtype: torch.dtype) -> tuple[Any, Any]:
    """Draws the input and the gradient of the output, padded or packed: rounded to the work's dtype, then converted."""
    torch.manual_seed(0)
    T, B, I, H = work.shape
    sizes = (I, work.directions * H)
    drawn = [torch.randn(T, B, size, device=work.device).to(torch_dtype(work)).to(dtype) for size in sizes]
    if work.packed:
        lengths = torch.tensor(work.lengths)
        return tuple(pack_padded_sequence(each, lengths, enforce_sorted=False) for each in drawn)  # type: ignore
    return drawn[0], drawn[1]


def numbers(sequence: Any) -> Tensor:
    return sequence.data if isinstance(sequence, PackedSequence) else sequence


def of_module(work: Work, module: Any, dtype: torch.dtype) -> Run:
    input, grad_output = example(work, dtype)
    return inference(module, input) if work.mode == "infer" else training(module, input, numbers(grad_output))


def inference(module: torch.nn.Module, input: Any) -> Run:
    def run() -> Tensor:
        with torch.inference_mode():
            return numbers(module(input)[0])

    return run


def training(module: torch.nn.Module, input: Any, grad_output: Tensor) -> Run:
    leaf = numbers(input).requires_grad_()

    def run() -> list[Tensor | None]:
        module.zero_grad(set_to_none=True)
        leaf.grad = None
        numbers(module(input)[0]).backward(grad_output)
        return [leaf.grad, *(weight.grad for weight in module.parameters())]

    return run


def check(name: str, work: Work, results: Any, expected: Any) -> None:
    """Raises ArithmeticError unless every result equals torch.nn's, up to rounding."""
    if work.mode == "infer":
        results, expected = [results], [expected]
    for error in relative_errors(results, expected):
        if not error < TOLERANCES[work.dtype]:  # so that a NaN fails too
            raise ArithmeticError(f"{name} differs from torch.nn on {work}: relative error {error:.2e}")


def relative_errors(results: Any, expected: Any) -> list[float]:
    """Returns each tensor's largest error, relative to its largest value."""
    errors = []
    for result, want in zip(results, expected, strict=True):
        difference = (torch.as_tensor(result).double() - want.double()).abs().max()
        errors.append(float(difference / want.abs().max().clamp(min=1e-3)))
    return errors
