// The profiler's record: which op ran when, for how long, what it computed and moved; and ranges around ops.
#pragma once
#include <atomic>
#include <chrono>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "tape/op.h"

namespace tg {

struct ProfileEvent {
  const char* name = "";
  bool range = false;               // a stretch of the program, not an op
  bool backward = false;            // in the reverse sweep, which itself is a range
  DType dtype = DType::Float32;     // of output 0
  int thread = 0;                   // as the kernel numbers it
  int64_t start = 0, duration = 0;  // ns since the profile began
  double flops = 0, bytes = 0;
  Dims shape;  // of output 0
};

struct Profile {
  std::vector<std::vector<ProfileEvent>> chunks;  // each thread's events in the order of their ends
  std::deque<std::string> names;                  // of the ranges
};

extern std::atomic<bool> profile_on;
inline bool profiling() { return profile_on.load(std::memory_order_relaxed); }

inline int64_t profile_clock() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

void start_profile();  // std::runtime_error while there is one
Profile stop_profile();

// Add what began at `start` and ends now. What began before the profile is left out. Any thread, with or without the
// GIL.
void profile_op(const Op& op, int64_t start, double flops, double bytes, const Tensor& out) noexcept;
void profile_range(std::string_view name, int64_t start) noexcept;

// Whether this thread is in the reverse sweep.
extern constinit thread_local bool sweep_mode TG_STATIC_TLS;

class SweepMode {  // scoped
 public:
  explicit SweepMode(bool on) : outer_(sweep_mode) { sweep_mode = on; }
  ~SweepMode() { sweep_mode = outer_; }
  SweepMode(const SweepMode&) = delete;

 private:
  bool outer_;
};

class ProfileRange {  // its own life
 public:
  explicit ProfileRange(const char* name) : name_(name), start_(profiling() ? profile_clock() : 0) {}
  ~ProfileRange() {
    if (profiling()) profile_range(name_, start_);
  }
  ProfileRange(const ProfileRange&) = delete;

 private:
  const char* name_;
  int64_t start_;
};

}  // namespace tg
