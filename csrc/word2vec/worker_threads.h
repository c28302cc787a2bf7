// Threads that share one piece of work. Each is started for it and ends with it: what takes whole seconds can pay some
// 50 µs, and a child of fork then never waits for threads that only its parent has, as it would with OpenMP.
#pragma once

namespace fastrnn::word2vec {

// More are refused: each takes memory for its windows and its stack, and no machine has work for as many.
constexpr int most_threads = 1024;

// The number itself, where so many can be asked for. Throws std::invalid_argument.
int checked_threads(int threads);

// Calls work(context, rank) for every rank from 0 to threads - 1, rank 0 on the calling thread, and returns when all
// are done. All run or none: a team that waits for its members at a barrier may not miss one. `work` may not throw.
// Throws as checked_threads(), and std::runtime_error where the system starts no more threads.
void run_together(int threads, void (*work)(void* context, int rank), void* context);

}  // namespace fastrnn::word2vec
