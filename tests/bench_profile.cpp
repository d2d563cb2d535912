// The model's own source, included into a namespace in which `backend` is a set of timed kernels: the model stays free of
// clocks, and what is timed is what trains. All headers of the model's sources come first, outside of that namespace. A
// kernel that is missing among the timed ones is an error of the compiler: add it to the list below.
#define ATTNORM_NORMALIZER softmax  // for the explicit instantiations at the end of the included sources

#include "tests/bench_profile.h"

#include <type_traits>
#include <utility>

#include "kernels/attention.h"
#include "kernels/cross_entropy.h"
#include "kernels/embedding.h"
#include "kernels/gelu.h"
#include "kernels/layernorm.h"
#include "kernels/matmul.h"
#include "kernels/normalizer/normalizer.h"
#include "kernels/rope.h"
#include "model/backend.h"
#include "model/forward.h"
#include "tests/bench_clock.h"

const char* part_name(Part part) {
  constexpr const char* kNames[] = {"layers' products", "head's products", "attention",     "LayerNorm", "GELU", "RoPE",
                                    "cross-entropy",    "embedding",       "gradient norm", "AdamW",     "rest"};
  return kNames[size_t(part)];
}

namespace profiled {

Profile profile;

namespace backend {

using cpu::Storage;
using cpu::to_kernels;

class Clock {
 public:
  explicit Clock(Part part) : part_(part), start_(now_ms()) {}
  ~Clock() { profile[size_t(part_)] += now_ms() - start_; }

 private:
  Part part_;
  double start_;
};

// The head's weights alone lie as (OC,C), which its calls say in their last argument.
template <class... Arguments>
constexpr Part part_of_product() {
  return (std::is_same_v<std::decay_t<Arguments>, WeightLayout> || ...) ? Part::kHead : Part::kLayers;
}

#define TIMED(kernel, part)                             \
  template <class... Arguments>                         \
  void kernel(Arguments&&... arguments) {               \
    Clock clock(part);                                  \
    cpu::kernel(std::forward<Arguments>(arguments)...); \
  }
#define TIMED_TEMPLATE(kernel, part)                          \
  template <class Type, class... Arguments>                   \
  void kernel(Arguments&&... arguments) {                     \
    Clock clock(part);                                        \
    cpu::kernel<Type>(std::forward<Arguments>(arguments)...); \
  }

TIMED_TEMPLATE(matmul_forward, part_of_product<Arguments...>())
TIMED_TEMPLATE(matmul_backward, part_of_product<Arguments...>())
TIMED_TEMPLATE(attention_forward, Part::kAttention)
TIMED_TEMPLATE(attention_backward, Part::kAttention)
TIMED(residual_layernorm_forward, Part::kLayerNorm)
TIMED(layernorm_backward, Part::kLayerNorm)
TIMED(gelu_forward, Part::kGelu)
TIMED(gelu_backward, Part::kGelu)
TIMED(rope_forward, Part::kRope)
TIMED(rope_backward, Part::kRope)
TIMED(cross_entropy_forward, Part::kCrossEntropy)
TIMED(cross_entropy_forward_backward, Part::kCrossEntropy)
TIMED(embedding_forward, Part::kEmbedding)
TIMED(embedding_backward, Part::kEmbedding)

}  // namespace backend

#include "model/backward.cpp"
#include "model/forward.cpp"

}  // namespace profiled
