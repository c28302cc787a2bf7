// How many threads a call gets: not more than there are cores to run on, and fewer for a while after other programs
// have made a team wait.
#pragma once
#include <stdint.h>

namespace fastrnn {

// The threads of a call, for as long as it lives.
class CallThreads {
 public:
  // Of the `wanted` threads those that are likely to run.
  explicit CallThreads(int wanted);
  ~CallThreads();
  CallThreads(const CallThreads&) = delete;
  CallThreads& operator=(const CallThreads&) = delete;

  int count;

 private:
  int64_t start = 0;  // ticks (waiting.h), where the time counts
  bool limited = false;
};

// A call took `call` ticks, of which its team of `threads` lost `delay` by waiting for a member that did not run.
// `late`: more than was tolerable (see Plan).
void report_delay(int threads, int64_t delay, bool late, int64_t call);

// The cores that the container's quota is worth, rounded up: the least of what the control groups of this process and
// those above them say, versions 1 and 2; INT_MAX without a quota. `root` comes before every path, for tests.
int quota_cores(const char* root);

// For tests: how many cores there are to be, 0 for those that there are.
void assume_cores(int cores);

}  // namespace fastrnn
