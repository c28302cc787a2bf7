"""What `fastrnn bench` runs: fastrnn against torch.nn, ONNX Runtime and OpenVINO, in turns, on the same work."""

from fastrnn.bench.results import run as run
from fastrnn.bench.work import GRID as GRID
from fastrnn.bench.work import Shape as Shape
from fastrnn.bench.work import Work as Work
