// Batches: an epoch over tensors in memory, many replays of one program in one call.
#pragma once
#include <span>
#include <vector>

#include "program/program.h"

namespace tg {

// Reads rows of `data` (contiguous tensors with as many rows) batch by batch into a program's arguments.
class Batches {
 public:
  Batches(std::vector<Tensor> data, int64_t size);

  // Runs `program` over the batches of rows [begin, end) of `order` (int64; empty: of the data as they lie), a multiple
  // of the size, until `seconds` are spent or the program would not fit again, at least once. False where the program
  // does not fit and nothing was run. An exception of a run ends the call; done() tells how many went well.
  bool run(Program& program, const Tensor& order, int64_t begin, int64_t end, double seconds);
  int64_t done() const { return done_; }
  // What the last call's batches returned: for each of the program's outputs a tensor of done() or more rows.
  const std::vector<Tensor>& results() const { return results_; }
  const std::vector<Tensor>& arguments() const { return batch_; }  // what a program for these batches takes

 private:
  void make_results(const Program& program, int64_t rows);
  void load(const int64_t* order, int64_t begin, bool copies);
  void save(const Program& program);

  std::vector<Tensor> data_, batch_, given_, results_;
  std::vector<size_t> row_bytes_;
  int64_t size_, done_ = 0;
};

}  // namespace tg
