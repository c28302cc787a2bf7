// torch's own operators in a forked child: a copy of a large tensor would wait forever for the parent's OpenMP
// threads.
#pragma once
#include <ATen/Parallel.h>

#include "../cpu/forked.h"

namespace fastrnn {

// The threads that torch allows a layer here: one where it is itself a part of parallel work, or OpenMP's are not
// there.
inline int wanted_threads() { return forked() || at::in_parallel_region() ? 1 : at::get_num_threads(); }

// In a child of fork, while this lives, torch's operators stay on the calling thread.
class NoThreadsInForkedChild {
 public:
  NoThreadsInForkedChild() {
    if (threads > 1) at::set_num_threads(1);
  }
  ~NoThreadsInForkedChild() {
    if (threads > 1) at::set_num_threads(threads);
  }
  NoThreadsInForkedChild(const NoThreadsInForkedChild&) = delete;
  NoThreadsInForkedChild& operator=(const NoThreadsInForkedChild&) = delete;

 private:
  const int threads = forked() ? at::get_num_threads() : 1;
};

}  // namespace fastrnn
