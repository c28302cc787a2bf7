#include "../../../csrc/cuda/pointwise.cu"
#include "../../../csrc/cuda/rows.cu"
