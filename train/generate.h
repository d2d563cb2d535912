// Text from a model: one token after the other, each drawn from what the model predicts.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

#include "kernels/random.h"
#include "model/forward.h"
#include "train/sampling.h"

// Draws a token from softmax(logits / temperature) over the top_k candidates; `index` numbers the draw.
inline int32_t draw_token(const float* logits, int V, const SamplingOptions& options, uint64_t index) {
  std::vector<int32_t> order(V);
  std::iota(order.begin(), order.end(), 0);
  const int candidates = options.top_k > 0 ? std::min(options.top_k, V) : V;
  std::partial_sort(order.begin(), order.begin() + candidates, order.end(),
                    [&](int32_t x, int32_t y) { return logits[x] != logits[y] ? logits[x] > logits[y] : x < y; });
  if (options.temperature == 0) return order[0];
  std::vector<double> cumulative(candidates);
  double sum = 0;
  for (int i = 0; i < candidates; i++)
    cumulative[i] = sum += std::exp((double(logits[order[i]]) - logits[order[0]]) / options.temperature);
  const auto x = Philox{{uint32_t(options.seed), fnv1a("sample")}}(index, options.seed >> 32);
  const double target = uniform(x[0], x[1]) * sum;
  const auto drawn = std::upper_bound(cumulative.begin(), cumulative.end(), target) - cumulative.begin();
  return order[std::min<size_t>(drawn, candidates - 1)];
}

// Continues `prompt` (at least one token) by `count` tokens; returns those. Activations are for 1 x T tokens or more;
// the model sees the last T tokens. Calls emit(token) as they appear.
template <class N, class P = fp32, class Emit, class S = backend::Storage<P>>
std::vector<int32_t> generate(const Config& config, const Parameters<S>& p, Activations<S>& a,
                              const std::vector<int32_t>& prompt, int count, size_t T, const SamplingOptions& options,
                              Emit emit) {
  std::vector<int32_t> tokens = prompt;
  std::vector<float> room;
  for (int i = 0; i < count; i++) {
    const size_t length = std::min(tokens.size(), T);
    forward<N, P>(config, p, a, tokens.data() + tokens.size() - length, nullptr, 1, length);
    const float* logits = backend::to_host(room, a.logits + (length - 1) * config.V, config.V);
    tokens.push_back(draw_token(logits, config.V, options, i));
    emit(tokens.back());
  }
  return {tokens.begin() + prompt.size(), tokens.end()};
}
