// MT19937 and the uniform, integer and permutation draws of PyTorch's CPU generator.
#include "ops/generator.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <numbers>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>

#define TG_INLINE inline __attribute__((always_inline))

namespace tg {
namespace {

TG_INLINE uint32_t temper(uint32_t y) {
  y ^= y >> 11;
  y ^= (y << 7) & 0x9d2c5680u;
  y ^= (y << 15) & 0xefc60000u;
  return y ^ (y >> 18);
}

TG_INLINE uint32_t twist(uint32_t u, uint32_t v) {
  return (((u & 0x80000000u) | (v & 0x7fffffffu)) >> 1) ^ (-(v & 1u) & 0x9908b0dfu);
}

TG_INLINE double uniform53(uint64_t bits) { return static_cast<double>(bits & ((uint64_t{1} << 53) - 1)) * 0x1p-53; }
TG_INLINE uint64_t join(uint32_t high, uint32_t low) { return uint64_t{high} << 32 | low; }

constexpr char kMagic[8] = {'t', 'g', '-', 'm', 't', '-', '0', '1'};
constexpr size_t kStateBytes = sizeof(kMagic) + 8 + 4 * Generator::kWords + 4 + 4 + 8;

template <class T>
void put(std::vector<uint8_t>& bytes, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) bytes.push_back(static_cast<uint8_t>(value >> (8 * i)));
}

template <class T>
T get(const uint8_t*& bytes) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) value |= static_cast<T>(*bytes++) << (8 * i);
  return value;
}

}  // namespace

void Generator::manual_seed(uint64_t seed) {
  seed_ = seed;
  words_[0] = static_cast<uint32_t>(seed);
  for (uint32_t i = 1; i < kWords; ++i) words_[i] = 1812433253u * (words_[i - 1] ^ (words_[i - 1] >> 30)) + i;
  position_ = kWords;
  has_normal_ = false;
  next_normal_ = 0;
}

void Generator::refill() {
  constexpr int kShift = 397, kRest = kWords - kShift;
  for (int i = 0; i < kRest; ++i) words_[i] = words_[i + kShift] ^ twist(words_[i], words_[i + 1]);
  for (int i = kRest; i < kWords - 1; ++i) words_[i] = words_[i - kRest] ^ twist(words_[i], words_[i + 1]);
  words_[kWords - 1] = words_[kShift - 1] ^ twist(words_[kWords - 1], words_[0]);
  position_ = 0;
}

uint32_t Generator::random() {
  if (position_ == kWords) refill();
  return temper(words_[position_++]);
}

uint64_t Generator::random64() {
  const uint32_t high = random();
  return join(high, random());
}

void Generator::random_words(uint32_t* out, int n) {
  while (n > 0) {
    if (position_ == kWords) refill();
    const int count = std::min(n, kWords - position_);
    const uint32_t* const words = words_ + position_;
    for (int i = 0; i < count; ++i) out[i] = temper(words[i]);
    position_ += count;
    out += count;
    n -= count;
  }
}

double Generator::normal() {
  if (has_normal_) {
    has_normal_ = false;
    return next_normal_;
  }
  const double u1 = uniform53(random64());
  const double u2 = uniform53(random64());
  const double r = std::sqrt(-2.0 * std::log1p(-u2));
  const double theta = 2.0 * std::numbers::pi * u1;
  has_normal_ = true;
  next_normal_ = r * std::sin(theta);
  return r * std::cos(theta);
}

std::vector<uint8_t> Generator::get_state() const {
  const std::lock_guard lock(mutex);
  std::vector<uint8_t> bytes(kMagic, kMagic + sizeof(kMagic));
  bytes.reserve(kStateBytes);
  put(bytes, seed_);
  for (const uint32_t word : words_) put(bytes, word);
  put(bytes, static_cast<uint32_t>(position_));
  put(bytes, static_cast<uint32_t>(has_normal_));
  put(bytes, std::bit_cast<uint64_t>(next_normal_));
  return bytes;
}

void Generator::set_state(const uint8_t* bytes, size_t size) {
  if (size != kStateBytes) {
    throw std::invalid_argument("set_state: expected a state of " + std::to_string(kStateBytes) + " bytes, got " +
                                std::to_string(size));
  }
  const bool known = std::memcmp(bytes, kMagic, sizeof(kMagic)) == 0;
  bytes += sizeof(kMagic);
  const uint64_t seed = get<uint64_t>(bytes);
  uint32_t words[kWords], any = 0;
  for (uint32_t& word : words) any |= word = get<uint32_t>(bytes);
  const uint32_t position = get<uint32_t>(bytes), has_normal = get<uint32_t>(bytes);
  const double next_normal = std::bit_cast<double>(get<uint64_t>(bytes));
  if (!known || any == 0 || position > kWords || has_normal > 1 || !std::isfinite(next_normal)) {
    throw std::invalid_argument("set_state: the bytes are not the state of a generator");
  }
  const std::lock_guard lock(mutex);
  std::copy(words, words + kWords, words_);
  position_ = static_cast<int>(position);
  seed_ = seed;
  has_normal_ = has_normal == 1;
  next_normal_ = next_normal;
}

Generator& default_generator() {
  // Unseeded programs differ from run to run, as PyTorch's do. Never destroyed: tensors may outlive static destructors.
  static Generator* const generator = [] {
    std::random_device device;
    return new Generator(uint64_t{device()} << 32 | device());
  }();
  return *generator;
}

void manual_seed(uint64_t seed) {
  const std::lock_guard lock(default_generator().mutex);
  default_generator().manual_seed(seed);
}

uint64_t draw_key(Generator& g) {
  const std::lock_guard lock(g.mutex);
  return g.random64();
}

namespace {

constexpr int kBuffer = 512;  // draws converted at a time

// x * (hi - lo) + lo with the difference in the tensor's type and the rest in double, fused as PyTorch's kernel is. For
// float32 the product is exact, so there it needs no fma.
template <class T>
void uniform_fill(Generator& g, T* out, int64_t n, T lo, T hi) {
  constexpr int kDraws = sizeof(T) / 4;
  const double scale = hi - lo, shift = lo;
  const bool unit = scale == 1 && shift == 0;
  uint32_t draws[kBuffer];
  for (int64_t i = 0; i < n; i += kBuffer / kDraws) {
    const int count = static_cast<int>(std::min<int64_t>(n - i, kBuffer / kDraws));
    g.random_words(draws, count * kDraws);
    if constexpr (kDraws == 1) {
      for (int j = 0; j < count; ++j) {
        const double x = static_cast<double>(static_cast<int32_t>(draws[j] & 0xffffff)) * 0x1p-24;
        out[i + j] = static_cast<T>(x * scale + shift);
      }
    } else {
      for (int j = 0; j < count; ++j) {
        const double x = uniform53(join(draws[2 * j], draws[2 * j + 1]));
        out[i + j] = unit ? x : std::fma(x, scale, shift);
      }
    }
  }
}

}  // namespace

void Generator::uniform(float* out, int64_t n, float lo, float hi) { uniform_fill(*this, out, n, lo, hi); }
void Generator::uniform(double* out, int64_t n, double lo, double hi) { uniform_fill(*this, out, n, lo, hi); }

namespace {

template <class T>
void checked_uniform(Generator& g, T* out, int64_t n, double lo, double hi) {
  const T low = static_cast<T>(lo), high = static_cast<T>(hi);
  if (!(lo <= hi) || !std::isfinite(high - low)) {
    throw std::invalid_argument("uniform: expected finite low <= high, got low=" + std::to_string(lo) +
                                ", high=" + std::to_string(hi));
  }
  const std::lock_guard lock(g.mutex);
  g.uniform(out, n, low, high);
}

}  // namespace

void uniform(Generator& g, float* out, int64_t n, double lo, double hi) { checked_uniform(g, out, n, lo, hi); }
void uniform(Generator& g, double* out, int64_t n, double lo, double hi) { checked_uniform(g, out, n, lo, hi); }

void randint(Generator& g, int64_t* out, int64_t n, int64_t lo, int64_t hi) {
  if (lo >= hi) {
    throw std::invalid_argument("randint: expected low < high, got low=" + std::to_string(lo) +
                                ", high=" + std::to_string(hi));
  }
  const std::lock_guard lock(g.mutex);
  const uint64_t base = static_cast<uint64_t>(lo), range = static_cast<uint64_t>(hi) - base;
  if (range >= uint64_t{1} << 28) {  // a 64-bit draw, to keep the skew of the remainder small
    for (int64_t i = 0; i < n; ++i) out[i] = static_cast<int64_t>(g.random64() % range + base);
    return;
  }
  // Remainder by multiplication (Lemire, Kaser and Kurz 2019), exact for 32-bit operands.
  const uint64_t inverse = UINT64_MAX / range + 1;
  uint32_t draws[kBuffer];
  for (int64_t i = 0; i < n; i += kBuffer) {
    const int count = static_cast<int>(std::min<int64_t>(n - i, kBuffer));
    g.random_words(draws, count);
    for (int j = 0; j < count; ++j) {
      const uint64_t rest = static_cast<uint64_t>(static_cast<unsigned __int128>(inverse * draws[j]) * range >> 64);
      out[i + j] = static_cast<int64_t>(rest + base);
    }
  }
}

void randperm(Generator& g, int64_t* out, int64_t n) {
  const std::lock_guard lock(g.mutex);
  if (n < UINT32_MAX / 20) {
    for (int64_t i = 0; i < n; ++i) out[i] = i;
    for (int64_t i = 0; i < n - 1; ++i) std::swap(out[i], out[i + g.random() % static_cast<uint32_t>(n - i)]);
    return;
  }
  // The inside-out shuffle, with wide draws: a remainder of 32 bits would favour small numbers noticeably.
  for (int64_t i = 0; i < n; ++i) {
    const int64_t z = static_cast<int64_t>(g.random64() % static_cast<uint64_t>(i + 1));
    out[i] = i;
    out[i] = out[z];
    out[z] = i;
  }
}

}  // namespace tg
