#include "../../../csrc/cuda/persistent_forward.cu"
