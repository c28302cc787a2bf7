// Threads for one piece of work, started for it and ended with it. The work takes seconds, so the 50 µs to start them
// do not matter. Unlike with OpenMP, a forked child never waits for threads that exist only in its parent.
#pragma once

namespace fastrnn::word2vec {

// More are refused: each needs memory for its windows and stack, and no machine has so many cores.
constexpr int most_threads = 1024;

// Returns the number if it is allowed. Throws std::invalid_argument.
int checked_threads(int threads);

// Calls work(context, rank) for every rank from 0 to threads - 1, with rank 0 on the calling thread, and returns when
// all are done. Either all run or none, because threads that wait at a barrier need all others. `work` must not throw.
// Throws as checked_threads(), and std::runtime_error if the system cannot start as many threads.
void run_together(int threads, void (*work)(void* context, int rank), void* context);

}  // namespace fastrnn::word2vec
