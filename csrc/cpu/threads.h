// One parallel region around a whole sequence. A region per time step would cost more than the step, so the threads
// of a team stay together and wait at a barrier where one needs what another has written.
#pragma once
#include <omp.h>
#include <sched.h>
#include <stdint.h>

#include "thread_count.h"
#include "vec.h"
#include "waiting.h"

namespace fastrnn::FASTRNN_TARGET {

struct Range {
  int64_t begin, end;
  FASTRNN_INLINE int64_t size() const { return end - begin; }
};

FASTRNN_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
FASTRNN_INLINE int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
FASTRNN_INLINE int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// For a wait of another kind: spins, then yields.
FASTRNN_INLINE void wait_a_little(int spins) {
  if (spins > 2000) {
    sched_yield();
  } else {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }
}

// A member of a team. Work is cut into as many shares as the team has members, and each does its own. Where a barrier
// has dissolved the team (another program has taken the core of a member), the first member does all shares from there
// on, and the others none: so a share is valid until the next barrier only.
struct Team {
  const int rank, size;
  int first, last;   // of the shares that are this member's
  Barrier* barrier;  // null: no waiting
  int64_t resumed;   // ticks since when it works: the last time it waited, or earlier

  Team(int rank, int size, Barrier* barrier)
      : rank(rank), size(size), first(rank), last(rank + 1), barrier(size > 1 ? barrier : nullptr), resumed(ticks()) {}

  // The barrier. What all members wrote before, all may read after.
  inline void sync() {
    if (!barrier) return;
    const int round = __atomic_load_n(&barrier->round, __ATOMIC_RELAXED);
    if (__atomic_add_fetch(&barrier->arrived, 1, __ATOMIC_ACQ_REL) == size) {
      __atomic_store_n(&barrier->arrived, 0, __ATOMIC_RELAXED);
      if (round >= __atomic_load_n(&barrier->dissolve_at, __ATOMIC_RELAXED)) barrier->dissolved = true;
      __atomic_store_n(&barrier->round, round + 1, __ATOMIC_RELEASE);
      // A member that falls asleep this very moment may be missed; it wakes by itself after a nap (waiting.cpp). A
      // fence would cost every step.
      if (__atomic_load_n(&barrier->asleep, __ATOMIC_RELAXED)) wake_all(*barrier);
    } else {
      wait(round);
    }
    if (barrier->dissolved) {
      first = 0, last = rank == 0 ? size : 0;
      barrier = nullptr;
    }
  }

  // This member's part of n things: contiguous; sizes of shares differ by one at most.
  FASTRNN_INLINE Range share(int64_t n) const { return {n * first / size, n * last / size}; }
  FASTRNN_INLINE Range share_number(int i, int64_t n) const { return {n * i / size, n * (i + 1) / size}; }

 private:
  // Spins first: a step takes a few microseconds, waking up 50. It spins for that long, or for half as long as its own
  // work took, since shares are uneven. Then it sleeps: the member it waits for may need this very core.
  inline void wait(int round) {
    const int64_t arrival = ticks(), worked = arrival - resumed;
    const int64_t patience = larger(50 * ticks_per_microsecond, worked / 2);
    resumed = arrival;
    for (int spins = 1; __atomic_load_n(&barrier->round, __ATOMIC_ACQUIRE) == round; ++spins) {
#if defined(__x86_64__)
      __builtin_ia32_pause();
#endif
      if (spins % 16 == 0 && ticks() - arrival > patience) {
        wait_asleep(*barrier, round, arrival, worked);
        resumed = ticks();
        return;
      }
    }
  }
};

// Runs work(team) on that many threads. `tolerable`: the ticks of waiting after which the team is dissolved; by default
// it never is.
template <class Work>
inline void parallel(int threads, Work work, int64_t tolerable = INT64_MAX) {
  Barrier barrier(tolerable);
  if (threads <= 1) {
    Team alone(0, 1, &barrier);
    return work(alone);
  }
  const int64_t start = ticks();
#pragma omp parallel num_threads(threads)
  {
    Team team(omp_get_thread_num(), omp_get_num_threads(), &barrier);  // may be fewer than asked for
    work(team);
  }
  if (barrier.delay) report_delay(threads, barrier.delay / (threads - 1), barrier.late(), ticks() - start);
}

// Two works at a time, each by a team of its own.
template <class First, class Second>
inline void parallel(int first_threads, First first, int second_threads, Second second, int64_t tolerable) {
  Barrier of_first(tolerable), of_second(tolerable), of_all(tolerable);
  const int64_t start = ticks();
#pragma omp parallel num_threads(first_threads + second_threads)
  {
    const int rank = omp_get_thread_num(), all = omp_get_num_threads();
    const int ours = int(smaller(first_threads, all - 1));
    Team both(rank, all, &of_all);
    if (rank < ours || all == 1) {
      Team team(rank, all == 1 ? 1 : ours, &of_first);
      first(team);
    }
    if (rank >= ours) {
      Team team(rank - ours, all - ours, &of_second);
      second(team);
    }
    both.sync();  // see Forward::run
  }
  const int64_t delay = of_first.delay + of_second.delay + of_all.delay;
  const bool late = of_first.late() || of_second.late() || of_all.late();
  if (delay) report_delay(first_threads + second_threads, delay, late, ticks() - start);
}

}  // namespace fastrnn::FASTRNN_TARGET
