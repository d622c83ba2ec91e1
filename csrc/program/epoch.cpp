// An epoch without Python: gather a batch, replay, keep what it returned.
#include "program/epoch.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <stdexcept>

#include "ops/cost.h"
#include "ops/execute.h"
#include "threads/parallel.h"

namespace tg {
namespace {

constexpr int64_t kMostResults = 1 << 16;  // batches of one call

}  // namespace

Batches::Batches(std::vector<Tensor> data, int64_t size) : data_(std::move(data)), size_(size) {
  if (data_.empty() || size < 1) throw std::invalid_argument("batches: expected tensors and a size of at least 1");
  for (const Tensor& t : data_) {
    if (t.rank() == 0 || !t.contiguous() || t.size(0) != data_[0].size(0)) {
      throw std::invalid_argument("batches: expected contiguous tensors with as many rows as each other, got " +
                                  describe(t));
    }
    Dims shape = t.shape();
    shape[0] = size;
    batch_.push_back(Tensor::empty(shape, t.dtype()));
    given_.push_back(batch_.back().detach());
    row_bytes_.push_back(static_cast<size_t>(batch_.back().numel() / size) * itemsize(t.dtype()));
  }
}

void Batches::make_results(const Program& program, int64_t rows) {
  results_.clear();
  for (const Output& o : program.outputs) {
    const Tensor& t = program.slots[static_cast<size_t>(o.slot)].tensor;
    Dims shape = {rows};
    for (int64_t n : t.shape()) shape.push_back(n);
    results_.push_back(Tensor::empty(shape, t.dtype()));
  }
}

// The next batch: rows gathered, or where they lie.
void Batches::load(const int64_t* order, int64_t begin, bool copies) {
  if (!order && !copies) {
    for (size_t i = 0; i < data_.size(); ++i) {
      given_[i]->data = data_[i].data<char>() + static_cast<size_t>(begin) * row_bytes_[i];
    }
    return;
  }
  size_t bytes = 0;
  for (size_t i = 0; i < data_.size(); ++i) {
    given_[i]->data = batch_[i].data<char>();
    bytes += row_bytes_[i];
  }
  parallel_split(size_, 2 * static_cast<double>(bytes) * kByteNs, 1, [&](int64_t from, int64_t to) {
    for (int64_t r = from; r < to; ++r) {
      const auto row = static_cast<size_t>(order ? order[begin + r] : begin + r);
      for (size_t i = 0; i < data_.size(); ++i) {
        std::memcpy(batch_[i].data<char>() + static_cast<size_t>(r) * row_bytes_[i],
                    data_[i].data<char>() + row * row_bytes_[i], row_bytes_[i]);
      }
    }
  });
}

void Batches::save(const Program& program) {
  for (size_t i = 0; i < results_.size(); ++i) {
    const Tensor& t = program.slots[static_cast<size_t>(program.outputs[i].slot)].tensor;
    const size_t bytes = static_cast<size_t>(t.numel()) * itemsize(t.dtype());
    std::memcpy(results_[i].data<char>() + static_cast<size_t>(done_) * bytes, t.data(), bytes);
  }
}

bool Batches::run(Program& program, const Tensor& order, int64_t begin, int64_t end, double seconds) {
  using Clock = std::chrono::steady_clock;
  done_ = 0;
  const int64_t rows = order ? order.numel() : data_[0].size(0);
  if (begin < 0 || begin >= end || end > rows || (end - begin) % size_) throw std::invalid_argument("batches: no rows");
  for (const Output& o : program.outputs) {
    if (o.kind != Output::Kind::Made || !program.slots[static_cast<size_t>(o.slot)].tensor.contiguous()) return false;
  }
  if (!program.parts.empty() || !program.fits(batch_)) return false;
  const int64_t* const index = order ? order.data<int64_t>() : nullptr;
  const int64_t limit = data_[0].size(0);
  if (index && std::any_of(index + begin, index + end, [&](int64_t i) { return i < 0 || i >= limit; })) {
    throw std::out_of_range("batches: a row is out of range");
  }
  const bool copies = std::any_of(program.values.begin(), program.values.end(),
                                  [](const Value& v) { return v.kind == Value::Kind::Argument && v.written; });
  const auto stop = Clock::now() + std::chrono::duration<double>(seconds);
  const int64_t most = program.repeats() ? std::min((end - begin) / size_, kMostResults) : 1;
  const std::unique_lock held = program.lock();
  make_results(program, most);
  program.begin();
  try {
    GilRelease released(true);
    do {
      load(index, begin + done_ * size_, copies);
      program.run(given_, &released);
      save(program);
    } while (++done_ < most && Clock::now() < stop);
  } catch (...) {
    program.end(given_, false);
    program.made_.clear();
    throw;
  }
  program.end(given_, true);
  program.made_.clear();
  return true;
}

}  // namespace tg
