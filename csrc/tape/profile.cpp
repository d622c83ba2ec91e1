// One list of events for all threads: an op that is recorded costs a lock that hardly ever waits.
#include "tape/profile.h"

#include <mutex>
#include <new>
#include <stdexcept>
#include <utility>

#include "threads/cpus.h"

namespace tg {

std::atomic<bool> profile_on{false};
constinit thread_local bool sweep_mode TG_STATIC_TLS = false;

namespace {

std::mutex mutex;
Profile profile;
int64_t origin = 0;

constexpr size_t kChunk = 1024;  // events; a chunk that is full stays where it is

// A new event, of what began at `start` and has just ended; null where there is no profile that it belongs to. The
// clock was read before, so that no wait for the lock counts.
ProfileEvent* add(int64_t start, int64_t duration) {
  static constinit thread_local int thread TG_STATIC_TLS = 0;
  if (!profiling() || start < origin) return nullptr;
  if (!thread) thread = current_thread();
  if (profile.chunks.empty() || profile.chunks.back().size() == kChunk) profile.chunks.emplace_back().reserve(kChunk);
  ProfileEvent& e = profile.chunks.back().emplace_back();
  e.backward = sweep_mode;
  e.thread = thread;
  e.start = start - origin;
  e.duration = duration;
  return &e;
}

}  // namespace

void start_profile() {
  const std::lock_guard lock(mutex);
  if (profiling()) throw std::runtime_error("profile: there is a profile already, and it cannot be nested");
  origin = profile_clock();
  profile_on = true;
}

Profile stop_profile() {
  const std::lock_guard lock(mutex);
  profile_on = false;
  return std::exchange(profile, {});
}

void profile_op(const Op& op, int64_t start, double flops, double bytes, const Tensor& out) noexcept {
  const int64_t duration = profile_clock() - start;
  const std::lock_guard lock(mutex);
  try {
    if (ProfileEvent* const e = add(start, duration)) {
      e->name = op.name;
      e->dtype = out.dtype();
      e->flops = flops;
      e->bytes = bytes;
      e->shape = out.shape();
    }
  } catch (const std::bad_alloc&) {  // the program comes first
  }
}

void profile_range(std::string_view name, int64_t start) noexcept {
  const int64_t duration = profile_clock() - start;
  const std::lock_guard lock(mutex);
  try {
    if (ProfileEvent* const e = add(start, duration)) {
      e->range = true;
      e->name = profile.names.emplace_back(name).c_str();
    }
  } catch (const std::bad_alloc&) {}
}

}  // namespace tg
