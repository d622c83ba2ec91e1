// What this machine can do at most, measured: the floor under the time of an op.
#pragma once
#include <vector>

namespace tg {

struct Bandwidth {
  double bytes;  // the working set
  double rate;   // bytes / s
};

struct Peak {
  double float32, float64;            // flops / s of the product's inner kernel, its operands in the caches
  std::vector<Bandwidth> bandwidths;  // of a += b in float32, by growing working set
};

// With the kernels in force and the current number of threads. Takes some 40 ms.
Peak measure_peak();

}  // namespace tg
