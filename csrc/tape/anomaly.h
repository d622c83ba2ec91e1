// Anomaly mode: the first nan of a program, by the line whose op made it.
#pragma once
#include <string>

#include "tape/op.h"

namespace tg {

extern bool anomaly_mode;              // of the process
extern std::string (*anomaly_line)();  // "file:line" of the user's program; set once by the bindings
inline std::string user_line() { return anomaly_line ? anomaly_line() : std::string(); }

bool has_nan(const Tensor& t);  // false for integers

// Around one run of an op outside of the reverse sweep: throws where it makes a nan out of none.
class NanCheck {
 public:
  explicit NanCheck(const Call& call) : on_(anomaly_mode && begin(call)) {}
  void end(const Call& call, const Tensor& out) const {
    if (on_) [[unlikely]]
      check(call, out);
  }

 private:
  static bool begin(const Call& call);
  static void check(const Call& call, const Tensor& out);
  bool on_;
};

struct Node;
// The same for the gradients that a node's vjp made of `incoming`.
void check_gradients(Node& node, bool incoming_has_nan, std::span<const Tensor> gradients);

}  // namespace tg
