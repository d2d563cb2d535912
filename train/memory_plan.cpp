#include "train/memory_plan.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <type_traits>

#include "data/error.h"
#include "kernels/attention.h"
#include "kernels/check.h"
#include "kernels/embedding.h"
#include "kernels/layernorm.h"
#include "kernels/matmul.h"
#include "model/activations.h"
#include "model/backend.h"
#include "model/parameters.h"
#include "train/memory.h"

namespace {

// The activations of B x T tokens, or what no machine has where that might not fit into a size_t.
template <class S>
size_t activation_bytes(const Config& config, int row_words, size_t B, size_t T, bool training) {
  constexpr size_t kTooMuch = size_t(1) << 60;
  const double bound = double(activation_floats<S>(config, row_words, 1, 1, training)) * sizeof(float) * B * T;
  return bound < double(kTooMuch) ? activation_floats<S>(config, row_words, B, T, training) * sizeof(float) : kTooMuch;
}

}  // namespace

Workspace workspace(const Config& config, size_t B, size_t T) {
  using namespace backend;
  const size_t C = config.C, V = config.V, NH = config.NH, HS = config.HS(), BT = B * T;
  return {std::max(attention_scratch_floats(T, HS), matmul_scratch_floats()),
          std::max({attention_shared_floats(B, T, NH, HS, config.length_scale), layernorm_shared_floats(C),
                    embedding_shared_floats(B, T), check_shared_floats(), matmul_shared_floats(BT, C, 3 * C),
                    matmul_shared_floats(BT, C, C), matmul_shared_floats(BT, C, 4 * C),
                    matmul_shared_floats(BT, 4 * C, C), matmul_shared_floats(BT, C, V)})};
}

template <class S>
MemoryPlan plan_memory(const Config& config, int row_words, size_t B, size_t T, bool training, int threads) {
  MemoryPlan plan;
  const size_t masters = parameter_floats(config) * sizeof(float);
  plan.parameters = masters + (std::is_same_v<S, float> ? 0 : parameter_floats(config) * sizeof(S));
  plan.activations = activation_bytes<S>(config, row_words, B, T, training);
  const Workspace scratch = workspace(config, B, T);
  plan.workspace = (scratch.each_thread * size_t(threads) + scratch.shared) * sizeof(float);
  if (training) {
    plan.gradients = masters;
    plan.optimizer = 2 * masters;
  }
  return plan;
}

size_t MemoryPlan::total() const {
  return parameters + gradients + optimizer + activations + workspace + (backend::kOnHost ? checkpoint : 0);
}

size_t checkpoint_copy_bytes(const Config& config) { return 3 * parameter_floats(config) * sizeof(float); }

nlohmann::ordered_json plan_to_json(const MemoryPlan& plan) {
  return {{"parameters", plan.parameters}, {"gradients", plan.gradients},
          {"optimizer", plan.optimizer},   {"activations", plan.activations},
          {"workspace", plan.workspace},   {"checkpoint", plan.checkpoint},
          {"total", plan.total()}};
}

std::string plan_text(const MemoryPlan& plan) {
  std::string text = format_bytes(plan.total()) + " = " + format_bytes(plan.parameters) + " parameters";
  if (plan.gradients) text += " + " + format_bytes(plan.gradients) + " gradients";
  if (plan.optimizer) text += " + " + format_bytes(plan.optimizer) + " optimizer";
  text += " + " + format_bytes(plan.activations) + " activations + " + format_bytes(plan.workspace) + " workspace";
  if (plan.checkpoint)
    text += (backend::kOnHost ? " + " : "; on the host ") + format_bytes(plan.checkpoint) + " copy for checkpoints";
  return text;
}

template <class S>
void require_memory(const Config& config, int row_words, size_t B, size_t T, bool training, int threads,
                    size_t available) {
  auto need = [&](size_t batch) { return plan_memory<S>(config, row_words, batch, T, training, threads).total(); };
  if (need(B) <= available) return;
  size_t fits = 0;
  for (size_t step = B; step > 0; step /= 2)  // the largest batch below B, bit by bit
    while (fits + step < B && need(fits + step) <= available) fits += step;
  if (B == 1 && !training)
    throw Error("the model with a sequence of " + std::to_string(T) + " tokens needs " + format_bytes(need(1)) +
                " of memory, and " + format_bytes(available) + " are free");
  throw Error("--batch-size " + std::to_string(B) + " with sequences of " + std::to_string(T) + " tokens needs " +
              format_bytes(need(B)) + " of memory, and " + format_bytes(available) + " are free; " +
              (fits > 0 ? "--batch-size " + std::to_string(fits) + " fits" : "not even --batch-size 1 fits") +
              (!training  ? fits > 0 ? "" : ": reduce --seq-len"
               : fits > 0 ? " (--grad-accum keeps the tokens per update)"
                          : ": reduce --layers, --channels or --seq-len"));
}

#define ATTNORM_INSTANTIATE(S)                                                       \
  template MemoryPlan plan_memory<S>(const Config&, int, size_t, size_t, bool, int); \
  template void require_memory<S>(const Config&, int, size_t, size_t, bool, int, size_t);
ATTNORM_INSTANTIATE(float)
ATTNORM_INSTANTIATE(bf16)
#undef ATTNORM_INSTANTIATE
