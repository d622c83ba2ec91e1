// Random numbers: PyTorch's CPU stream (MT19937).
#pragma once
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

namespace tg {

constexpr uint64_t kDefaultSeed = 67280421310721;  // PyTorch's

// MT19937 (Matsumoto and Nishimura 1998) with the draws, the seeding and the cached normal of PyTorch's CPU generator.
// The functions below lock `mutex`; whoever calls the members directly locks it where threads may meet.
class Generator {
 public:
  static constexpr int kWords = 624;

  explicit Generator(uint64_t seed = kDefaultSeed) { manual_seed(seed); }
  Generator(const Generator&) = delete;
  Generator& operator=(const Generator&) = delete;

  void manual_seed(uint64_t seed);  // the stream depends on the low 32 bits; drops the cached normal
  uint64_t initial_seed() const { return seed_; }

  uint32_t random();
  uint64_t random64();                      // first draw << 32 | second draw
  void random_words(uint32_t* out, int n);  // the next n draws
  double normal();                          // Box-Muller in double; every second call takes the cached sine
  void uniform(float* out, int64_t n, float lo = 0, float hi = 1);  // [lo, hi)
  void uniform(double* out, int64_t n, double lo = 0, double hi = 1);

  // Seed, words, position and cached normal in little-endian bytes. set_state: std::invalid_argument if `size` or the
  // content is not that of a state; the generator is then unchanged.
  std::vector<uint8_t> get_state() const;
  void set_state(const uint8_t* bytes, size_t size);

  mutable std::mutex mutex;

 private:
  void refill();

  uint32_t words_[kWords];
  int position_;  // of the next word; kWords: all used
  uint64_t seed_;
  bool has_normal_;
  double next_normal_;
};

Generator& default_generator();
void manual_seed(uint64_t seed);  // of the default generator

// Fill n contiguous elements as PyTorch does. Each throws std::invalid_argument for a bad range or parameter.
void uniform(Generator& g, float* out, int64_t n, double lo, double hi);  // [lo, hi), lo <= hi
void uniform(Generator& g, double* out, int64_t n, double lo, double hi);
// In blocks of 16 from 16 elements on; PyTorch does so for contiguous tensors only, others it draws one by one.
void normal(Generator& g, float* out, int64_t n, double mean, double std, bool contiguous = true);
void normal(Generator& g, double* out, int64_t n, double mean, double std, bool contiguous = true);
void randint(Generator& g, int64_t* out, int64_t n, int64_t lo, int64_t hi);  // [lo, hi), lo < hi
void randperm(Generator& g, int64_t* out, int64_t n);                         // a permutation of 0 .. n - 1

uint64_t draw_key(Generator& g);  // for counter-based draws

}  // namespace tg
