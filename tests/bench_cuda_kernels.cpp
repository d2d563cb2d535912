#include "tests/bench_cuda_kernels.h"

#include <algorithm>
#include <numeric>

#include "kernels/attention.h"
#include "kernels/check.h"
#include "kernels/cross_entropy.h"
#include "kernels/embedding.h"
#include "kernels/gelu.h"
#include "kernels/layernorm.h"
#include "kernels/matmul.h"
#include "kernels/normalizer/normalizer.h"
#include "kernels/random.h"
#include "model/activations.h"
#include "model/backend.h"
#include "model/backward.h"
#include "model/forward.h"
#include "model/weights.h"
#include "train/memory_plan.h"
#include "train/optimizer.h"

namespace {

// Normalizers measured beside softmax: of one, two and three sweeps over the keys, learned scalars included.
#define FOR_OTHERS(X) X(ssmax) X(sa_softmax) X(sinmax)

constexpr int most(std::initializer_list<int> numbers) { return std::max(numbers); }
#define PARAMS(name) named::name::params,
#define WORDS(name) int(kRowWords<named::name>),
constexpr int kMostParams = most({FOR_OTHERS(PARAMS) 0});
constexpr int kMostWords = most({FOR_OTHERS(WORDS) int(kRowWords<named::softmax>)});
#undef PARAMS
#undef WORDS

Config with_room(Config config) {
  config.normalizer_params = kMostParams;
  return config;
}

template <class P>
class Model {
  using S = backend::Storage<P>;

 public:
  Model(const Config& shape, size_t B)
      : config_(with_room(shape)), B_(B), T_(size_t(config_.T)), tensors_(parameter_tensors(config_)) {
    require_memory<S>(config_, kMostWords, B, T_, true, 1, cuda::free_bytes());
    weights_ = Weights<S>(config_);
    for (backend::Memory* block : {&gradients_, &m_, &v_}) *block = backend::Memory(weights_.size());
    activations_ = backend::Memory(activation_floats<S>(config_, kMostWords, B, T_, true));
    dp_ = view_parameters(config_, gradients_.data());
    a_ = view_activations<S>(config_, kMostWords, B, T_, true, activations_.data());
    const Workspace scratch = workspace(config_, B, T_);
    backend::reserve_scratch(scratch.each_thread, scratch.shared);
    weights_.fill([&](float* block) { init_parameters(config_, block, 1, initial_scale(config_.T, false)); });
    for (size_t i = 0; i < B * T_; i++) {
      const auto x = Philox{{1, 0}}(i);
      tokens_.push_back(int32_t(x[0] % uint32_t(config_.V)));
      targets_.push_back(int32_t(x[1] % uint32_t(config_.V)));
    }
    step();
  }

  void step() {
    forward<named::softmax, P>(config_, weights_.view(), a_, tokens_.data(), targets_.data(), B_, T_, scale());
    loss();  // as the trainer, which reads it before the backward
    backward<named::softmax, P>(config_, weights_.view(), dp_, a_, B_, T_);
    update(gradient_norm(gradients_.data(), gradients_.size()));
  }

  double loss() {
    const float* losses = backend::to_host(room_, a_.losses, B_ * T_);
    return std::accumulate(losses, losses + B_ * T_, 0.0) / double(B_ * T_);
  }

  std::map<std::string, std::function<void()>> calls() {
    using namespace backend;
    const size_t C = config_.C, V = config_.V, BT = B_ * T_;
    const Parameters<S>& p = weights_.view();
    const LayerParameters<S>& w = p.h[0];
    const LayerParameters<float>& dw = dp_.h[0];
    const LayerActivations<S>& h = a_.h[0];
    const Activations<S>& a = a_;
    const WeightLayout kHead = WeightLayout::kOutIn;
    auto linear_forward = [=](S* out, const S* inp, const S* weight, const float* bias, size_t I, size_t O) {
      return [=] { matmul_forward<P>(out, inp, weight, bias, BT, I, O); };
    };
    auto linear_backward = [=](S* dinp, float* dweight, float* dbias, const S* dout, const S* inp, const S* weight,
                               size_t I, size_t O) {
      return [=] { matmul_backward<P>(dinp, dweight, dbias, dout, inp, weight, BT, I, O); };
    };
    return {
        {"embedding forward", [=, this] { embedding_forward(h.stream, a.tokens, p.wte, p.wpe, B_, T_, C); }},
        {"LayerNorm forward",
         [=] {
           residual_layernorm_forward(h.ln_2, h.ln_2_mean, h.ln_2_rstd, h.stream_mid, h.stream, a.branch, w.ln_2_weight,
                                      w.ln_2_bias, BT, C);
         }},
        {"qkv forward", linear_forward(h.qkv, h.ln_1, w.qkv_weight, w.qkv_bias, C, 3 * C)},
        {"attention forward", attention_forward_of<named::softmax>()},
        {"proj forward", linear_forward(a.branch, h.attention, w.proj_weight, w.proj_bias, C, C)},
        {"fc forward", linear_forward(h.fc, h.ln_2, w.fc_weight, w.fc_bias, C, 4 * C)},
        {"GELU forward", [=] { gelu_forward(h.gelu, h.fc, BT * 4 * C); }},
        {"fc_proj forward", linear_forward(a.branch, h.gelu, w.fc_proj_weight, w.fc_proj_bias, 4 * C, C)},
        {"head forward", [=] { matmul_forward<P>(a.logits, a.ln_f, p.lm_head, nullptr, BT, C, V, kHead); }},
        {"cross-entropy",
         [=, this] { cross_entropy_forward_backward(a.losses, a.logits, a.target_room, scale(), BT, V); }},
        {"head backward",
         [=, this] { matmul_backward<P>(a.d_c, dp_.lm_head, nullptr, a.logits, a.ln_f, p.lm_head, BT, C, V, kHead); }},
        {"LayerNorm backward",
         [=] {
           layernorm_backward(a.dstream, dw.ln_2_weight, dw.ln_2_bias, a.dstream, a.d_c, h.stream_mid, w.ln_2_weight,
                              h.ln_2_mean, h.ln_2_rstd, BT, C);
         }},
        {"fc_proj backward",
         linear_backward(a.d_fc, dw.fc_proj_weight, dw.fc_proj_bias, a.dstream, h.gelu, w.fc_proj_weight, 4 * C, C)},
        {"GELU backward", [=] { gelu_backward(a.d_fc, a.d_fc, h.fc, BT * 4 * C); }},
        {"fc backward", linear_backward(a.d_c, dw.fc_weight, dw.fc_bias, a.d_fc, h.ln_2, w.fc_weight, C, 4 * C)},
        {"proj backward",
         linear_backward(a.d_c, dw.proj_weight, dw.proj_bias, a.dstream, h.attention, w.proj_weight, C, C)},
        {"attention backward", attention_backward_of<named::softmax>()},
        {"qkv backward", linear_backward(a.d_c, dw.qkv_weight, dw.qkv_bias, a.d_qkv, h.ln_1, w.qkv_weight, C, 3 * C)},
        {"embedding backward", [=, this] { embedding_backward(dp_.wte, dp_.wpe, a.dstream, a.tokens, B_, T_, C); }},
        {"gradient norm", [this] { gradient_norm(gradients_.data(), gradients_.size()); }},
        {"AdamW", [this] { update(1); }},
    };
  }

  std::map<std::string, std::map<std::string, std::function<void()>>> others() {
#define ATTENTION(name)                                         \
  {#name,                                                       \
   {{"attention forward", attention_forward_of<named::name>()}, \
    {"attention backward", attention_backward_of<named::name>()}}},
    return {FOR_OTHERS(ATTENTION)};
#undef ATTENTION
  }

 private:
  float scale() const { return 1 / float(B_ * T_); }

  // The learning rate is so small that the model stays where it is.
  void update(double norm) {
    constexpr OptimizerOptions kOptions = {1e-9, 0.9, 0.95, 0.1, 1};
    auto run = [&](auto... rounded) {
      update_parameters(tensors_, weights_.master(), gradients_.data(), m_.data(), v_.data(), kOptions, updates_++,
                        norm, rounded...);
    };
    if constexpr (Weights<S>::kCopied)
      run(weights_.stored());
    else
      run();
  }

  template <class N>
  std::function<void()> attention_forward_of() {
    return [this] {
      const LayerActivations<S>& h = a_.h[0];
      backend::attention_forward<N>(h.attention, h.rows, h.qkv, theta<N>(), nullptr, nullptr, B_, T_, size_t(config_.C),
                                    size_t(config_.NH));
    };
  }

  // After a forward of the same normalizer.
  template <class N>
  std::function<void()> attention_backward_of() {
    return [this] {
      const LayerActivations<S>& h = a_.h[0];
      backend::attention_backward<N>(a_.d_qkv, N::params > 0 ? dp_.h[0].theta : nullptr, nullptr, a_.d_c, h.attention,
                                     h.rows, h.qkv, theta<N>(), nullptr, B_, T_, size_t(config_.C), size_t(config_.NH));
    };
  }

  template <class N>
  const float* theta() const {
    return N::params > 0 ? weights_.view().h[0].theta : nullptr;
  }

  Config config_;
  size_t B_, T_;
  std::vector<Tensor> tensors_;
  Weights<S> weights_;
  backend::Memory gradients_, m_, v_, activations_;
  Parameters<float> dp_;
  Activations<S> a_;
  std::vector<int32_t> tokens_, targets_;
  std::vector<float> room_;
  uint64_t updates_ = 0;
};

template <class P>
CudaCalls calls_in(const Config& config, size_t B) {
  auto model = std::make_shared<Model<P>>(config, B);
  Model<P>* m = model.get();
  return {m->calls(), m->others(), [m] { m->step(); }, [m] { return m->loss(); }, model};
}

}  // namespace

CudaCalls cuda_calls(const Config& config, size_t B, bool in_bf16) {
  return in_bf16 ? calls_in<bf16>(config, B) : calls_in<fp32>(config, B);
}
