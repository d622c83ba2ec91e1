// Shapes and strides: a small vector of dimensions, broadcasting, contiguity. Pure functions.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <span>
#include <stdexcept>
#include <string>

namespace tg {

// Up to kInline dimensions live inside the object, so that common shapes never allocate.
class Dims {
 public:
  static constexpr int kInline = 6, kMaxRank = 64;
  Dims() = default;
  Dims(std::initializer_list<int64_t> v) : Dims(v.begin(), static_cast<int>(v.size())) {}
  explicit Dims(std::span<const int64_t> v) : Dims(v.data(), static_cast<int>(v.size())) {}
  Dims(const int64_t* v, int n) {
    resize(n);
    if (n) std::memcpy(data(), v, sizeof(int64_t) * static_cast<size_t>(n));
  }
  static Dims filled(int n, int64_t value) {
    Dims d;
    d.resize(n);
    std::fill(d.begin(), d.end(), value);
    return d;
  }
  Dims(const Dims& o) { copy(o); }
  Dims(Dims&& o) noexcept { take(o); }
  Dims& operator=(const Dims& o) {
    if (this != &o) clear(), copy(o);
    return *this;
  }
  Dims& operator=(Dims&& o) noexcept {
    if (this != &o) clear(), take(o);
    return *this;
  }
  ~Dims() { clear(); }

  int size() const { return size_; }
  bool empty() const { return size_ == 0; }
  int64_t* data() { return capacity_ > kInline ? heap_ : inline_; }
  const int64_t* data() const { return capacity_ > kInline ? heap_ : inline_; }
  int64_t* begin() { return data(); }
  int64_t* end() { return data() + size_; }
  const int64_t* begin() const { return data(); }
  const int64_t* end() const { return data() + size_; }
  int64_t& operator[](int i) { return data()[i]; }
  int64_t operator[](int i) const { return data()[i]; }
  int64_t back() const { return data()[size_ - 1]; }
  operator std::span<const int64_t>() const { return {data(), static_cast<size_t>(size_)}; }
  bool operator==(const Dims& o) const {
    if (size_ != o.size_) return false;
    const int64_t *a = data(), *b = o.data();
    for (int i = 0; i < size_; ++i) {  // shorter than a call of memcmp
      if (a[i] != b[i]) return false;
    }
    return true;
  }

  void resize(int n) {  // new elements are not initialised
    if (n > kMaxRank) {
      throw std::invalid_argument("a tensor has at most " + std::to_string(kMaxRank) + " dimensions, got " +
                                  std::to_string(n));
    }
    if (n > capacity_) {
      auto* grown = new int64_t[kMaxRank];
      std::memcpy(grown, inline_, sizeof(int64_t) * static_cast<size_t>(size_));
      heap_ = grown;
      capacity_ = kMaxRank;
    }
    size_ = n;
  }
  void push_back(int64_t v) {
    resize(size_ + 1);
    data()[size_ - 1] = v;
  }
  void insert(int at, int64_t v) {
    resize(size_ + 1);
    std::memmove(data() + at + 1, data() + at, sizeof(int64_t) * static_cast<size_t>(size_ - 1 - at));
    data()[at] = v;
  }
  void erase(int at) {
    std::memmove(data() + at, data() + at + 1, sizeof(int64_t) * static_cast<size_t>(size_ - 1 - at));
    --size_;
  }

 private:
  void clear() noexcept {
    if (capacity_ > kInline) [[unlikely]]
      delete[] heap_;
    size_ = 0, capacity_ = kInline;
  }
  void take(Dims& o) noexcept {  // all bytes: a fixed number of moves
    std::memcpy(static_cast<void*>(this), static_cast<void*>(&o), sizeof(Dims));
    o.size_ = 0, o.capacity_ = kInline;
  }
  void copy(const Dims& o) {  // into a cleared one
    if (o.capacity_ == kInline) {
      std::memcpy(static_cast<void*>(this), static_cast<const void*>(&o), sizeof(Dims));
    } else {
      heap_ = new int64_t[kMaxRank];
      size_ = o.size_, capacity_ = kMaxRank;
      std::memcpy(heap_, o.heap_, sizeof(int64_t) * static_cast<size_t>(size_));
    }
  }
  int32_t size_ = 0, capacity_ = kInline;
  union {
    int64_t inline_[kInline];
    int64_t* heap_;
  };
};

std::string to_string(const Dims& d);      // "(2, 3)"
int64_t checked_numel(const Dims& shape);  // ValueError on a negative size or a product over 2^63
Dims contiguous_strides(const Dims& shape);
bool is_contiguous(const Dims& shape, const Dims& strides);
Dims broadcast_shapes(const char* op, const Dims& a, const Dims& b);
// Strides that read a tensor of (shape, strides) as if it had shape `to`; the caller has checked that it broadcasts.
Dims broadcast_strides(const Dims& shape, const Dims& strides, const Dims& to);
bool broadcasts_to(const Dims& shape, const Dims& to);
// dim in [-rank, rank) as [0, rank); a 0-d tensor takes 0 and -1. IndexError otherwise.
int normalize_dim(const char* op, int64_t dim, int rank);
// Strides for viewing (shape, strides) as `to` without copying; false where that cannot be.
bool view_strides(const Dims& shape, const Dims& strides, const Dims& to, Dims* out);

}  // namespace tg
