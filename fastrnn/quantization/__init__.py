"""Models for inference: weights packed once and for all, in float32 (freeze), bfloat16 or int8 (quantize)."""

from fastrnn.quantization.layers import PackedCell as PackedCell
from fastrnn.quantization.layers import PackedLayer as PackedLayer
from fastrnn.quantization.models import dequantize as dequantize
from fastrnn.quantization.models import freeze as freeze
from fastrnn.quantization.models import quantize as quantize

__all__ = ["PackedCell", "PackedLayer", "dequantize", "freeze", "quantize"]
