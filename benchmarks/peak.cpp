// What the machine can do: fused multiply-adds in float32, and the streams of a = b + c. Prints JSON.
//   peak N SIZES: with 1 and with N threads; with N also streams that have SIZES bytes altogether
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#if defined(__AVX512F__)
constexpr int kBytes = 64, kChains = 24;
#elif defined(__AVX__)
constexpr int kBytes = 32, kChains = 12;
#else
constexpr int kBytes = 16, kChains = 12;
#endif
typedef float Vector __attribute__((vector_size(kBytes)));
constexpr int kLanes = kBytes / sizeof(float);

volatile float sink;

// Independent chains, more than the latency times the units, and as many as there are registers for.
__attribute__((noinline)) void multiply_add(long count) {
  Vector a[kChains], b = Vector{} + 0.999f, c = Vector{} + 1e-3f;
  for (auto& x : a) x = Vector{} + 1.0f;
  for (long i = 0; i < count; i++) {
#pragma GCC unroll 24
    for (int j = 0; j < kChains; j++) a[j] = a[j] * b + c;
  }
  Vector sum{};
  for (auto x : a) sum += x;
  sink = sum[0];
}

void add_streams(float* a, const float* b, const float* c, long begin, long end) {
  for (long i = begin; i < end; i += kLanes) *(Vector*)(a + i) = *(const Vector*)(b + i) + *(const Vector*)(c + i);
}

template <class F>
double seconds(int threads, F&& work) {
  auto begin = std::chrono::steady_clock::now();
  std::vector<std::thread> others;
  for (int t = 1; t < threads; t++) others.emplace_back(work, t);
  work(0);
  for (auto& other : others) other.join();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

template <class F>
double median_rate(int repeats, double amount, F&& once) {
  std::vector<double> rates;
  for (int i = 0; i < repeats; i++) rates.push_back(amount / once());
  std::sort(rates.begin(), rates.end());
  return rates[repeats / 2];
}

double fma_rate(int threads) {
  const long count = 2000000;
  return median_rate(9, 2.0 * kLanes * kChains * count * threads,
                     [&] { return seconds(threads, [](int) { multiply_add(count); }); });
}

double stream_rate(int threads, long elements, int passes, float* a, float* b, float* c) {
  auto part = [&](int t) {
    long begin = elements / threads * t;
    for (int pass = 0; pass < passes; pass++) add_streams(a, b, c, begin, begin + elements / threads);
  };
  return median_rate(7, 3.0 * sizeof(float) * elements * passes, [&] { return seconds(threads, part); });
}

int main(int argc, char** argv) {
  const int most = argc > 1 ? atoi(argv[1]) : 1;
  const long large = 1L << 26, small = 1L << 22;
  float* arrays[3];
  for (auto& p : arrays) {
    p = (float*)aligned_alloc(1 << 21, large * sizeof(float));
    if (!p) return 1;
    std::fill(p, p + large, 1.0f);
  }
  const char* separator = "{";
  for (int threads = 1; threads <= most; threads += std::max(1, most - 1)) {
    auto rate = [&](long n, int passes) { return stream_rate(threads, n, passes, arrays[0], arrays[1], arrays[2]); };
    printf("%s\"fma %d\": %.4g, \"stream 48 MB %d\": %.4g, \"stream 768 MB %d\": %.4g", separator, threads,
           fma_rate(threads), threads, rate(small, 8), threads, rate(large, 1));
    separator = ", ";
  }
  for (int i = 2; i < argc; i++) {
    const long bytes = atol(argv[i]), elements = std::min(bytes / 12 / (kLanes * most) * (kLanes * most), large);
    const int passes = int(std::max(1L, 400000000 / bytes));
    const double rate = stream_rate(most, elements, passes, arrays[0], arrays[1], arrays[2]);
    printf("%s\"stream %ld %d\": %.4g", separator, bytes, most, rate);
  }
  printf("}\n");
}
