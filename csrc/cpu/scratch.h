// Scratch memory that stays with the calling thread from one call to the next. A fresh page costs a page fault the
// first time it is touched, and the allocator hands large blocks back to the system after every call: LSTM T100 B1 H256
// took 2.7 ms with malloc and free, 1.9 ms without those faults.
#pragma once
#include <stdlib.h>
#include <sys/mman.h>

#include <new>

#include "threads.h"

namespace fastrnn::FASTRNN_TARGET {

constexpr int64_t cache_line = 64, huge_page = 2 << 20;

// Hands out one block from its beginning on; what does not fit comes from the system. When all is given back, the
// block grows to what the call would have needed. A thread keeps `limit` bytes at most: a call that needs more does
// so much work that the faults are a small part (LSTM H1024: 33 MB of packed weights).
class Scratch {
 public:
  static constexpr int64_t limit = 64 << 20;

  // While this lives, what the calling thread takes and gives back is of another scratch: of what outlives the call.
  class Use {
   public:
    explicit Use(Scratch& scratch) : before(in_place_of_it()) { in_place_of_it() = &scratch; }
    ~Use() { in_place_of_it() = before; }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    Scratch* const before;
  };

  static Scratch& of_this_thread() {
    static thread_local Scratch scratch;
    return in_place_of_it() ? *in_place_of_it() : scratch;
  }
  ~Scratch() { free(block); }

  void* take(int64_t bytes) {
    bytes = divide_up(bytes, cache_line) * cache_line;
    ++in_use, wanted += bytes;
    if (used + bytes <= size) {
      used += bytes;
      return block + used - bytes;
    }
    if (void* memory = allocate(bytes)) return memory;
    give_back(nullptr);
    throw std::bad_alloc();
  }

  void give_back(void* memory) {
    if (memory && (memory < block || memory >= block + size)) free(memory);
    if (--in_use > 0) return;
    if (size < wanted && wanted <= limit) {
      free(block);
      block = static_cast<char*>(allocate(wanted));
      size = block ? wanted : 0;
    }
    used = wanted = 0;
  }

 private:
  // Large blocks on huge pages, where the system has them: fewer misses of the address cache on the way through packed
  // weights (LSTM T128 B32 H512: a tenth; T128 B32 H128: nothing). Only for memory that stays, since they cost more to
  // get.
  static void* allocate(int64_t bytes) {
    const bool large = bytes >= huge_page;
    void* memory = nullptr;
    if (posix_memalign(&memory, large ? huge_page : cache_line, bytes)) return nullptr;
#if defined(MADV_HUGEPAGE)
    if (large) madvise(memory, bytes, MADV_HUGEPAGE);
#endif
    return memory;
  }

  static Scratch*& in_place_of_it() {
    static thread_local Scratch* other = nullptr;
    return other;
  }

  char* block = nullptr;
  int64_t size = 0, used = 0, wanted = 0, in_use = 0;
};

// n numbers of it, for as long as the buffer lives. On cache lines, so that no vector straddles two.
template <class T>
class Buffer {
 public:
  explicit Buffer(int64_t n) : data(n > 0 ? static_cast<T*>(Scratch::of_this_thread().take(n * sizeof(T))) : nullptr) {}
  ~Buffer() {
    if (data) Scratch::of_this_thread().give_back(data);
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  FASTRNN_INLINE operator T*() const { return data; }
  void clear(int64_t n) {
    for (int64_t i = 0; i < n; ++i) data[i] = 0;
  }

 private:
  T* const data;
};

}  // namespace fastrnn::FASTRNN_TARGET
