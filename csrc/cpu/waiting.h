// What a thread does while it waits for its team longer than a barrier should take. In a file of its own, compiled
// once: it calls the system, and files of one instruction set must share no inline code with others.
#pragma once
#include <stdint.h>
#include <time.h>

namespace fastrnn {

// Time in units that cost little to read: the processor's time stamp (2 to 4 GHz), elsewhere nanoseconds. Only ratios
// and orders of magnitude matter here.
#if defined(__x86_64__)
constexpr int64_t ticks_per_microsecond = 2500;
static inline int64_t ticks() { return int64_t(__builtin_ia32_rdtsc()); }
#else
constexpr int64_t ticks_per_microsecond = 1000;
static inline int64_t ticks() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}
#endif

// The round at which barriers dissolve their teams, delays or not: none by default. For tests.
extern int dissolve_teams_at;

// Where the threads of a team wait for each other. A member that waits in vain for one that does not run (another
// program has its core) says so, and the next round dissolves the team: its first member goes on alone, see Team.
struct Barrier {
  // `tolerable`: the ticks that may be spent on waiting before that.
  explicit Barrier(int64_t tolerable) : tolerable(tolerable) {}

  alignas(64) int arrived = 0;
  alignas(64) int round = 0;
  bool dissolved = false;  // written by the last to arrive, before `round`
  alignas(64) int asleep = 0;
  int dissolve_at = dissolve_teams_at;  // the round; 0 after more than tolerable waiting
  int64_t delay = 0;                    // ticks spent on waiting
  const int64_t tolerable;

  bool late() const { return dissolve_at == 0; }
};

// Sleeps until `barrier.round` is no longer `round`, and notes a delay. The caller arrived at `arrival` (ticks) after
// working for `worked`.
void wait_asleep(Barrier& barrier, int round, int64_t arrival, int64_t worked);

void wake_all(Barrier& barrier);

}  // namespace fastrnn
