// How gather and scatter run through a tensor.
#pragma once
#include <array>
#include <atomic>
#include <utility>

#include "ops/index.h"

namespace tg {

// How an index, a contiguous int64 tensor, runs through the elements x[..., index[..., i, ...], ...] of a tensor x.
class Walk {
 public:
  Walk(const char* op, const Tensor& index, int dim, const Dims& shape, const Dims& strides)
      : op_(op), index_(index.data<int64_t>()), sizes_(index.shape()), strides_(strides) {
    if (sizes_.empty()) sizes_ = strides_ = {1};
    size_ = shape.empty() ? 1 : shape[dim];
    step_ = std::exchange(strides_[dim], 0);
    last_ = sizes_.size() - 1;
    along_ = strides_[last_];
    in_rows_ = dim == last_;
    length_ = sizes_[last_];
    rows_ = length_ ? index.numel() / length_ : 0;
  }
  int64_t rows() const { return rows_; }
  int64_t length() const { return length_; }
  bool in_rows() const { return in_rows_; }  // whether every row of the index has a row of x of its own

  // body(position in the index, position in x) for columns [from, to) of rows [begin, end). What is out of range counts
  // as 0 and is remembered.
  template <class F>
  void run(int64_t begin, int64_t end, int64_t from, int64_t to, F&& body) {
    std::array<int64_t, Dims::kMaxRank> at;
    int64_t base = 0;
    for (int64_t d = last_ - 1, rest = begin; d >= 0; --d) {
      const auto i = static_cast<int>(d);
      at[static_cast<size_t>(d)] = rest % sizes_[i];
      rest /= sizes_[i];
      base += at[static_cast<size_t>(d)] * strides_[i];
    }
    const int64_t size = size_, step = step_, along = along_,
                  length = length_;  // the body's stores may not alias these
    bool bad = false;
    for (int64_t r = begin; r < end; ++r) {
      const int64_t* const index = index_ + r * length;
      for (int64_t j = from; j < to; ++j) {
        const bool outside = static_cast<uint64_t>(index[j]) >= static_cast<uint64_t>(size);
        bad |= outside;
        body(r * length + j, base + j * along + (outside ? 0 : index[j]) * step);
      }
      for (int d = last_ - 1; d >= 0; --d) {
        base += strides_[d];
        if (++at[static_cast<size_t>(d)] < sizes_[d]) break;
        base -= sizes_[d] * strides_[d];
        at[static_cast<size_t>(d)] = 0;
      }
    }
    if (bad) bad_.store(true, std::memory_order_relaxed);
  }

  // Throws for the first index that was out of range.
  void check() const {
    if (!bad_.load(std::memory_order_relaxed)) return;
    for (int64_t i = 0; i < rows_ * length_; ++i) {
      if (index_[i] < 0) fail_negative(op_, index_[i]);
      checked_index(op_, index_[i], size_);
    }
  }

 private:
  const char* op_;
  const int64_t* index_;
  Dims sizes_, strides_;
  int64_t size_, step_, along_, rows_, length_;
  int last_;
  bool in_rows_;
  std::atomic<bool> bad_{false};
};

// An index tensor fit for gather and scatter: as many dimensions as x, in all but `dim` not larger.
void check_walk(const char* op, const Tensor& x, int dim, const Tensor& index);

// gather's gradient: zeros of `shape`, g added where the index points.
Tensor gather_backward(const Tensor& g, int64_t dim, const Tensor& index, const Dims& shape);

}  // namespace tg
