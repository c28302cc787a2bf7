// Memory for a worker's windows, taken once and used for the whole epoch.
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

struct Batch {
  Kept* kept;
  Window* window;
  float* before;  // a register for each input of a window

  Batch(const Training& t, int windows) {
    lay_out(t, windows);
    memory.allocate();
    lay_out(t, windows);
  }

 private:
  Memory memory;

  void lay_out(const Training& t, int windows) {
    const int64_t contexts = 2 * t.window, outputs = t.longest_path + (t.negative ? 1 + t.negative : 0);
    const int64_t stride = divide_up(outputs, TileOf<false>::outputs) * TileOf<false>::outputs;
    const int64_t tiles = t.skip_gram ? divide_up(contexts, TileOf<true>::inputs) * (stride / TileOf<true>::outputs)
                                      : stride / TileOf<false>::outputs;
    // A word -1 before the first, room for one that is written and then dropped, and words that choose_rows looks at.
    kept = memory.take<Kept>(t.longest_block + 2 + negatives_ahead);
    window = memory.take<Window>(windows);
    before = memory.take<float>(contexts * Floats::lanes);
    float* dots[] = {memory.take<float>(windows * tiles * Floats::lanes),
                     memory.take<float>(windows * tiles * Floats::lanes)};
    for (int i = 0; i < windows; ++i) {
      Window w{};
      w.stride = stride;
      w.context = memory.take<float*>(contexts);
      w.input = memory.take<float*>(contexts);
      w.times = memory.take<float>(contexts + Floats::lanes);
      w.hidden = memory.take<float>(t.width);
      w.output = memory.take<float*>(outputs);
      w.sign = memory.take<float>(stride + Floats::lanes);
      w.output_times = memory.take<float>(stride + Floats::lanes);
      w.coefficient = memory.take<float>(contexts * stride);
      if (!window) continue;
      for (int part = 0; part < 2; ++part) w.dots[part] = dots[part] + i * tiles * Floats::lanes;
      w.input[0] = w.hidden;
      w.times[0] = 1;
      window[i] = w;
    }
  }
};

// As many batches as come, each where it was made. (No container of the library: see vec.h.)
class Batches {
 public:
  explicit Batches(int most) : batches(static_cast<Batch*>(malloc(most * sizeof(Batch)))) {
    if (!batches) throw std::bad_alloc();
  }
  ~Batches() {
    while (count > 0) batches[--count].~Batch();
    free(batches);
  }
  void emplace(const Training& t, int windows) { new (batches + count) Batch(t, windows), ++count; }
  Batch& operator[](int i) { return batches[i]; }

 private:
  Batch* batches;
  int count = 0;
};

}  // namespace fastrnn::FASTRNN_TARGET
