// Memory for a pass between its first kernel and its last, in one piece that the caller allocates.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace fastrnn::cuda {

// Hands out the piece part by part. Without memory it only counts, and hands out null.
class Scratch {
 public:
  explicit Scratch(void* memory = nullptr) : memory(static_cast<char*>(memory)) {}

  template <class T>
  T* take(int64_t count) {
    constexpr size_t alignment = 256;  // as cudaMalloc's; cuBLAS is fastest with operands so aligned
    T* part = memory ? reinterpret_cast<T*>(memory + taken) : nullptr;
    taken += (size_t(count) * sizeof(T) + alignment - 1) / alignment * alignment;
    return part;
  }
  size_t bytes() const { return taken; }

 private:
  char* const memory;
  size_t taken = 0;
};

}  // namespace fastrnn::cuda
