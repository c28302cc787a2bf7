// One parallel region around a whole sequence. A region per time step would cost more than the step, so the threads
// of a team stay together and meet at a barrier where one needs what another has written.
#pragma once
#include <omp.h>
#include <sched.h>
#include <stdint.h>

#include "vec.h"

namespace fastrnn::FASTRNN_TARGET {

struct Range {
  int64_t begin, end;
  FASTRNN_INLINE int64_t size() const { return end - begin; }
};

FASTRNN_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
FASTRNN_INLINE int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
FASTRNN_INLINE int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// While another thread has not come far enough. Spins, for a step is a few microseconds; then yields, for with more
// threads than cores the one waited for may need this very core.
FASTRNN_INLINE void wait_a_little(int spins) {
  if (spins > 2000) {
    sched_yield();
  } else {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }
}

struct Barrier {
  alignas(64) int arrived = 0;
  alignas(64) int round = 0;
};

struct Team {
  int rank, size;
  Barrier* barrier;

  inline void meet() const {
    if (size == 1) return;
    int round = __atomic_load_n(&barrier->round, __ATOMIC_RELAXED);
    if (__atomic_add_fetch(&barrier->arrived, 1, __ATOMIC_ACQ_REL) == size) {
      __atomic_store_n(&barrier->arrived, 0, __ATOMIC_RELAXED);
      __atomic_store_n(&barrier->round, round + 1, __ATOMIC_RELEASE);
      return;
    }
    for (int spins = 0; __atomic_load_n(&barrier->round, __ATOMIC_ACQUIRE) == round; ++spins) wait_a_little(spins);
  }

  // This thread's part of n things: contiguous, sizes differ by one at most.
  FASTRNN_INLINE Range share(int64_t n) const { return {n * rank / size, n * (rank + 1) / size}; }
};

template <class Work>
inline void parallel(int threads, Work work) {
  Barrier barrier;
  if (threads <= 1) return work(Team{0, 1, &barrier});
#pragma omp parallel num_threads(threads)
  work(Team{omp_get_thread_num(), omp_get_num_threads(), &barrier});  // may be fewer than asked for
}

// Two works at a time, each by a team of its own.
template <class First, class Second>
inline void parallel(int first_threads, First first, int second_threads, Second second) {
  Barrier barriers[2];
#pragma omp parallel num_threads(first_threads + second_threads)
  {
    const int rank = omp_get_thread_num(), all = omp_get_num_threads();
    const int ours = int(smaller(first_threads, all - 1));
    if (all == 1) {
      first(Team{0, 1, &barriers[0]});
      second(Team{0, 1, &barriers[1]});
    } else if (rank < ours) {
      first(Team{rank, ours, &barriers[0]});
    } else {
      second(Team{rank - ours, all - ours, &barriers[1]});
    }
  }
}

}  // namespace fastrnn::FASTRNN_TARGET
