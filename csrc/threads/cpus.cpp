// Affinity masks and cgroup quotas.
#include "threads/cpus.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <thread>
#include <vector>
#ifdef __linux__
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace tg {
namespace {

int affinity_cpus() {
#ifdef __linux__
  for (size_t cpus = 1024; cpus <= (1 << 20); cpus *= 2) {  // EINVAL: the kernel's mask is longer than ours
    std::vector<cpu_set_t> mask(cpus / (8 * sizeof(cpu_set_t)));
    const size_t size = mask.size() * sizeof(cpu_set_t);
    if (sched_getaffinity(0, size, mask.data()) == 0) return CPU_COUNT_S(size, mask.data());
    if (errno != EINVAL) break;
  }
#endif
  return static_cast<int>(std::thread::hardware_concurrency());
}

// CPUs granted by the quota in `dir`, rounded up, or `none` if there is no quota.
int quota_in(const std::string& dir, bool v2, int none) {
  std::string quota;
  double period = 0;
  if (v2) {
    std::ifstream(dir + "/cpu.max") >> quota >> period;  // "max 100000" or "150000 100000"
  } else {
    std::ifstream(dir + "/cpu.cfs_quota_us") >> quota;  // -1: none
    std::ifstream(dir + "/cpu.cfs_period_us") >> period;
  }
  const double q = std::strtod(quota.c_str(), nullptr);  // 0 for "max"
  if (!(q > 0) || !(period > 0) || q / period >= none) return none;
  return static_cast<int>((q + period - 1) / period);
}

}  // namespace

// /proc/self/cgroup has lines "id:controllers:path", with no controllers in v2. In a container the path may be the
// host's, which is not to be seen here: then the mounted root is the container's own cgroup.
int cgroup_cpus(int none, const std::string& root) {
  int cpus = none;
  std::ifstream file(root + "/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool v2 = controllers.empty();
    if (!v2 && ("," + controllers + ",").find(",cpu,") == std::string::npos) continue;
    const std::string mount = root + (v2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/" + controllers);
    for (std::string path = line.substr(second + 1);; path.resize(path.rfind('/'))) {
      if (path == "/") path.clear();
      cpus = std::min(cpus, quota_in(mount + path, v2, cpus));
      if (path.find('/') == std::string::npos) break;
    }
  }
  return cpus;
}

int available_cpus() { return std::max(1, cgroup_cpus(affinity_cpus())); }

#ifdef __linux__

int current_cpu() { return sched_getcpu(); }
int current_thread() { return static_cast<int>(syscall(SYS_gettid)); }

KeepOff::KeepOff(int thread, int cpu) : thread_(thread) {
  static_assert(sizeof(mask_) == sizeof(cpu_set_t));
  auto* const mask = reinterpret_cast<cpu_set_t*>(mask_);
  if (cpu < 0 || sched_getaffinity(thread, sizeof(mask_), mask) != 0) return;
  cpu_set_t others = *mask;
  CPU_CLR(static_cast<unsigned>(cpu), &others);
  moved_ = sched_setaffinity(thread, sizeof(others), &others) == 0;  // fails where no CPU is left
}
KeepOff::~KeepOff() {
  if (moved_) sched_setaffinity(thread_, sizeof(mask_), reinterpret_cast<cpu_set_t*>(mask_));
}

#else

int current_cpu() { return -1; }
int current_thread() { return 0; }
KeepOff::KeepOff(int thread, int) : thread_(thread) {}
KeepOff::~KeepOff() = default;

#endif

}  // namespace tg
