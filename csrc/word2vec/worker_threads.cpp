#include "worker_threads.h"

#include <condition_variable>
#include <mutex>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace fastrnn::word2vec {

namespace {

// Threads wait here until all of them could be started, or one could not.
class Gate {
 public:
  void decide(bool go) {
    {
      std::lock_guard lock(mutex_);
      state_ = go ? State::go : State::off;
    }
    decided_.notify_all();
  }
  // Whether to go.
  bool wait() {
    std::unique_lock lock(mutex_);
    decided_.wait(lock, [this] { return state_ != State::undecided; });
    return state_ == State::go;
  }

 private:
  enum class State { undecided, go, off };
  std::mutex mutex_;
  std::condition_variable decided_;
  State state_ = State::undecided;
};

}  // namespace

int checked_threads(int threads) {
  if (threads < 1 || threads > most_threads)
    throw std::invalid_argument("workers must be from 1 to " + std::to_string(most_threads) + ", got " +
                                std::to_string(threads));
  return threads;
}

void run_together(int threads, void (*work)(void* context, int rank), void* context) {
  checked_threads(threads);
  Gate gate;
  std::vector<std::thread> others;
  others.reserve(threads - 1);
  const auto finish = [&](bool go) {
    gate.decide(go);
    if (go) work(context, 0);
    for (std::thread& thread : others) thread.join();
  };
  try {
    for (int rank = 1; rank < threads; ++rank)
      others.emplace_back([&gate, work, context, rank] {
        if (gate.wait()) work(context, rank);
      });
  } catch (const std::system_error& error) {
    const std::string started = std::to_string(others.size() + 1);
    finish(false);
    throw std::runtime_error("workers=" + std::to_string(threads) + ": the system can start only " + started +
                             " threads (" + error.code().message() + "); use workers=" + started + " or fewer");
  }
  finish(true);
}

}  // namespace fastrnn::word2vec
