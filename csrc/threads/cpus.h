// The CPUs this process may use, and on which of them a thread runs.
#pragma once
#include <string>

namespace tg {

// CPUs granted by the quotas of this process's cgroups (v1 and v2) and their parents, rounded up; `none` without a
// quota. `root` is put before /proc and /sys, for tests.
int cgroup_cpus(int none, const std::string& root = "");
int available_cpus();  // affinity mask and cgroup quota, at least 1

int current_cpu();     // -1 if unknown
int current_thread();  // as the kernel numbers it

// Takes a thread (0: the calling one) off a CPU and forbids it to come back until the object is gone.
class KeepOff {
 public:
  KeepOff(int thread, int cpu);
  ~KeepOff();
  KeepOff(const KeepOff&) = delete;
  KeepOff& operator=(const KeepOff&) = delete;

 private:
  int thread_;
  bool moved_ = false;
  unsigned long mask_[16];  // of 1024 CPUs; on larger machines nothing is done
};

}  // namespace tg
