#include "../../../csrc/cuda/layer_norm_backward.cu"
#include "../../../csrc/cuda/layer_norm_forward.cu"
