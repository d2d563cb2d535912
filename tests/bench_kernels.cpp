#include "tests/bench_kernels.h"

#include <algorithm>
#include <cstdint>
#include <memory>

#include "kernels/adamw.h"
#include "kernels/attention.h"
#include "kernels/check.h"
#include "kernels/cross_entropy.h"
#include "kernels/embedding.h"
#include "kernels/gelu.h"
#include "kernels/layernorm.h"
#include "kernels/normalizer/normalizer.h"
#include "kernels/precision.h"
#include "kernels/random.h"
#include "kernels/rope.h"
#include "model/backend.h"

using namespace backend;

// --- the three products of a linear layer -----------------------------------------------------------------------------

namespace {

template <class P>
void product_in(const Layer& l, const std::string& product) {
  if (product == "forward")
    matmul_forward<P>(l.out, l.inp, l.weight, nullptr, l.BT, l.C, l.OC, l.layout);
  else if (product == "dinp")
    matmul_backward<P>(l.dinp, nullptr, nullptr, l.dout, l.inp, l.weight, l.BT, l.C, l.OC, l.layout);
  else
    matmul_backward<P>(nullptr, l.dweight, nullptr, l.dout, l.inp, l.weight, l.BT, l.C, l.OC, l.layout);
}

}  // namespace

void layer_product(const Layer& layer, const std::string& product, const std::string& precision) {
  if (precision == kPrecisionName<bf16>)
    product_in<bf16>(layer, product);
  else
    product_in<fp32>(layer, product);
}

// --- attention --------------------------------------------------------------------------------------------------------

namespace {

template <class N>
AttentionKernels attention_of(const char* name) {
  return {name,
          [](const AttentionShape& s, const AttentionMemory& m) {
            attention_forward<N>(m.out, m.rows, m.qkv, N::params > 0 ? m.theta : nullptr,
                                 N::length_scale ? m.length_scale : nullptr, nullptr, s.B, s.T, s.C(), s.NH);
          },
          [](const AttentionShape& s, const AttentionMemory& m) {
            attention_backward<N>(m.dqkv, N::params > 0 ? m.dtheta : nullptr,
                                  N::length_scale ? m.dlength_scale : nullptr, m.dout, m.out, m.rows, m.qkv,
                                  N::params > 0 ? m.theta : nullptr, nullptr, s.B, s.T, s.C(), s.NH);
          }};
}

}  // namespace

std::vector<AttentionKernels> every_attention() {
#define BENCH_ATTENTION(name, ...) attention_of<__VA_ARGS__>(#name),
  return {EVERY_NORMALIZER(BENCH_ATTENTION)};
#undef BENCH_ATTENTION
}

size_t most_row_floats(const AttentionShape& s) {
  size_t words = 0;
#define BENCH_WORDS(name, ...) words = std::max(words, kRowWords<__VA_ARGS__>);
  EVERY_NORMALIZER(BENCH_WORDS)
#undef BENCH_WORDS
  return attention_row_floats(words, s.B, s.T, s.NH);
}

// --- what is bound by memory ------------------------------------------------------------------------------------------

std::vector<StreamingPart> streaming_parts(float* const x[4], size_t n) {
  constexpr size_t C = 768, NH = 12, T = 256;  // of GPT-2, whatever has a shape
  const size_t V = std::min<size_t>(50257, n / 4), BT = n / C / T * T, rows = n / V, tokens_V = n / C;
  struct Small {
    std::vector<float> ones, zeros, mean, rstd, rope, losses;
    std::vector<int32_t> tokens, targets;
  };
  auto s = std::make_shared<Small>();
  s->ones.assign(T * C, 1), s->zeros.assign(T * C, 0);
  s->mean.assign(BT, 0), s->rstd.assign(BT, 1), s->losses.assign(rows, 0);
  s->rope.resize(T * C / NH);
  rope_table(s->rope.data(), T, C / NH, 10000);
  for (size_t i = 0; i < BT; i++) s->tokens.push_back(int32_t(Philox{{1, 0}}(i)[0] % tokens_V));
  for (size_t i = 0; i < rows; i++) s->targets.push_back(int32_t(Philox{{2, 0}}(i)[0] % V));
  float *a = x[0], *b = x[1], *c = x[2], *d = x[3];
  const double elements = double(BT * C);
  const AdamW step = {1e-9f, 0.9f, 0.95f, 0.1f, 0.05f, 1};
  const std::vector<AdamWTensor> tensors = {{0, n, 0.1f}};

  return {
      {"AdamW", "32: 4 arrays read and written", 32.0 * double(n), [=] { adamw_update(a, b, c, d, tensors, step); }},
      {"gradient norm", "4: read", 4.0 * double(n), [=] { sum_of_squares(b, n); }},
      {"cross-entropy", "8: logits read, gradient written", 8.0 * double(rows * V),
       [=] { cross_entropy_forward_backward(s->losses.data(), a, s->targets.data(), 1 / float(rows), rows, V); }},
      {"LayerNorm forward", "8: read, written", 8 * elements,
       [=] { layernorm_forward(b, s->mean.data(), s->rstd.data(), a, s->ones.data(), s->zeros.data(), BT, C); }},
      {"LayerNorm backward", "16: 3 read, 1 written", 16 * elements,
       [=] {
         layernorm_backward(c, s->zeros.data(), s->zeros.data() + C, c, b, a, s->ones.data(), s->mean.data(),
                            s->rstd.data(), BT, C);
       }},
      {"GELU forward", "8: read, written", 8 * elements, [=] { gelu_forward(b, a, BT * C); }},
      {"GELU backward", "12: 2 read, 1 written", 12 * elements, [=] { gelu_backward(b, b, a, BT * C); }},
      {"residual, LayerNorm", "16: 2 read, 2 written", 16 * elements,
       [=] {
         residual_layernorm_forward(b, s->mean.data(), s->rstd.data(), c, a, d, s->ones.data(), s->zeros.data(), BT, C);
       }},
      {"RoPE", "8 of queries and keys", 8 * elements * 2 / 3,
       [=] { rope_forward(a, s->rope.data(), BT / T / 3, T, C, NH); }},
      {"embedding forward", "8: read, written", 8 * elements,
       [=] { embedding_forward(b, s->tokens.data(), a, s->zeros.data(), BT / T, T, C); }},
      {"embedding backward", "12: 2 read, 1 written", 12 * elements,
       [=] { embedding_backward(a, s->zeros.data(), b, s->tokens.data(), BT / T, T, C); }},
  };
}
