// Capture: turns what execute() runs in this thread into a Program.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>

#include "program/program.h"
#include "tape/recorder.h"

namespace tg {

struct SourceLine {
  std::string file;
  int line = 0;
};

class Capture final : public Recorder {
 public:
  // `arguments`: the tensors that later runs replace. `where` tells the line of the user's program that is running.
  // `lenient`: a run that cannot be captured goes on, and finish() says why there is no program.
  Capture(std::span<const Tensor> arguments, std::function<SourceLine()> where, bool lenient);
  ~Capture() override { stop(); }
  void stop();  // the run has ended, well or not

  // Null where the run changed what it found (say, made an optimizer's state) so that another run would
  // do something else: `problem` tells.
  // held: tells which results the program holds on to beyond what it returns. collect: frees cycles.
  std::shared_ptr<Program> finish(std::span<const Tensor> outputs, bool keep_grads,
                                  const std::function<std::vector<Tensor>()>& held, void (*collect)(),
                                  std::string* problem);
  bool failed() const { return failed_.has_value(); }  // for good, whatever another run finds

  void record(const Call& call, std::span<const Tensor> out) override;
  void read_grad(TensorImpl& leaf) override;
  void write_grad(TensorImpl& leaf) override;
  void visit(const Node& node) override;
  void refuse(const std::string& what) override;
  void refuse_reading(const Tensor& t, const char* by) override;
  void born(Storage& s) override;
  void died(const Storage& s) override;

 private:
  int value_of(const Tensor& t, bool made);
  int slot_of(const Tensor& t, bool made = false);
  int made_here(const Tensor& t, bool made);
  void mark_written(const Tensor& t, bool overwritten);
  LeafGradient& gradient_of(TensorImpl& leaf);
  void add_line(Instruction& i);
  void finish_gradients(bool keep_grads);
  void finish_outputs(std::span<const Tensor> outputs);
  void finish_backward(std::span<const Tensor> outputs);
  void keep_saved(Node& node);
  void add_shared(std::span<const Tensor> outputs, std::unordered_map<uint32_t, bool>& alive) const;
  std::string escaped(std::span<const Tensor> outputs, std::span<const Tensor> held) const;

  std::shared_ptr<Program> program_ = std::make_shared<Program>();
  std::vector<Tensor> arguments_;
  std::function<SourceLine()> where_;
  bool lenient_;
  bool active_ = false;
  std::optional<std::string> failed_;
  uint32_t first_mark_;
  uint64_t first_sequence_ = last_sequence();           // nodes up to this one are older than the run
  std::unordered_map<const Storage*, int> old_values_;  // memory that was there before
  std::unordered_map<uint32_t, int> new_values_;        // by mark
  std::unordered_map<uint32_t, bool> alive_;            // storages made during the run
  std::unordered_map<uint64_t, std::vector<int>> slot_index_;
  std::unordered_map<TensorImpl*, size_t> gradient_index_;
  std::unordered_map<std::string, int> file_index_;
};

}  // namespace tg
