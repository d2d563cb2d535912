// Compiled once for each normalizer, for every precision. The steps have the numbers of forward.cpp and run in reverse;
// step 5 was taken there: a.logits holds its own gradient.
//
// a.dstream is the gradient of the residual stream. The residual connections pass it on unchanged, to the stream below
// and to the branch; each branch then adds its own part to it in the backward of its LayerNorm.
#include "model/backward.h"

#include "kernels/attention.h"
#include "kernels/embedding.h"
#include "kernels/gelu.h"
#include "kernels/layernorm.h"
#include "kernels/matmul.h"
#include "kernels/normalizer/normalizer.h"
#include "kernels/rope.h"
#include "model/backend.h"

template <class N, class P, class S>
void backward(const Config& config, const Parameters<S>& p, Parameters<float>& dp, Activations<S>& a, size_t B,
              size_t T, const AttentionObserver<S>& observe) {
  using namespace backend;
  const size_t C = config.C, NH = config.NH, V = config.V, BT = B * T;

  // 4. The head. Nothing but the head reads the stream after the last layer.
  constexpr const S* kNothing = nullptr;
  matmul_backward<P>(a.d_c, dp.lm_head, nullptr, a.logits, a.ln_f, p.lm_head, BT, C, V, WeightLayout::kOutIn);
  layernorm_backward(a.dstream, dp.ln_f_weight, dp.ln_f_bias, kNothing, a.d_c, a.stream, p.ln_f_weight, a.ln_f_mean,
                     a.ln_f_rstd, BT, C);

  for (int l = config.L - 1; l >= 0; l--) {
    const LayerParameters<S>& w = p.h[l];
    LayerParameters<float>& dw = dp.h[l];
    LayerActivations<S>& h = a.h[l];

    // 3. MLP.
    matmul_backward<P>(a.d_fc, dw.fc_proj_weight, dw.fc_proj_bias, a.dstream, h.gelu, w.fc_proj_weight, BT, 4 * C, C);
    gelu_backward(a.d_fc, a.d_fc, h.fc, BT * 4 * C);
    matmul_backward<P>(a.d_c, dw.fc_weight, dw.fc_bias, a.d_fc, h.ln_2, w.fc_weight, BT, C, 4 * C);
    layernorm_backward(a.dstream, dw.ln_2_weight, dw.ln_2_bias, a.dstream, a.d_c, h.stream_mid, w.ln_2_weight,
                       h.ln_2_mean, h.ln_2_rstd, BT, C);

    // 2. Attention.
    matmul_backward<P>(a.d_c, dw.proj_weight, dw.proj_bias, a.dstream, h.attention, w.proj_weight, BT, C, C);
    if (observe) observe(l, a.d_c);
    attention_backward<N>(a.d_qkv, dw.theta, dp.length_scale, a.d_c, h.attention, h.rows, h.qkv, w.theta, a.slopes, B,
                          T, C, NH);
    if (a.rope) rope_backward(a.d_qkv, a.rope, B, T, C, NH);
    matmul_backward<P>(a.d_c, dw.qkv_weight, dw.qkv_bias, a.d_qkv, h.ln_1, w.qkv_weight, BT, C, 3 * C);
    layernorm_backward(a.dstream, dw.ln_1_weight, dw.ln_1_bias, a.dstream, a.d_c, h.stream, w.ln_1_weight, h.ln_1_mean,
                       h.ln_1_rstd, BT, C);
  }

  // 1. Tokens and positions.
  embedding_backward(dp.wte, dp.wpe, a.dstream, a.tokens, B, T, C);
}

#define ATTNORM_INSTANTIATE(P)                                                                                         \
  template void backward<SelectedNormalizer, P>(const Config&, const Parameters<backend::Storage<P>>&,                 \
                                                Parameters<float>&, Activations<backend::Storage<P>>&, size_t, size_t, \
                                                const AttentionObserver<backend::Storage<P>>&);
ATTNORM_INSTANTIATE(fp32)
ATTNORM_INSTANTIATE(bf16)
#undef ATTNORM_INSTANTIATE
