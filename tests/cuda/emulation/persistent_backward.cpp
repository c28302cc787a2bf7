#include "../../../csrc/cuda/persistent_backward.cu"
