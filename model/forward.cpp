// Compiled once for each normalizer, for every precision; backward.cpp walks the same numbered steps in reverse.
#include "model/forward.h"

#include "kernels/attention.h"
#include "kernels/cross_entropy.h"
#include "kernels/embedding.h"
#include "kernels/gelu.h"
#include "kernels/layernorm.h"
#include "kernels/matmul.h"
#include "kernels/normalizer/normalizer.h"
#include "kernels/rope.h"
#include "model/backend.h"

template <class N, class P, class S>
void forward(const Config& config, const Parameters<S>& p, Activations<S>& a, const int32_t* tokens,
             const int32_t* targets, size_t B, size_t T, float scale) {
  using namespace backend;
  const size_t C = config.C, NH = config.NH, V = config.V, BT = B * T;

  // 1. Tokens and learned positions become the residual stream. From here on it is the sum of `stream` and `branch`,
  // the output of the branch before; LayerNorm, the next to read it, adds the two and keeps the sum.
  a.tokens = to_kernels(a.token_room, tokens, BT);
  S* embedding = config.L > 0 ? a.h[0].stream : a.stream;
  embedding_forward(embedding, a.tokens, p.wte, p.wpe, B, T, C);
  const S *stream = embedding, *branch = nullptr;

  for (int l = 0; l < config.L; l++) {
    const LayerParameters<S>& w = p.h[l];
    LayerActivations<S>& h = a.h[l];

    // 2. Attention: what earlier positions have to say.
    residual_layernorm_forward(h.ln_1, h.ln_1_mean, h.ln_1_rstd, h.stream, stream, branch, w.ln_1_weight, w.ln_1_bias,
                               BT, C);
    matmul_forward<P>(h.qkv, h.ln_1, w.qkv_weight, w.qkv_bias, BT, C, 3 * C);
    if (a.rope) rope_forward(h.qkv, a.rope, B, T, C, NH);
    attention_forward<N>(h.attention, h.rows, h.qkv, w.theta, p.length_scale, a.slopes, B, T, C, NH);
    matmul_forward<P>(a.branch, h.attention, w.proj_weight, w.proj_bias, BT, C, C);

    // 3. MLP: what each position makes of it.
    residual_layernorm_forward(h.ln_2, h.ln_2_mean, h.ln_2_rstd, h.stream_mid, h.stream, a.branch, w.ln_2_weight,
                               w.ln_2_bias, BT, C);
    matmul_forward<P>(h.fc, h.ln_2, w.fc_weight, w.fc_bias, BT, C, 4 * C);
    gelu_forward(h.gelu, h.fc, BT * 4 * C);
    matmul_forward<P>(a.branch, h.gelu, w.fc_proj_weight, w.fc_proj_bias, BT, 4 * C, C);
    stream = h.stream_mid;
    branch = a.branch;
  }

  // 4. The head: a score for every token of the vocabulary.
  residual_layernorm_forward(a.ln_f, a.ln_f_mean, a.ln_f_rstd, a.stream, stream, branch, p.ln_f_weight, p.ln_f_bias, BT,
                             C);
  matmul_forward<P>(a.logits, a.ln_f, p.lm_head, nullptr, BT, C, V, WeightLayout::kOutIn);

  // 5. The loss, and at once its gradient, where a backward follows.
  if (!targets) return;
  targets = to_kernels(a.target_room, targets, BT);
  if (scale != 0)
    cross_entropy_forward_backward(a.losses, a.logits, targets, scale, BT, V);
  else
    cross_entropy_forward(a.losses, a.logits, targets, BT, V);
}

#define ATTNORM_INSTANTIATE(P)                                                                                    \
  template void forward<SelectedNormalizer, P>(const Config&, const Parameters<backend::Storage<P>>&,             \
                                               Activations<backend::Storage<P>>&, const int32_t*, const int32_t*, \
                                               size_t, size_t, float);
ATTNORM_INSTANTIATE(fp32)
ATTNORM_INSTANTIATE(bf16)
#undef ATTNORM_INSTANTIATE
