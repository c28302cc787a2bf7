// Memory for a batch of windows, taken once per worker (or once for a team) and used for the whole epoch.
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
  int capacity;
  Kept *kept, *gathered;
  int64_t* counts;  // of the words kept by each worker of the team
  Window* window;
  float** scratch;  // as many rows as a window has inputs, for each worker of the team
  int scratch_rows;

  Batch(const Training& t, int windows, int team) : capacity(windows) {
    lay_out(t, team);
    memory.allocate();
    lay_out(t, team);
  }

 private:
  Memory memory;

  void lay_out(const Training& t, int team) {
    const int contexts = 2 * t.window, outputs = t.longest_path + (t.negative ? 1 + t.negative : 0);
    const int64_t stride = divide_up(outputs, tile_outputs) * tile_outputs;
    // A word -1 before the first and after the last, and room for one that is written and then dropped.
    kept = memory.take<Kept>(t.longest_block + 3);
    gathered = t.deterministic ? memory.take<Kept>(t.longest_block + 3) : kept;
    counts = memory.take<int64_t>(team);
    window = memory.take<Window>(capacity);
    scratch_rows = t.skip_gram ? contexts : 1;
    scratch = memory.take<float*>(scratch_rows * team);
    for (int i = 0; i < scratch_rows * team; ++i) {
      float* row = memory.take<float>(t.width);
      if (scratch) scratch[i] = row;
    }
    for (int i = 0; i < capacity; ++i) {
      Window w{};
      w.stride = stride;
      w.context = memory.take<float*>(contexts);
      w.times = memory.take<float>(contexts + Floats::lanes);
      w.output_times = memory.take<float>(stride + Floats::lanes);
      w.hidden = memory.take<float>(t.width);
      w.hidden_row = memory.take<float*>(1);
      w.output = memory.take<float*>(outputs);
      w.sign = memory.take<float>(stride + Floats::lanes);
      w.coefficient = memory.take<float>(contexts * stride);
      w.input = t.skip_gram ? memory.take<float*>(contexts) : w.hidden_row;
      if (!window) continue;
      w.hidden_row[0] = w.hidden;
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
  void emplace(const Training& t, int windows, int team) { new (batches + count) Batch(t, windows, team), ++count; }
  Batch& operator[](int i) { return batches[i]; }

 private:
  Batch* batches;
  int count = 0;
};

}  // namespace fastrnn::FASTRNN_TARGET
