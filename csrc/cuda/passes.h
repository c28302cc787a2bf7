// A layer's tensors in, its directions run one after the other.
#pragma once
#include "../torch/operators.h"
#include "direction.h"

namespace fastrnn::cuda {

constexpr const char* dtypes = "float64, float32, bfloat16 or float16";
bool serves(at::ScalarType dtype);
std::vector<int64_t> saved_sizes(const Layer& layer);
void forward(const Layer& layer, const at::Tensor& output, const at::Tensor& hn, const at::Tensor& cn,
             const at::Tensor& saved, cudaStream_t stream);
void backward(const Layer& layer, const at::Tensor& output, const at::Tensor& saved, const Gradients& gradients,
              cudaStream_t stream);

}  // namespace fastrnn::cuda
