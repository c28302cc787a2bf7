"""How far back in time the gradient of a loss reaches: measured for a model, compared over cells, drawn."""

from fastrnn.train.flow.comparison import compare as compare
from fastrnn.train.flow.comparison import draw as draw
from fastrnn.train.flow.comparison import plot as plot
from fastrnn.train.flow.measure import GradientFlow as GradientFlow
from fastrnn.train.flow.measure import gradient_flow as gradient_flow
