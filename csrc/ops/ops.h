// The C++ functions of the ops: elementwise ones declared from ops.def, structured ones by hand.
#pragma once
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "ops/execute.h"
#include "ops/generator.h"

namespace tg::ops {

#define UNARY(name, ...)        \
  Tensor name(const Tensor& x); \
  Tensor name##_(Tensor x);
#define BINARY(name, ...)                        \
  Tensor name(const Tensor& a, const Tensor& b); \
  Tensor name##_(Tensor a, const Tensor& b);
#define COMPARE(name, ...) Tensor name(const Tensor& a, const Tensor& b);
#include "ops/ops.def"

namespace parametric {
#define PARAMETRIC(name, ...) Tensor name(const Tensor& x, const Tensor& p, const Tensor& q = {});
#include "ops/ops.def"
}  // namespace parametric

using MaybeDim = std::optional<int64_t>;
using MaybeDims = std::optional<Dims>;
using MaybeDType = std::optional<DType>;
using MaybeNumber = std::optional<double>;
using TensorList = std::vector<Tensor>;
using OneOrMany = std::variant<Tensor, TensorList>;
using IntList = std::vector<int64_t>;
using SizeOrSizes = std::variant<int64_t, IntList>;
struct ValuesIndices {  // of max, sort and others along a dimension
  Tensor values, indices;
};
struct Extremes {
  Tensor min, max;
};
using Pair = std::pair<Tensor, Tensor>;
struct Device {};    // there is the CPU alone; the bindings refuse others
struct MomentDims {  // of var and std: the dimensions, or whether the moment over all of them is unbiased
  MaybeDims dims;
  std::optional<bool> unbiased;
};

// elementwise.cpp
Tensor where(const Tensor& condition, const Tensor& input, const Tensor& other);
Tensor to(const Tensor& input, DType dtype);
Tensor clone(const Tensor& input);
Tensor contiguous(const Tensor& input);
Tensor copy_(Tensor self, const Tensor& src);
Tensor fill_(Tensor self, const Tensor& value);
Tensor zero_(Tensor self);

// ternary.cpp; min, max: an empty tensor bounds nothing
Tensor clamp(const Tensor& x, const Tensor& min, const Tensor& max);
Tensor clamp_(Tensor x, const Tensor& min, const Tensor& max);
Tensor clamp_min(const Tensor& x, const Tensor& min);
Tensor clamp_min_(Tensor x, const Tensor& min);
Tensor clamp_max(const Tensor& x, const Tensor& max);
Tensor clamp_max_(Tensor x, const Tensor& max);
Tensor lerp(const Tensor& x, const Tensor& end, const Tensor& weight);
Tensor lerp_(Tensor x, const Tensor& end, const Tensor& weight);
Tensor addcmul(const Tensor& x, const Tensor& a, const Tensor& b, const Tensor& value);
Tensor addcmul_(Tensor x, const Tensor& a, const Tensor& b, const Tensor& value);
Tensor addcdiv(const Tensor& x, const Tensor& a, const Tensor& b, const Tensor& value);
Tensor addcdiv_(Tensor x, const Tensor& a, const Tensor& b, const Tensor& value);
Tensor add_with(const Tensor& a, const Tensor& b, const Tensor& alpha);
Tensor add_with_(Tensor a, const Tensor& b, const Tensor& alpha);
Tensor sub_with(const Tensor& a, const Tensor& b, const Tensor& alpha);
Tensor sub_with_(Tensor a, const Tensor& b, const Tensor& alpha);

// compose_elementwise.cpp
Tensor isnan(const Tensor& input);
Tensor isinf(const Tensor& input);
Tensor isfinite(const Tensor& input);
Tensor logical_not(const Tensor& input);
Tensor logical_and(const Tensor& input, const Tensor& other);
Tensor logical_or(const Tensor& input, const Tensor& other);
Tensor logical_xor(const Tensor& input, const Tensor& other);
Tensor bitwise_not(const Tensor& input);
Tensor isclose(const Tensor& input, const Tensor& other, double rtol, double atol, bool equal_nan);
bool allclose(const Tensor& input, const Tensor& other, double rtol, double atol, bool equal_nan);
bool equal(const Tensor& input, const Tensor& other);
Tensor fmax(const Tensor& input, const Tensor& other);
Tensor fmin(const Tensor& input, const Tensor& other);
Tensor frac(const Tensor& input);
Tensor logit(const Tensor& input, std::optional<double> eps);
Tensor round_with(const Tensor& input, int64_t decimals);
Tensor round_with_(Tensor input, int64_t decimals);
Tensor div_with(const Tensor& input, const Tensor& other, const std::optional<std::string>& rounding_mode);
Tensor div_with_(Tensor input, const Tensor& other, const std::optional<std::string>& rounding_mode);
OneOrMany where_or_nonzero(const Tensor& condition, const Tensor& input, const Tensor& other);

// activations.cpp
Tensor leaky_relu(const Tensor& input, double negative_slope = 0.01, bool inplace = false);
Tensor elu(const Tensor& input, double alpha = 1, bool inplace = false);
Tensor celu(const Tensor& input, double alpha = 1, bool inplace = false);
Tensor hardtanh(const Tensor& input, double min_val = -1, double max_val = 1, bool inplace = false);
Tensor relu6(const Tensor& input, bool inplace = false);
Tensor threshold(const Tensor& input, double threshold, double value, bool inplace = false);

// movement.cpp
Tensor reshape(const Tensor& input, const Dims& shape);
Tensor view(const Tensor& input, const Dims& shape);
Tensor permute(const Tensor& input, const Dims& dims);
Tensor transpose(const Tensor& input, int64_t dim0, int64_t dim1);
Tensor t(const Tensor& input);
Tensor squeeze(const Tensor& input, const MaybeDims& dim = {});
Tensor unsqueeze(const Tensor& input, int64_t dim);
Tensor flatten(const Tensor& input, int64_t start_dim = 0, int64_t end_dim = -1);
Tensor expand(const Tensor& input, const Dims& size);
Tensor slice(const Tensor& input, int64_t dim, int64_t start, int64_t length, int64_t step);  // normalised
Tensor select(const Tensor& input, int64_t dim, int64_t index);
Tensor cat(const TensorList& tensors, int64_t dim = 0);
Tensor stack(const TensorList& tensors, int64_t dim = 0);

// compose_views.cpp
Tensor view_as(const Tensor& input, const Tensor& other);
Tensor reshape_as(const Tensor& input, const Tensor& other);
Tensor expand_as(const Tensor& input, const Tensor& other);
Tensor broadcast_to(const Tensor& input, const Dims& size);
TensorList broadcast_tensors(const TensorList& tensors);
Tensor unflatten(const Tensor& input, int64_t dim, const Dims& sizes);
Tensor ravel(const Tensor& input);
Tensor movedim(const Tensor& input, const Dims& source, const Dims& destination);
Tensor swapaxes(const Tensor& input, int64_t axis0, int64_t axis1);
Tensor narrow(const Tensor& input, int64_t dim, int64_t start, int64_t length);
TensorList split(const Tensor& tensor, const SizeOrSizes& sizes, int64_t dim = 0);
TensorList split_with_sizes(const Tensor& input, const IntList& sizes, int64_t dim = 0);
TensorList chunk(const Tensor& input, int64_t chunks, int64_t dim = 0);
TensorList tensor_split(const Tensor& input, const SizeOrSizes& indices_or_sections, int64_t dim = 0);
TensorList unbind(const Tensor& input, int64_t dim = 0);

// compose_joins.cpp
OneOrMany atleast_1d(const OneOrMany& input, const TensorList& others = {});
OneOrMany atleast_2d(const OneOrMany& input, const TensorList& others = {});
OneOrMany atleast_3d(const OneOrMany& input, const TensorList& others = {});
Tensor hstack(const TensorList& tensors);
Tensor vstack(const TensorList& tensors);
Tensor dstack(const TensorList& tensors);
Tensor column_stack(const TensorList& tensors);
TensorList meshgrid(const TensorList& tensors, const std::string& indexing = "ij");
Tensor repeat(const Tensor& input, const Dims& repeats);
Tensor tile(const Tensor& input, const Dims& dims);
Tensor repeat_interleave(const Tensor& input, const Tensor& repeats = {}, const MaybeDim& dim = {},
                         const MaybeDim& output_size = {});
Tensor kron(const Tensor& input, const Tensor& other);

// rearrange.cpp
Tensor flip(const Tensor& input, const Dims& dims);
Tensor fliplr(const Tensor& input);
Tensor flipud(const Tensor& input);
Tensor rot90(const Tensor& input, int64_t k = 1, const Dims& dims = {0, 1});
Tensor roll(const Tensor& input, const Dims& shifts, const MaybeDims& dims = {});

// matrices.cpp
Tensor diagonal(const Tensor& input, int64_t offset = 0, int64_t dim1 = 0, int64_t dim2 = 1);
Tensor diag_embed(const Tensor& input, int64_t offset = 0, int64_t dim1 = -2, int64_t dim2 = -1);
Tensor diag(const Tensor& input, int64_t diagonal = 0);
Tensor trace(const Tensor& input);
Tensor tril(const Tensor& input, int64_t diagonal = 0);
Tensor triu(const Tensor& input, int64_t diagonal = 0);
Tensor tril_indices(int64_t row, int64_t col, int64_t offset = 0, MaybeDType dtype = {}, Device device = {});
Tensor triu_indices(int64_t row, int64_t col, int64_t offset = 0, MaybeDType dtype = {}, Device device = {});

// index.cpp, gather.cpp
Tensor index(const Tensor& input, const TensorList& indices);  // empty tensors: whole dimensions
Tensor index_select(const Tensor& input, int64_t dim, const Tensor& index);
Tensor gather(const Tensor& input, int64_t dim, const Tensor& index);
OneOrMany nonzero(const Tensor& input, bool as_tuple = false);
Tensor argwhere(const Tensor& input);

// index_put.cpp, scatter.cpp, masked.cpp: f_() writes in place, f() into a copy
Tensor index_put(const Tensor& input, const TensorList& indices, const Tensor& values, bool accumulate = false);
Tensor index_put_(Tensor self, const TensorList& indices, const Tensor& values, bool accumulate = false);
Tensor index_add(const Tensor& input, int64_t dim, const Tensor& index, const Tensor& source, const Tensor& alpha);
Tensor index_add_(Tensor self, int64_t dim, const Tensor& index, const Tensor& source, const Tensor& alpha);
Tensor index_copy(const Tensor& input, int64_t dim, const Tensor& index, const Tensor& source);
Tensor index_copy_(Tensor self, int64_t dim, const Tensor& index, const Tensor& source);
Tensor index_fill(const Tensor& input, int64_t dim, const Tensor& index, const Tensor& value);
Tensor index_fill_(Tensor self, int64_t dim, const Tensor& index, const Tensor& value);
using MaybeString = std::optional<std::string>;
Tensor scatter(const Tensor& input, int64_t dim, const Tensor& index, const Tensor& src, const Tensor& value = {},
               const MaybeString& reduce = {});
Tensor scatter_(Tensor self, int64_t dim, const Tensor& index, const Tensor& src, const Tensor& value = {},
                const MaybeString& reduce = {});
Tensor scatter_add(const Tensor& input, int64_t dim, const Tensor& index, const Tensor& src);
Tensor scatter_add_(Tensor self, int64_t dim, const Tensor& index, const Tensor& src);
Tensor masked_fill(const Tensor& input, const Tensor& mask, const Tensor& value);
Tensor masked_fill_(Tensor self, const Tensor& mask, const Tensor& value);
Tensor masked_scatter(const Tensor& input, const Tensor& mask, const Tensor& source);
Tensor masked_scatter_(Tensor self, const Tensor& mask, const Tensor& source);
Tensor masked_select(const Tensor& input, const Tensor& mask);

// compose_index.cpp
Tensor take(const Tensor& input, const Tensor& index);
Tensor take_along_dim(const Tensor& input, const Tensor& indices, MaybeDim dim = {});
Tensor one_hot(const Tensor& tensor, int64_t num_classes = -1);

// reduce.cpp
Tensor sum(const Tensor& input, const MaybeDims& dim = {}, bool keepdim = false, MaybeDType dtype = {});
Tensor mean(const Tensor& input, const MaybeDims& dim = {}, bool keepdim = false, MaybeDType dtype = {});
Tensor amax(const Tensor& input, const MaybeDims& dim = {}, bool keepdim = false);
Tensor amin(const Tensor& input, const MaybeDims& dim = {}, bool keepdim = false);
using DimOrOther = std::variant<std::monostate, int64_t, Tensor>;
using MinMax = std::variant<Tensor, ValuesIndices>;
MinMax max(const Tensor& input, const DimOrOther& dim = {}, bool keepdim = false, const Tensor& other = {});
MinMax min(const Tensor& input, const DimOrOther& dim = {}, bool keepdim = false, const Tensor& other = {});
Tensor argmax(const Tensor& input, MaybeDim dim = {}, bool keepdim = false);
Tensor argmin(const Tensor& input, MaybeDim dim = {}, bool keepdim = false);
Tensor all(const Tensor& input, const MaybeDims& dim = {}, bool keepdim = false);
Tensor any(const Tensor& input, const MaybeDims& dim = {}, bool keepdim = false);
Tensor var(const Tensor& input, const MomentDims& dim = {}, bool unbiased = true, bool keepdim = false,
           MaybeNumber correction = {});
Tensor std(const Tensor& input, const MomentDims& dim = {}, bool unbiased = true, bool keepdim = false,
           MaybeNumber correction = {});
Tensor sum_to(const Tensor& input, const Dims& shape);

// reduce_wide.cpp, compose_reduce.cpp, cdist.cpp
using NormOrder = std::variant<std::monostate, double, std::string>;
Tensor prod(const Tensor& input, MaybeDim dim = {}, bool keepdim = false, MaybeDType dtype = {});
Tensor norm(const Tensor& input, const NormOrder& p = "fro", const MaybeDims& dim = {}, bool keepdim = false,
            MaybeDType dtype = {});
Extremes aminmax(const Tensor& input, MaybeDim dim = {}, bool keepdim = false);
Pair var_mean(const Tensor& input, const MomentDims& dim = {}, bool unbiased = true, bool keepdim = false,
              MaybeNumber correction = {});
Pair std_mean(const Tensor& input, const MomentDims& dim = {}, bool unbiased = true, bool keepdim = false,
              MaybeNumber correction = {});
Tensor logsumexp(const Tensor& input, const Dims& dim, bool keepdim = false);
Tensor nansum(const Tensor& input, const MaybeDims& dim = {}, bool keepdim = false, MaybeDType dtype = {});
Tensor nanmean(const Tensor& input, const MaybeDims& dim = {}, bool keepdim = false, MaybeDType dtype = {});
Tensor count_nonzero(const Tensor& input, const MaybeDims& dim = {});
Tensor cov(const Tensor& input, int64_t correction = 1, const Tensor& fweights = {}, const Tensor& aweights = {});
Tensor corrcoef(const Tensor& input);
Tensor cdist(const Tensor& x1, const Tensor& x2, double p = 2,
             const std::string& compute_mode = "use_mm_for_euclid_dist_if_necessary");
OneOrMany unique(const Tensor& input, bool sorted = true, bool return_inverse = false, bool return_counts = false,
                 MaybeDim dim = {});
OneOrMany unique_consecutive(const Tensor& input, bool return_inverse = false, bool return_counts = false,
                             MaybeDim dim = {});

// scan.cpp
Tensor cumsum(const Tensor& input, int64_t dim, MaybeDType dtype = {});
Tensor cumprod(const Tensor& input, int64_t dim, MaybeDType dtype = {});
ValuesIndices cummax(const Tensor& input, int64_t dim);
ValuesIndices cummin(const Tensor& input, int64_t dim);

// sort.cpp, histogram.cpp
ValuesIndices sort(const Tensor& input, int64_t dim = -1, bool descending = false, bool stable = false);
Tensor argsort(const Tensor& input, int64_t dim = -1, bool descending = false, bool stable = false);
ValuesIndices topk(const Tensor& input, int64_t k, int64_t dim = -1, bool largest = true, bool sorted = true);
ValuesIndices kthvalue(const Tensor& input, int64_t k, int64_t dim = -1, bool keepdim = false);
MinMax median(const Tensor& input, MaybeDim dim = {}, bool keepdim = false);
MinMax nanmedian(const Tensor& input, MaybeDim dim = {}, bool keepdim = false);
Tensor bincount(const Tensor& input, const Tensor& weights = {}, int64_t minlength = 0);
Tensor histc(const Tensor& input, int64_t bins = 100, double min = 0, double max = 0);
Tensor searchsorted(const Tensor& sorted_sequence, const Tensor& input, bool out_int32 = false, bool right = false,
                    const std::optional<std::string>& side = {}, const Tensor& sorter = {});
Tensor bucketize(const Tensor& input, const Tensor& boundaries, bool out_int32 = false, bool right = false);

// softmax.cpp, class_losses.cpp, losses.cpp
Tensor softmax(const Tensor& input, MaybeDim dim = {}, MaybeDType dtype = {});
Tensor log_softmax(const Tensor& input, MaybeDim dim = {}, MaybeDType dtype = {});
Tensor cross_entropy(const Tensor& input, const Tensor& target, const Tensor& weight = {}, int64_t ignore_index = -100,
                     const std::string& reduction = "mean", double label_smoothing = 0);
Tensor nll_loss(const Tensor& input, const Tensor& target, const Tensor& weight = {}, int64_t ignore_index = -100,
                const std::string& reduction = "mean");
Tensor mse_loss(const Tensor& input, const Tensor& target, const std::string& reduction = "mean",
                const Tensor& weight = {});
Tensor multi_margin_loss(const Tensor& input, const Tensor& target, int64_t p = 1, double margin = 1,
                         const Tensor& weight = {}, const std::string& reduction = "mean");
Tensor smooth_l1_loss(const Tensor& input, const Tensor& target, const std::string& reduction = "mean",
                      double beta = 1);
Tensor huber_loss(const Tensor& input, const Tensor& target, const std::string& reduction = "mean", double delta = 1,
                  const Tensor& weight = {});
Tensor binary_cross_entropy(const Tensor& input, const Tensor& target, const Tensor& weight = {},
                            const std::string& reduction = "mean");
Tensor binary_cross_entropy_with_logits(const Tensor& input, const Tensor& target, const Tensor& weight = {},
                                        const std::string& reduction = "mean", const Tensor& pos_weight = {});

// norm.cpp
Tensor layer_norm(const Tensor& input, const Dims& normalized_shape, const Tensor& weight = {}, const Tensor& bias = {},
                  double eps = 1e-5);

// matmul.cpp
Tensor matmul(const Tensor& input, const Tensor& other);
Tensor linear(const Tensor& input, const Tensor& weight, const Tensor& bias = {},
              const std::optional<std::string>& activation = {});

// compose_products.cpp; beta 0: the input counts for nothing, nan neither
Tensor mm(const Tensor& input, const Tensor& mat2);
Tensor bmm(const Tensor& input, const Tensor& mat2);
Tensor mv(const Tensor& input, const Tensor& vec);
Tensor dot(const Tensor& input, const Tensor& tensor);
Tensor vdot(const Tensor& input, const Tensor& other);
Tensor outer(const Tensor& input, const Tensor& vec2);
Tensor inner(const Tensor& input, const Tensor& other);
Tensor addmm(const Tensor& input, const Tensor& mat1, const Tensor& mat2, double beta = 1, double alpha = 1);
Tensor addmv(const Tensor& input, const Tensor& mat, const Tensor& vec, double beta = 1, double alpha = 1);
Tensor baddbmm(const Tensor& input, const Tensor& batch1, const Tensor& batch2, double beta = 1, double alpha = 1);
Tensor addbmm(const Tensor& input, const Tensor& batch1, const Tensor& batch2, double beta = 1, double alpha = 1);
Tensor addr(const Tensor& input, const Tensor& vec1, const Tensor& vec2, double beta = 1, double alpha = 1);

// contractions.cpp
struct Einsum {
  std::string equation;
  TensorList operands;
};
using TensordotDims = std::variant<int64_t, std::pair<IntList, IntList>>;
Tensor einsum(const Einsum& args);
Tensor tensordot(const Tensor& a, const Tensor& b, const TensordotDims& dims = 2);

// create.cpp
Tensor full(const Dims& shape, const Tensor& value, DType dtype);
Tensor arange(double start, double end, double step, DType dtype);
Tensor arange(int64_t start, int64_t end, int64_t step, DType dtype);  // exact beyond 2^53
Tensor linspace(double start, double end, int64_t steps, DType dtype);
Tensor logspace(double start, double end, int64_t steps, double base, DType dtype);
Tensor eye(int64_t n, int64_t m, DType dtype);

// random.cpp
Tensor uniform_(Tensor self, double low, double high, Generator* generator);
Tensor normal_(Tensor self, double mean, double std, Generator* generator);
Tensor randint_(Tensor self, int64_t low, int64_t high, Generator* generator);
Tensor random_(Tensor self, Generator* generator);  // over what the dtype holds
Tensor randperm(int64_t n, Generator* generator);
Tensor bernoulli_(Tensor self, const Tensor& p, Generator* generator);
Tensor exponential_(Tensor self, double lambd, Generator* generator);
Tensor normal(const Tensor& mean, const Tensor& std, Generator* generator);
Tensor multinomial(const Tensor& input, int64_t num_samples, bool replacement, Generator* generator);
Tensor dropout(const Tensor& input, double p = 0.5, bool training = true);

// optim.cpp: `state` is list after list, `step` the number of steps so far (and what else the rule counts), which is
// raised.
#define OPTIMIZER(name, ...)                                                                         \
  void name(const TensorList& params, const TensorList& grads, const std::vector<TensorList>& state, \
            const Tensor& step, const std::shared_ptr<Cell>& options);
#include "ops/ops.def"

}  // namespace tg::ops
