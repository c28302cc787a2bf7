"""What `fastrnn bench` runs: fastrnn against torch.nn, ONNX Runtime and OpenVINO, taking turns on the same work."""

from fastrnn._bench.results import run as run
from fastrnn._bench.work import GRID as GRID
from fastrnn._bench.work import Shape as Shape
from fastrnn._bench.work import Work as Work
