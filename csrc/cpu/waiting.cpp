#include "waiting.h"

#include <limits.h>

#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#endif
#include <unistd.h>

namespace fastrnn {

int dissolve_teams_at = INT_MAX;

namespace {

constexpr int64_t nap_microseconds = 100;

void sleep_while(int* word, int value) {
#if defined(__linux__)
  const timespec nap{0, nap_microseconds * 1000};
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, &nap, nullptr, 0);
#else
  usleep(nap_microseconds);
#endif
}

}  // namespace

void wait_asleep(Barrier& barrier, int round, int64_t arrival, int64_t worked) {
  // Uneven shares are no delay: the largest is at most twice the smallest.
  const int64_t expected = worked + worked / 4;
  const int64_t before = __atomic_load_n(&barrier.delay, __ATOMIC_RELAXED);
  __atomic_add_fetch(&barrier.asleep, 1, __ATOMIC_SEQ_CST);
  while (__atomic_load_n(&barrier.round, __ATOMIC_SEQ_CST) == round) {
    sleep_while(&barrier.round, round);
    const int64_t waited = ticks() - arrival;
    if (waited > expected && before + waited > barrier.tolerable)
      __atomic_store_n(&barrier.dissolve_at, 0, __ATOMIC_RELAXED);
  }
  __atomic_sub_fetch(&barrier.asleep, 1, __ATOMIC_RELAXED);
  const int64_t waited = ticks() - arrival;
  if (waited > expected) __atomic_add_fetch(&barrier.delay, waited, __ATOMIC_RELAXED);
}

void wake_all(Barrier& barrier) {
#if defined(__linux__)
  syscall(SYS_futex, &barrier.round, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
#endif
}

}  // namespace fastrnn
