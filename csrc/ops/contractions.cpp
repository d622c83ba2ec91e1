// einsum and tensordot: sums of products over any dimensions, through the batched matmul.
#include <array>
#include <stdexcept>

#include "ops/ops.h"

namespace tg {
namespace {

// A product of two tensors: dimension i of `batch` in both, `free` in one of them, `sum` summed over, of equal sizes.
struct Pairing {
  ops::IntList batch[2], free[2], sum[2];
};

// As a stack of matrices: (batch, rows, columns), each the joined dimensions of a list; a matrix where there is no
// batch.
Tensor stacked(const Tensor& t, const ops::IntList& batch, const ops::IntList& rows, const ops::IntList& columns) {
  Dims order, shape;
  for (const ops::IntList* list : {&batch, &rows, &columns}) {
    int64_t joined = 1;
    for (int64_t d : *list) {
      order.push_back(d);
      joined *= t.size(static_cast<int>(d));
    }
    if (list != &batch || !batch.empty()) shape.push_back(joined);
  }
  return ops::reshape(ops::permute(t, order), shape);
}

// The result has the dimensions of the batch, then the free ones of a, then those of b.
Tensor contract(const Tensor& a, const Tensor& b, const Pairing& p) {
  Dims shape;
  for (int64_t d : p.batch[0]) shape.push_back(a.size(static_cast<int>(d)));
  for (int64_t d : p.free[0]) shape.push_back(a.size(static_cast<int>(d)));
  for (int64_t d : p.free[1]) shape.push_back(b.size(static_cast<int>(d)));
  const Tensor x = stacked(a, p.batch[0], p.free[0], p.sum[0]), y = stacked(b, p.batch[1], p.sum[1], p.free[1]);
  return ops::reshape(p.sum[0].empty() ? ops::mul(x, y) : ops::matmul(x, y), shape);
}

// Labels: 0 to 51 for A to Z and a to z, then the dimensions that an ellipsis stands for, aligned at the last one.
constexpr int kLetters = 52, kLabels = kLetters + Dims::kMaxRank;

struct Term {  // labels of a tensor; the ellipsis, if any, stands before the label at `ellipsis`
  std::vector<int> labels;
  int ellipsis = -1;
};

[[noreturn]] void fail(const ops::Einsum& e, const std::string& why) {
  throw std::invalid_argument("einsum: " + why + " in '" + e.equation + "'");
}

std::string label_name(int label) {
  if (label >= kLetters) return "...";
  return {'\'', static_cast<char>(label < 26 ? 'A' + label : 'a' + (label - 26)), '\''};
}

Term parse_term(const ops::Einsum& e, std::string_view text) {
  Term term;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == ' ') continue;
    if (c == '.') {
      if (text.substr(i, 3) != "..." || term.ellipsis >= 0) fail(e, "a '.' that is not part of one ellipsis '...'");
      term.ellipsis = static_cast<int>(term.labels.size());
      i += 2;
    } else if (c >= 'A' && c <= 'Z') {
      term.labels.push_back(c - 'A');
    } else if (c >= 'a' && c <= 'z') {
      term.labels.push_back(c - 'a' + 26);
    } else {
      fail(e, std::string("invalid character '") + c + "'");
    }
  }
  return term;
}

// Puts labels in the place of the ellipsis, for `count` dimensions of the most that any ellipsis stands for.
void expand_ellipsis(Term& term, int count, int most) {
  if (term.ellipsis < 0) return;
  for (int i = 0; i < count; ++i) {
    term.labels.insert(term.labels.begin() + term.ellipsis + i, kLetters + most - count + i);
  }
}

// A tensor on its way: dimension i has label labels[i], no label twice.
struct Labelled {
  Tensor t;
  std::vector<int> labels;

  int64_t dim_of(int label) const {
    const auto at = std::find(labels.begin(), labels.end(), label);
    return at == labels.end() ? -1 : at - labels.begin();
  }
  // Takes diagonals until no label is there twice.
  void take_diagonals(const ops::Einsum& e) {
    for (size_t j = 1; j < labels.size(); ++j) {
      const auto i = static_cast<size_t>(dim_of(labels[j]));
      if (i == j) continue;
      const int64_t a = t.size(static_cast<int>(i)), b = t.size(static_cast<int>(j));
      if (a != b) {
        fail(e, "the repeated label " + label_name(labels[j]) + " has sizes " + std::to_string(a) + " and " +
                    std::to_string(b));
      }
      t = ops::diagonal(t, 0, static_cast<int64_t>(i), static_cast<int64_t>(j));
      labels.push_back(labels[j]);
      labels.erase(labels.begin() + static_cast<int64_t>(j));
      labels.erase(labels.begin() + static_cast<int64_t>(i));
      j = 0;
    }
  }
  // Sums over the dimensions for whose label keep() is false.
  template <class F>
  void sum_unless(F&& keep) {
    Dims dims;
    std::vector<int> left;
    for (size_t i = 0; i < labels.size(); ++i) {
      if (keep(labels[i]))
        left.push_back(labels[i]);
      else
        dims.push_back(static_cast<int64_t>(i));
    }
    if (dims.empty()) return;
    t = ops::sum(t, dims);
    labels = std::move(left);
  }
};

// The terms of the equation: one for each operand, and the result's. `most`: dimensions of the largest ellipsis.
struct Equation {
  std::vector<Term> inputs;
  Term output;
};

Equation parse(const ops::Einsum& e) {
  Equation q;
  const size_t arrow = e.equation.find("->");
  const std::string_view text = e.equation, left = text.substr(0, arrow);
  for (size_t at = 0; at <= left.size();) {
    const size_t end = std::min(left.find(',', at), left.size());
    q.inputs.push_back(parse_term(e, left.substr(at, end - at)));
    at = end + 1;
  }
  if (q.inputs.size() != e.operands.size() || e.operands.empty()) {
    fail(e, std::to_string(e.operands.size()) + " tensors for " + std::to_string(q.inputs.size()) + " terms");
  }
  int most = 0;
  const auto hidden = [&](size_t k) { return e.operands[k].rank() - static_cast<int>(q.inputs[k].labels.size()); };
  for (size_t k = 0; k < q.inputs.size(); ++k) {
    if (hidden(k) < 0 || (hidden(k) > 0 && q.inputs[k].ellipsis < 0)) {
      fail(e, "operand " + std::to_string(k) + ", " + describe(e.operands[k]) + ", does not have the " +
                  std::to_string(q.inputs[k].labels.size()) + " dimensions of its term");
    }
    if (q.inputs[k].ellipsis >= 0) most = std::max(most, hidden(k));
  }
  std::array<int, kLabels> count{};
  for (size_t k = 0; k < q.inputs.size(); ++k) {
    expand_ellipsis(q.inputs[k], hidden(k), most);
    for (int label : q.inputs[k].labels) ++count[static_cast<size_t>(label)];
  }
  if (arrow != std::string::npos) {
    q.output = parse_term(e, text.substr(arrow + 2));
    expand_ellipsis(q.output, most, most);
  } else {  // the ellipsis, then the letters that appear once
    q.output.ellipsis = 0;
    expand_ellipsis(q.output, most, most);
    for (int label = 0; label < kLetters; ++label) {
      if (count[static_cast<size_t>(label)] == 1) q.output.labels.push_back(label);
    }
  }
  for (size_t i = 0; i < q.output.labels.size(); ++i) {
    const int label = q.output.labels[i];
    const auto begin = q.output.labels.begin();
    if (count[static_cast<size_t>(label)] == 0) fail(e, "the result's label " + label_name(label) + " has no operand");
    if (std::find(begin, begin + static_cast<int64_t>(i), label) != begin + static_cast<int64_t>(i)) {
      fail(e, "the result's label " + label_name(label) + " appears twice");
    }
  }
  return q;
}

// The operands, without diagonals to take and without dimensions of size 1 that broadcast.
std::vector<Labelled> prepare(const ops::Einsum& e, const Equation& q) {
  std::array<int64_t, kLabels> size;
  size.fill(1);
  std::vector<Labelled> all;
  for (size_t k = 0; k < e.operands.size(); ++k) {
    Labelled x{e.operands[k], q.inputs[k].labels};
    x.take_diagonals(e);
    for (size_t i = 0; i < x.labels.size(); ++i) {
      int64_t& known = size[static_cast<size_t>(x.labels[i])];
      const int64_t n = x.t.size(static_cast<int>(i));
      if (n != known && n != 1 && known != 1) {
        fail(e,
             "label " + label_name(x.labels[i]) + " has sizes " + std::to_string(known) + " and " + std::to_string(n));
      }
      if (n != 1) known = n;
    }
    all.push_back(std::move(x));
  }
  for (Labelled& x : all) {
    for (size_t i = x.labels.size(); i-- > 0;) {
      if (x.t.size(static_cast<int>(i)) == 1 && size[static_cast<size_t>(x.labels[i])] != 1) {
        x.t = ops::squeeze(x.t, Dims{static_cast<int64_t>(i)});
        x.labels.erase(x.labels.begin() + static_cast<int64_t>(i));
      }
    }
  }
  return all;
}

// The product of two, summed over the labels for which needed() is false.
template <class F>
Labelled multiply(Labelled a, Labelled b, F&& needed) {
  a.sum_unless([&](int label) { return needed(label) || b.dim_of(label) >= 0; });
  b.sum_unless([&](int label) { return needed(label) || a.dim_of(label) >= 0; });
  Pairing p;
  Labelled y;
  for (const bool batch : {true, false}) {
    for (size_t i = 0; i < a.labels.size(); ++i) {
      const int label = a.labels[i];
      const int64_t j = b.dim_of(label);
      if ((j >= 0 && needed(label)) != batch) continue;
      auto& lists = batch ? p.batch : p.sum;
      if (j >= 0) lists[1].push_back(j);
      (j >= 0 ? lists[0] : p.free[0]).push_back(static_cast<int64_t>(i));
      if (batch || j < 0) y.labels.push_back(label);
    }
  }
  for (size_t j = 0; j < b.labels.size(); ++j) {
    if (a.dim_of(b.labels[j]) >= 0) continue;
    p.free[1].push_back(static_cast<int64_t>(j));
    y.labels.push_back(b.labels[j]);
  }
  y.t = contract(a.t, b.t, p);
  return y;
}

}  // namespace

namespace ops {

Tensor einsum(const Einsum& args) {
  const Equation q = parse(args);
  std::vector<Labelled> operands = prepare(args, q);
  const std::vector<int>& out = q.output.labels;
  std::array<int, kLabels> later{};  // how many of the operands to come have the label
  for (const Labelled& x : operands) {
    for (int label : x.labels) ++later[static_cast<size_t>(label)];
  }
  const auto needed = [&](int label) {
    return later[static_cast<size_t>(label)] > 0 || std::find(out.begin(), out.end(), label) != out.end();
  };
  const auto take = [&](size_t k) {
    for (int label : operands[k].labels) --later[static_cast<size_t>(label)];
    return operands[k];
  };
  Labelled y = take(0);
  y.sum_unless(needed);
  for (size_t k = 1; k < operands.size(); ++k) y = multiply(std::move(y), take(k), needed);
  Dims order;
  for (int label : out) order.push_back(y.dim_of(label));
  return permute(y.t, order);
}

Tensor tensordot(const Tensor& a, const Tensor& b, const TensordotDims& dims) {
  const auto fail = [&](const std::string& why) {
    throw std::invalid_argument("tensordot: " + describe(a) + " and " + describe(b) + ": " + why);
  };
  if (a.dtype() != b.dtype()) fail("dtypes differ; convert one with .to(dtype)");
  Pairing p;
  if (const auto* n = std::get_if<int64_t>(&dims)) {
    if (*n < 0 || *n > std::min(a.rank(), b.rank())) fail("there are no " + std::to_string(*n) + " dims to sum over");
    for (int64_t i = 0; i < *n; ++i) {
      p.sum[0].push_back(a.rank() - *n + i);
      p.sum[1].push_back(i);
    }
  } else {
    std::tie(p.sum[0], p.sum[1]) = std::get<std::pair<IntList, IntList>>(dims);
  }
  if (p.sum[0].size() != p.sum[1].size()) fail("the two lists of dims must be of one length");
  for (int k : {0, 1}) {
    const Tensor& x = k ? b : a;
    uint64_t seen = 0;
    for (int64_t& d : p.sum[k]) {
      if (x.rank() == 0) fail("a 0-d tensor has no dims to sum over");
      d = normalize_dim("tensordot", d, x.rank());
      if (seen >> d & 1) fail("dim " + std::to_string(d) + " is given twice");
      seen |= uint64_t{1} << d;
    }
    for (int64_t d = 0; d < x.rank(); ++d) {
      if (!(seen >> d & 1)) p.free[k].push_back(d);
    }
  }
  for (size_t i = 0; i < p.sum[0].size(); ++i) {
    const int64_t m = a.size(static_cast<int>(p.sum[0][i])), n = b.size(static_cast<int>(p.sum[1][i]));
    if (m != n) fail("sizes " + std::to_string(m) + " and " + std::to_string(n) + " to sum over differ");
  }
  return contract(a, b, p);
}

}  // namespace ops
}  // namespace tg
