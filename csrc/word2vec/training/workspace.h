// Memory of a worker, allocated once for the whole epoch.
#pragma once
#include <stdlib.h>

#include <new>

#include "../../cpu/threads.h"
#include "lock.h"

namespace fastrnn::FASTRNN_TARGET {

// How many windows ahead rows are prefetched. CBOW is 1.3 times as fast as with prefetching the rows of eight windows
// at once, before the first of them is trained.
constexpr int windows_ahead = 8;

// One block of zeroed memory. Used twice: first to add up the size, then to take the pieces.
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

// The data of one worker, or of one stream of blocks when training in order: the drawn words, the windows whose rows
// are being prefetched, and intermediate results.
struct Workspace {
  Drawn drawn;
  Window* window;
  Products products;
  LockedRows locked;

  explicit Workspace(const Training& t) {
    lay_out(t);
    memory.allocate();
    lay_out(t);
    ++drawn.word;  // word -1 is before the first
  }

 private:
  Memory memory;

  void lay_out(const Training& t) {
    constexpr int windows = windows_ahead + 1;  // one more than are prefetched
    const int64_t contexts = 2 * t.reach, outputs = t.longest_path + (t.negative ? 1 + t.negative : 0);
    const int64_t stride = divide_up(outputs, TileOf<false>::outputs) * TileOf<false>::outputs;
    const int64_t tiles = t.skip_gram ? divide_up(contexts, TileOf<true>::inputs) * (stride / TileOf<true>::outputs)
                                      : stride / TileOf<false>::outputs;
    // One word is written past the last and then dropped, and some random numbers after it are read.
    drawn.word = memory.take<int32_t>(1 + t.longest_block + 1);
    drawn.random = memory.take<uint64_t>(t.longest_block + 1 + negatives_ahead);
    drawn.negative = memory.take<int32_t>(t.longest_block * t.negative);
    drawn.after_context = memory.take<int32_t>(t.deterministic ? t.longest_block : 0);
    drawn.after_output = memory.take<int32_t>(t.deterministic ? t.longest_block : 0);
    window = memory.take<Window>(windows);
    products.stride = stride;
    products.hidden = memory.take<float>(t.width);
    products.dots = memory.take<float>(tiles * Floats::lanes);
    products.coefficient = memory.take<float>(contexts * stride);
    products.before = memory.take<float>(contexts * Floats::lanes);
    locked.row = memory.take<float*>(t.lock ? contexts : 0);
    locked.copy = memory.take<float>(t.lock ? contexts * t.width : 0);
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

// Several workspaces. (Not a standard container: see vec.h.)
class Workspaces {
 public:
  Workspaces(const Training& t, int number) : Workspaces(number) {
    for (; count < number; ++count) new (spaces + count) Workspace(t);
  }
  Workspaces(const Workspaces&) = delete;
  ~Workspaces() {
    while (count > 0) spaces[--count].~Workspace();
    free(spaces);
  }
  Workspace& operator[](int i) { return spaces[i]; }

  // The largest number of drawn words in a workspace.
  int64_t longest() const {
    int64_t most = 0;
    for (int i = 0; i < count; ++i) most = larger(most, spaces[i].drawn.count);
    return most;
  }

 private:
  Workspace* spaces;
  int count = 0;

  explicit Workspaces(int number) : spaces(static_cast<Workspace*>(malloc(number * sizeof(Workspace)))) {
    if (!spaces) throw std::bad_alloc();
  }
};

}  // namespace fastrnn::FASTRNN_TARGET
