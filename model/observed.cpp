// The model's own sources, included into a namespace in which `backend` is a set of kernels that tell an observer what they
// wrote: the model stays a list of kernel calls, and what is observed is what trains. All headers of the sources come first,
// outside of that namespace. A kernel that is missing here is an error of the compiler: add it to the list below.
#include "model/observed.h"

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
#include "model/forward.h"

namespace observed {

// Of the call that runs; calls do not nest.
inline const KernelObserver* observer = nullptr;

struct Observing {
  explicit Observing(const KernelObserver& observe) { observer = &observe; }
  ~Observing() { observer = nullptr; }
};

template <class Argument>
const void* start_of(const Argument& argument) {
  if constexpr (std::is_pointer_v<Argument>)
    return argument;
  else
    return nullptr;  // a size, or an array that is not there
}

template <class... Arguments>
void tell(const char* kernel, size_t written, const Arguments&... arguments) {
  const void* const starts[] = {start_of(arguments)...};
  (*observer)(kernel, starts, written);
}

template <class N, class P, class S = ::backend::Storage<P>>
void forward(const Config& config, const Parameters<S>& p, Activations<S>& a, const int32_t* tokens,
             const int32_t* targets, size_t B, size_t T, float scale);
template <class N, class P, class S = ::backend::Storage<P>>
void backward(const Config& config, const Parameters<S>& p, Parameters<float>& dp, Activations<S>& a, size_t B,
              size_t T, const AttentionObserver<S>& observe);

namespace backend {

using ::backend::Storage;
using ::backend::to_kernels;

// Every kernel's first `written` arguments are what it overwrites or adds to.
#define OBSERVED(kernel, written)                   \
  template <class... Arguments>                     \
  void kernel(const Arguments&... arguments) {      \
    ::backend::kernel(arguments...);                \
    observed::tell(#kernel, written, arguments...); \
  }
#define OBSERVED_TEMPLATE(kernel, written)          \
  template <class Type, class... Arguments>         \
  void kernel(const Arguments&... arguments) {      \
    ::backend::kernel<Type>(arguments...);          \
    observed::tell(#kernel, written, arguments...); \
  }

OBSERVED(embedding_forward, 1)
OBSERVED(residual_layernorm_forward, 4)
OBSERVED_TEMPLATE(matmul_forward, 1)
OBSERVED(rope_forward, 1)
OBSERVED_TEMPLATE(attention_forward, 2)
OBSERVED(gelu_forward, 1)
OBSERVED(cross_entropy_forward, 1)
OBSERVED(cross_entropy_forward_backward, 2)

OBSERVED_TEMPLATE(matmul_backward, 3)
OBSERVED(layernorm_backward, 3)
OBSERVED(gelu_backward, 1)
OBSERVED_TEMPLATE(attention_backward, 3)
OBSERVED(rope_backward, 1)
OBSERVED(embedding_backward, 2)

#undef OBSERVED
#undef OBSERVED_TEMPLATE

}  // namespace backend

#include "model/backward.cpp"
#include "model/forward.cpp"

}  // namespace observed

template <class N, class P, class S>
void observed_forward(const KernelObserver& observe, const Config& config, const Parameters<S>& p, Activations<S>& a,
                      const int32_t* tokens, const int32_t* targets, size_t B, size_t T, float scale) {
  observed::Observing observing(observe);
  observed::forward<N, P>(config, p, a, tokens, targets, B, T, scale);
}

template <class N, class P, class S>
void observed_backward(const KernelObserver& observe, const Config& config, const Parameters<S>& p,
                       Parameters<float>& dp, Activations<S>& a, size_t B, size_t T,
                       const AttentionObserver<S>& observe_attention) {
  observed::Observing observing(observe);
  observed::backward<N, P>(config, p, dp, a, B, T, observe_attention);
}

#define ATTNORM_INSTANTIATE(P)                                                                                         \
  template void observed_forward<SelectedNormalizer, P>(                                                               \
      const KernelObserver&, const Config&, const Parameters<backend::Storage<P>>&, Activations<backend::Storage<P>>&, \
      const int32_t*, const int32_t*, size_t, size_t, float);                                                          \
  template void observed_backward<SelectedNormalizer, P>(                                                              \
      const KernelObserver&, const Config&, const Parameters<backend::Storage<P>>&, Parameters<float>&,                \
      Activations<backend::Storage<P>>&, size_t, size_t, const AttentionObserver<backend::Storage<P>>&);
ATTNORM_INSTANTIATE(fp32)
ATTNORM_INSTANTIATE(bf16)
#undef ATTNORM_INSTANTIATE
