#include "model/activations.h"

#include <type_traits>
#include <vector>

#include "kernels/attention.h"
#include "kernels/portable_math.h"
#include "kernels/rope.h"
#include "model/backend.h"
#include "model/buffer.h"

namespace {

// The list. Calls f(name, size, pointer) for every array; `pointer` is the member of `a` that shall point to it.
template <class S, class F>
void for_each_array(const Config& config, int row_words, size_t B, size_t T, bool training, Activations<S>& a, F f) {
  const size_t C = config.C, V = config.V, NH = config.NH, BT = B * T;
  a = {};
  if (!backend::kOnHost) {
    f("tokens", BT, &a.token_room);
    f("targets", BT, &a.target_room);
  }
  if (config.position == Position::kRope) f("rope", T * config.HS(), &a.rope);
  if (config.position == Position::kAlibi) f("slopes", NH, &a.slopes);
  a.h.resize(config.L);
  for (int l = 0; l < config.L; l++) {
    LayerActivations<S>& h = a.h[l];
    std::string prefix = "h." + std::to_string(l) + ".";
    f(prefix + "stream", BT * C, &h.stream);
    f(prefix + "ln_1.mean", BT, &h.ln_1_mean);
    f(prefix + "ln_1.rstd", BT, &h.ln_1_rstd);
    f(prefix + "ln_1", BT * C, &h.ln_1);
    f(prefix + "attn.qkv", BT * 3 * C, &h.qkv);
    f(prefix + "attn.rows", backend::attention_row_floats(row_words, B, T, NH), &h.rows);
    f(prefix + "attn.out", BT * C, &h.attention);
    f(prefix + "stream_mid", BT * C, &h.stream_mid);
    f(prefix + "ln_2.mean", BT, &h.ln_2_mean);
    f(prefix + "ln_2.rstd", BT, &h.ln_2_rstd);
    f(prefix + "ln_2", BT * C, &h.ln_2);
    f(prefix + "mlp.fc", BT * 4 * C, &h.fc);
    f(prefix + "mlp.gelu", BT * 4 * C, &h.gelu);
  }
  f("stream", BT * C, &a.stream);
  f("ln_f.mean", BT, &a.ln_f_mean);
  f("ln_f.rstd", BT, &a.ln_f_rstd);
  f("ln_f", BT * C, &a.ln_f);
  f("logits", BT * V, &a.logits);
  f("losses", BT, &a.losses);
  f("branch", BT * C, &a.branch);
  if (!training) return;
  f("dstream", BT * C, &a.dstream);
  f("d_c", BT * C, &a.d_c);
  f("d_qkv", BT * 3 * C, &a.d_qkv);
  f("d_fc", BT * 4 * C, &a.d_fc);
}

// Floats that n elements take.
template <class T>
size_t floats_of(size_t n) {
  return aligned((n * sizeof(T) + sizeof(float) - 1) / sizeof(float));
}

}  // namespace

template <class S>
std::vector<ActivationTensor> activation_tensors(const Config& config, int row_words, size_t B, size_t T,
                                                 bool training) {
  std::vector<ActivationTensor> tensors;
  Activations<S> unused;
  size_t end = 0;
  for_each_array(config, row_words, B, T, training, unused, [&]<class E>(const std::string& name, size_t size, E**) {
    tensors.push_back({name, end, size, std::is_same_v<E, S>});
    end += floats_of<E>(size);
  });
  return tensors;
}

template <class S>
size_t activation_floats(const Config& config, int row_words, size_t B, size_t T, bool training) {
  Activations<S> unused;
  size_t end = 0;
  for_each_array(config, row_words, B, T, training, unused,
                 [&]<class E>(const std::string&, size_t size, E**) { end += floats_of<E>(size); });
  return end;
}

template <class S>
Activations<S> view_activations(const Config& config, int row_words, size_t B, size_t T, bool training, float* block) {
  Activations<S> a;
  for_each_array(config, row_words, B, T, training, a, [&]<class E>(const std::string&, size_t size, E** pointer) {
    *pointer = reinterpret_cast<E*>(block);
    block += floats_of<E>(size);
  });
  if (a.rope) {
    std::vector<float> table(T * config.HS());
    rope_table(table.data(), T, config.HS(), config.rope_theta);
    backend::overwrite(a.rope, table.data(), table.size());
  }
  if (a.slopes) {
    std::vector<float> slopes(config.NH);
    for (int h = 0; h < config.NH; h++) slopes[h] = float(portable::exp2(-8.0 * (h + 1) / config.NH));
    backend::overwrite(a.slopes, slopes.data(), slopes.size());
  }
  return a;
}

#define ATTNORM_INSTANTIATE(S)                                                                            \
  template std::vector<ActivationTensor> activation_tensors<S>(const Config&, int, size_t, size_t, bool); \
  template size_t activation_floats<S>(const Config&, int, size_t, size_t, bool);                         \
  template Activations<S> view_activations<S>(const Config&, int, size_t, size_t, bool, float*);
ATTNORM_INSTANTIATE(float)
ATTNORM_INSTANTIATE(bf16)
#undef ATTNORM_INSTANTIATE
