// The matrix products between the pointwise kernels, by cuBLAS.
#pragma once
#include <ATen/core/Tensor.h>

namespace fastrnn::cuda {

// out = a · b, or out += a · b, for matrices whose rows or columns are contiguous and share no memory; out's rows are
// so. float64 and float32 give their own kind; bfloat16 and float16 are summed in float32 and may be handed out as
// that. float32 is multiplied as TF32 where torch.backends.cudnn.rnn allows it, the switch of the operators that these
// take the place of.
void multiply(const at::Tensor& out, const at::Tensor& a, const at::Tensor& b, bool add = false);

}  // namespace fastrnn::cuda
