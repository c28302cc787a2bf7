// Training an epoch: either every worker takes the next block, or all work through the blocks in a fixed order.
#include "../worker_threads.h"
#include "in_order.h"

namespace fastrnn::FASTRNN_TARGET {

// Hogwild (Niu et al., arXiv:1106.5730): every worker takes the next block and writes to the shared rows without locks.
template <bool skip_gram>
inline void train_without_locks(Epoch& epoch, Workspace& space, const Team& team) {
  while (!epoch.stopped()) {
    const int64_t block = __atomic_fetch_add(&epoch.next_block, 1, __ATOMIC_RELAXED);
    if (block >= epoch.t.block_count) return;
    epoch.draw(block, space.drawn);
    const float alpha = epoch.alpha(block);
    Loss loss{};
    for (int64_t i = -windows_ahead; i < space.drawn.count; ++i)
      train_window<skip_gram, false>(epoch.t, space, alpha, i, loss);
    epoch.done(block, loss);
    if (team.rank == 0) epoch.report();
  }
}

// Calls work(team) on each of `threads` threads.
template <class Work>
inline void run_team(int threads, Work work) {
  struct Call {
    Work& work;
    int threads;
    Barrier barrier;
  } call{work, threads, Barrier(INT64_MAX)};  // no worker may leave: each has its own part
  const auto run = [](void* context, int rank) {
    Call& call = *static_cast<Call*>(context);
    Team team(rank, call.threads, &call.barrier);
    call.work(team);
  };
  word2vec::run_together(threads, run, &call);
}

template <bool skip_gram>
inline Loss train(const Training& t) {
  Epoch epoch(t);
  if (t.deterministic) {
    InOrder order(t);
    run_team(order.workers(t), [&](Team& team) { order.train<skip_gram>(epoch, team); });
  } else {
    Workspaces spaces(t, t.workers);
    run_team(t.workers, [&](Team& team) { train_without_locks<skip_gram>(epoch, spaces[team.rank], team); });
  }
  return epoch.loss;
}

inline Loss train_either(const Training& t) { return t.skip_gram ? train<true>(t) : train<false>(t); }

extern const word2vec::Train train_word2vec;
const word2vec::Train train_word2vec = train_either;

}  // namespace fastrnn::FASTRNN_TARGET
