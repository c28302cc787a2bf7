#include "thread_count.h"

#include <limits.h>
#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <fstream>
#include <sstream>
#include <string>

#include "waiting.h"

namespace fastrnn {

namespace {

// One delay may be an accident and is ignored. If the next one comes soon, another program is there to stay, and
// calls have half the threads until they have run for twice what it cost, then 4 times, up to 16: so trying again costs
// 1/16 on the mean, however rarely a layer is called.
constexpr int least_caution = 2, most_caution = 16;

// Soon: before calls with all threads have run for this many times what a delay costs. If delays take less than a
// fourth of the time, all threads are still faster than half of them.
constexpr int trial = 4;

// What a delay costs beyond waiting, until the system has moved the threads to cores of their own: GRU T100 B1 H256
// beside one busy process waited for 1.1 ms on the mean in calls that took 10.8 instead of 0.6.
constexpr int64_t moving = 8000 * ticks_per_microsecond;

std::atomic<int> assumed_cores{0};

// Without a lock: two calls at once may overwrite each other's, and either is right.
std::atomic<int> limit{INT_MAX};        // of threads
std::atomic<int64_t> limited_ticks{0};  // for which calls will still have it
std::atomic<int64_t> trial_ticks{0};    // of calls with all threads, in which another delay comes soon
std::atomic<int> caution{0};

// The cores that the calling thread may run on. Asking the system takes half a microsecond, a tenth of one step of a
// small layer, so an answer holds for 10 ms.
int allowed_cores() {
  static thread_local int answer = 0;
  static thread_local int64_t asked = 0;
  const int64_t now = ticks();
  if (answer == 0 || now - asked > 10'000 * ticks_per_microsecond) answer = omp_get_num_procs(), asked = now;
  return answer;
}

int cores() {
  if (const int assumed = assumed_cores.load(std::memory_order_relaxed)) return assumed;
  static const int quota = quota_cores("");
  return std::min(allowed_cores(), quota);
}

// The quota of one group in cores: "max 100000" or "150000 100000" (version 2), or two files (version 1).
double quota_of(const std::string& group, bool unified) {
  double quota = 0, period = 0;
  if (unified) {
    std::ifstream(group + "/cpu.max") >> quota >> period;  // "max" is no number, and leaves zeros
  } else {
    std::ifstream(group + "/cpu.cfs_quota_us") >> quota;  // -1 for none
    std::ifstream(group + "/cpu.cfs_period_us") >> period;
  }
  return quota > 0 && period > 0 ? quota / period : INFINITY;
}

// Of a group, and of all above it.
double quota_along(const std::string& mount, std::string path, bool unified) {
  double least = quota_of(mount, unified);
  for (; path.size() > 1; path.resize(path.rfind('/'))) least = std::min(least, quota_of(mount + path, unified));
  return least;
}

bool names_cpu(const std::string& controllers) {
  std::istringstream names(controllers);
  for (std::string name; std::getline(names, name, ',');)
    if (name == "cpu") return true;
  return false;
}

}  // namespace

int quota_cores(const char* root_of_paths) {
  const std::string root = root_of_paths;
  double least = INFINITY;
  std::ifstream groups(root + "/proc/self/cgroup");
  // A line is number:controllers:path; version 2 names no controllers.
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1), path = line.substr(second + 1);
    const std::string mounts = root + "/sys/fs/cgroup";
    if (controllers.empty()) {
      least = std::min(least, quota_along(mounts, path, true));
    } else if (names_cpu(controllers)) {
      least = std::min(least, quota_along(mounts + "/cpu", path, false));
      least = std::min(least, quota_along(mounts + "/" + controllers, path, false));
    }
  }
  return std::isinf(least) ? INT_MAX : std::max(1, int(std::ceil(least)));
}

CallThreads::CallThreads(int wanted) : count(wanted <= 1 ? 1 : std::min(wanted, cores())) {
  if (count == 1 || trial_ticks.load(std::memory_order_relaxed) <= 0) return;
  start = ticks();
  if (limited_ticks.load(std::memory_order_relaxed) > 0)
    count = std::min(count, limit.load(std::memory_order_relaxed)), limited = true;
}

CallThreads::~CallThreads() {
  if (start) (limited ? limited_ticks : trial_ticks) -= ticks() - start;
}

void report_delay(int threads, int64_t delay, bool late, int64_t call) {
  if (!late && delay <= call / 4) return;  // half the threads would lose more
  const int64_t cost = std::min(call, delay + moving);
  if (trial_ticks > 0) {
    caution = std::clamp(2 * caution, least_caution, most_caution);
    limit = std::max(1, threads / 2);
    limited_ticks = caution * cost;
  } else {
    caution = 0;
  }
  trial_ticks = trial * cost;
}

void assume_cores(int cores) {
  assumed_cores = cores;
  trial_ticks = 0;
}

}  // namespace fastrnn
