// In place of libgomp, which is not compiled for ThreadSanitizer: it would not see that a region waits for its threads.
// Only what the kernels use. Included by a program's only file.
#pragma once
#include <omp.h>

#include <thread>
#include <vector>

#if defined(__SANITIZE_THREAD__)
static thread_local int this_rank = 0, team_size = 1;

extern "C" {
void GOMP_parallel(void (*work)(void*), void* data, unsigned threads, unsigned) {
  std::vector<std::thread> others;
  for (unsigned rank = 1; rank < threads; ++rank)
    others.emplace_back([=] {
      this_rank = int(rank), team_size = int(threads);
      work(data);
    });
  this_rank = 0, team_size = int(threads);
  work(data);
  for (std::thread& other : others) other.join();
  team_size = 1;
}
int omp_get_thread_num() { return this_rank; }
int omp_get_num_threads() { return team_size; }
int omp_get_num_procs() { return 2; }
double omp_get_wtime() { return 0; }
}
#endif
