// Shapes and strides: broadcasting, contiguity, views.
#include "tensor/shape.h"

namespace tg {

std::string to_string(const Dims& d) {
  std::string s = "(";
  for (int i = 0; i < d.size(); ++i) s += (i ? ", " : "") + std::to_string(d[i]);
  return s + (d.size() == 1 ? ",)" : ")");
}

int64_t checked_numel(const Dims& shape) {
  int64_t n = 1;
  bool overflow = false, zero = false;
  for (int64_t s : shape) {
    if (s < 0) throw std::invalid_argument("negative size " + std::to_string(s) + " in shape " + to_string(shape));
    if (s == 0)
      zero = true;
    else
      overflow |= __builtin_mul_overflow(n, s, &n);
  }
  int64_t bytes;
  if (overflow || __builtin_mul_overflow(n, int64_t{8}, &bytes)) {
    throw std::invalid_argument("shape " + to_string(shape) + " has more elements than can be addressed");
  }
  return zero ? 0 : n;
}

Dims contiguous_strides(const Dims& shape) {
  Dims strides;
  strides.resize(shape.size());
  int64_t step = 1;
  for (int i = shape.size() - 1; i >= 0; --i) {
    strides[i] = step;
    step *= std::max<int64_t>(shape[i], 1);
  }
  return strides;
}

bool is_contiguous(const Dims& shape, const Dims& strides) {
  int64_t step = 1;
  for (int i = shape.size() - 1; i >= 0; --i) {
    if (shape[i] == 0) return true;
    if (shape[i] != 1 && strides[i] != step) return false;
    step *= shape[i];
  }
  return true;
}

Dims broadcast_shapes(const char* op, const Dims& a, const Dims& b) {
  if (a == b) return a;
  const int rank = std::max(a.size(), b.size());
  Dims out;
  out.resize(rank);
  for (int i = 1; i <= rank; ++i) {
    const int64_t x = i <= a.size() ? a[a.size() - i] : 1, y = i <= b.size() ? b[b.size() - i] : 1;
    if (x != y && x != 1 && y != 1) {
      throw std::invalid_argument(std::string(op) + ": shapes " + to_string(a) + " and " + to_string(b) +
                                  " do not broadcast: sizes " + std::to_string(x) + " and " + std::to_string(y) +
                                  " differ at dimension -" + std::to_string(i) + " and neither is 1");
    }
    out[rank - i] = x == 1 ? y : x;
  }
  return out;
}

Dims broadcast_strides(const Dims& shape, const Dims& strides, const Dims& to) {
  Dims out = Dims::filled(to.size(), 0);
  const int lead = to.size() - shape.size();
  for (int i = 0; i < shape.size(); ++i) out[lead + i] = shape[i] == 1 && to[lead + i] != 1 ? 0 : strides[i];
  return out;
}

bool broadcasts_to(const Dims& shape, const Dims& to) {
  if (shape.size() > to.size()) return false;
  const int lead = to.size() - shape.size();
  for (int i = 0; i < shape.size(); ++i) {
    if (shape[i] != to[lead + i] && shape[i] != 1) return false;
  }
  return true;
}

int normalize_dim(const char* op, int64_t dim, int rank) {
  const int64_t span = std::max(rank, 1);
  if (dim < -span || dim >= span) {
    throw std::out_of_range(std::string(op) + ": dim " + std::to_string(dim) + " is out of range for a tensor of " +
                            std::to_string(rank) + " dimensions (expected " + std::to_string(-span) + " to " +
                            std::to_string(span - 1) + ")");
  }
  return static_cast<int>(dim < 0 ? dim + span : dim);
}

bool view_strides(const Dims& shape, const Dims& strides, const Dims& to, Dims* out) {
  *out = contiguous_strides(to);
  if (is_contiguous(shape, strides) || std::find(shape.begin(), shape.end(), 0) != shape.end()) return true;
  // Walk both shapes from the back, matching runs of input dimensions that are contiguous among themselves.
  int t = to.size() - 1;
  int64_t base = strides.empty() ? 1 : strides[strides.size() - 1], have = 1, want = 1;
  for (int d = shape.size() - 1; d >= 0; --d) {
    have *= shape[d];
    const bool ends = d == 0 || (shape[d - 1] != 1 && strides[d - 1] != have * base);
    if (!ends) continue;
    while (t >= 0 && (want < have || to[t] == 1)) {
      (*out)[t] = want * base;
      want *= to[t];
      --t;
    }
    if (want != have) return false;
    if (d > 0) {
      base = strides[d - 1];
      have = want = 1;
    }
  }
  return t < 0;
}

}  // namespace tg
