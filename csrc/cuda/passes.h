// A layer on a GPU, one direction at a time: the two passes, and the memory that they need meanwhile.
#pragma once
#include <cublas_v2.h>

#include "../sequence/problem.h"
#include "regime.h"

namespace fastrnn::cuda {

// What makes a layer save more than its cell does.
struct Saves {
  bool projected, zones_h, zones_c;
};

// How many numbers the forward pass saves of a row and step for the backward pass. With recompute it saves none of
// them, only the state that the cell carries, (batch, hidden_size), every steps_per_checkpoint steps, from the first
// on: Problem::checkpoints.
int64_t saved_row(const CellDescription& cell, int64_t hidden_size, Saves saves);
int64_t steps_per_checkpoint(int64_t batch);

// Of a chunk of time, at most: x · W_ihᵀ forward, the gates' gradients backward. Not yet measured; tests take less.
struct ChunkBytes {
  int64_t products = 64 << 20, gradients = 256 << 20;
};
inline ChunkBytes chunk_bytes;

struct Resources {
  cublasHandle_t handle;  // whose stream is `stream`; its math mode is set
  cudaStream_t stream;
  void*
      scratch;  // on the GPU, as many bytes as forward_bytes() or backward_bytes() says, and aligned like cudaMalloc's
};

// Bytes of scratch memory. The same for both directions of a layer, which may use it one after the other.
size_t forward_bytes(const Problem<void>& problem, Precision precision);
size_t backward_bytes(const Problem<void>& problem, Precision precision);

// `problem` has at least one row. Its pointers are to memory of the current device and its numbers as `precision` says;
// only what is saved and the checkpoints are float64 beside float64 and float32 beside all others. The call puts its
// work on the stream and does not wait for it. Host arrays of lengths may be freed as soon as it returns.
// Throw std::runtime_error where CUDA fails, std::invalid_argument for sizes that cuBLAS cannot take.
void forward(const Problem<void>& problem, Precision precision, const Resources& resources);
void backward(const Problem<void>& problem, Precision precision, const Resources& resources);

}  // namespace fastrnn::cuda
