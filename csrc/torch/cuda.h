// Layers on a GPU: tensors in, Problems for the kernels out.
#pragma once
#include "operators.h"

namespace fastrnn::cuda {

extern const fastrnn::Device device;

// What will run a padded layer of this kind on the current device: a team's blocks, rows of the batch and bytes of
// shared memory a block; nothing where it goes step by step.
constexpr const char* team_schema =
    "cuda_team(str cell, ScalarType dtype, int hidden_size, int batch, bool backward) -> int[]";
std::vector<int64_t> team_for(c10::string_view cell, at::ScalarType dtype, int64_t hidden_size, int64_t batch,
                              bool backward);

}  // namespace fastrnn::cuda
