// Memory for a worker, taken once and used for the whole epoch.
#pragma once
#include <stdlib.h>

#include <new>

#include "../cpu/threads.h"
#include "training_window.h"

namespace fastrnn::FASTRNN_TARGET {

// One block of memory, zero to begin with. Asked twice: first how much is needed, then for the pieces.
class Memory {
 public:
  ~Memory() { free(block); }
  template <class T>
  T* take(int64_t count) {
    char* piece = block + used;
    used += divide_up(count * sizeof(T), 64) * 64;
    return block ? reinterpret_cast<T*>(piece) : nullptr;
  }
  void allocate() {
    block = static_cast<char*>(aligned_alloc(64, used));
    if (!block) throw std::bad_alloc();
    __builtin_memset(block, 0, used);
    used = 0;
  }

 private:
  char* block = nullptr;
  int64_t used = 0;
};

// What a worker has for itself: the words it has drawn, windows that wait for their rows, and the numbers between one
// product of a window and the next.
struct Workspace {
  Drawn drawn;
  Window* window;
  Products products;

  Workspace(const Training& t, int windows) {
    lay_out(t, windows);
    memory.allocate();
    lay_out(t, windows);
    ++drawn.word;  // before the first is a word -1
  }

 private:
  Memory memory;

  void lay_out(const Training& t, int windows) {
    const int64_t contexts = 2 * t.window, outputs = t.longest_path + (t.negative ? 1 + t.negative : 0);
    const int64_t stride = divide_up(outputs, TileOf<false>::outputs) * TileOf<false>::outputs;
    const int64_t tiles = t.skip_gram ? divide_up(contexts, TileOf<true>::inputs) * (stride / TileOf<true>::outputs)
                                      : stride / TileOf<false>::outputs;
    // One is written behind the last and then dropped, and some further on are looked at.
    drawn.word = memory.take<int32_t>(1 + t.longest_block + 1);
    drawn.random = memory.take<uint64_t>(t.longest_block + 1 + negatives_ahead);
    drawn.negative = memory.take<int32_t>(t.longest_block * t.negative);
    window = memory.take<Window>(windows);
    products.stride = stride;
    products.hidden = memory.take<float>(t.width);
    products.dots = memory.take<float>(tiles * Floats::lanes);
    products.coefficient = memory.take<float>(contexts * stride);
    products.before = memory.take<float>(contexts * Floats::lanes);
    for (int i = 0; i < windows; ++i) {
      Window w{};
      w.context = memory.take<float*>(contexts);
      w.input = memory.take<float*>(contexts);
      w.times = memory.take<float>(contexts + Floats::lanes);
      w.output = memory.take<float*>(outputs);
      w.sign = memory.take<float>(stride + Floats::lanes);
      w.output_times = memory.take<float>(stride + Floats::lanes);
      if (!window) continue;
      w.input[0] = products.hidden;
      w.times[0] = 1;
      window[i] = w;
    }
  }
};

// As many as come, each where it was made. (No container of the library: see vec.h.)
class Workspaces {
 public:
  explicit Workspaces(int most) : spaces(static_cast<Workspace*>(malloc(most * sizeof(Workspace)))) {
    if (!spaces) throw std::bad_alloc();
  }
  ~Workspaces() {
    while (count > 0) spaces[--count].~Workspace();
    free(spaces);
  }
  void emplace(const Training& t, int windows) { new (spaces + count) Workspace(t, windows), ++count; }
  Workspace& operator[](int i) { return spaces[i]; }

 private:
  Workspace* spaces;
  int count = 0;
};

}  // namespace fastrnn::FASTRNN_TARGET
