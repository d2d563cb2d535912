#include "tests/bench_model.h"

#include <algorithm>
#include <cmath>
#include <fstream>

#include "data/error.h"
#include "kernels/cpu/parallel.h"
#include "kernels/normalizer/normalizer.h"
#include "kernels/random.h"
#include "model/backend.h"
#include "model/backward.h"
#include "model/forward.h"
#include "train/memory.h"
#include "train/memory_plan.h"
#include "train/optimizer.h"
#include "train/options.h"
#include "train/start.h"

namespace {

template <class N, class P>
Variant variant(const char* name) {
  return {name,
          kPrecisionName<P>,
          N::params,
          N::length_scale,
          int(kRowWords<N>),
          [](BenchModel& m) {
            forward<N, P>(m.config, m.p, m.a, m.tokens.data(), m.targets.data(), m.B, m.T, 1 / float(m.B * m.T));
          },
          [](BenchModel& m) { backward<N, P>(m.config, m.p, m.dp, m.a, m.B, m.T); }};
}

// Uniform numbers of the right variance, several seconds faster for GPT-2 than the normal ones of init_parameters().
void fill_parameters(const std::vector<Tensor>& tensors, float* block) {
  for (const Tensor& tensor : tensors) {
    float* x = block + tensor.offset;
    const bool random = tensor.init == Init::kNormal || tensor.init == Init::kResidual;
    if (!random) std::fill(x, x + tensor.size, tensor.init == Init::kZero ? 0.0f : 1.0f);
    const Philox stream{{1, fnv1a(tensor.name)}};
    if (random)
      cpu::parallel_blocks(tensor.size, 1 << 16, [&](size_t begin, size_t end) {
        for (size_t i = begin; i < end; i++) x[i] = 0.02f * 3.46f * (float(stream(i)[0]) * 0x1p-32f - 0.5f);
      });
  }
}

}  // namespace

std::vector<Variant> variants_of(const std::vector<std::string>& normalizers,
                                 const std::vector<std::string>& precisions) {
#define BENCH_VARIANT(name, ...) variant<__VA_ARGS__, fp32>(#name), variant<__VA_ARGS__, bf16>(#name),
  static const std::vector<Variant> all = {EVERY_NORMALIZER(BENCH_VARIANT)};
#undef BENCH_VARIANT
  std::vector<Variant> result;
  for (const std::string& normalizer : normalizers)
    for (const std::string& precision : precisions)
      for (const Variant& candidate : all)
        if (candidate.normalizer == normalizer && candidate.precision == precision) result.push_back(candidate);
  return result;
}

std::vector<ModelShape> model_shapes(Extent extent) {
  if (extent == Extent::kSmoke) return {{"tiny-2x16", "tiny", 2, 16}};
  if (extent == Extent::kQuick)
    return {{"gpt2-4x64", "gpt2", 4, 64}, {"small-12x64", "small", 12, 64}, {"small-16x256", "small", 16, 256}};
  return {{"gpt2-4x64", "gpt2", 4, 64},
          {"gpt2-4x1024", "gpt2", 4, 1024},
          {"small-12x64", "small", 12, 64},
          {"small-16x256", "small", 16, 256},
          {"char-4x256", "char", 4, 256}};
}

Config config_of(const std::string& preset) {
  const char* words[] = {"train", "--preset", preset.c_str(), "--text", "none"};
  Start start;
  start.options = parse_train_options(5, words, "softmax");
  complete_config(start, preset == "gpt2" ? 50257 : 256, "softmax", 0);
  return start.config;
}

double linear_flop(const Config& config, size_t B, size_t T) {
  const double C = config.C, weights = 12 * C * C * config.L + C * config.V;
  return 6 * weights * double(B * T);
}

double attention_flop(const Config& config, size_t B, size_t T) {
  const double products = 6, pairs = double(T) * double(T + 1) / 2;  // of a sequence; 2 flop for each channel
  return products * 2 * config.C * pairs * double(B) * config.L;
}

BenchModel::BenchModel(const Config& shape, size_t B, size_t T, const std::vector<Variant>& variants)
    : config(shape), B(B), T(T), row_words_(0) {
  for (const Variant& variant : variants) {
    config.normalizer_params = std::max(config.normalizer_params, variant.params);
    config.length_scale |= variant.length_scale;
    row_words_ = std::max(row_words_, variant.row_words);
  }
  const size_t available = available_memory_bytes(), need = planned_bytes(1);
  if (need > available) throw std::bad_alloc();
  tensors_ = parameter_tensors(config);
  const size_t size = parameter_floats(config);
  for (Buffer* buffer : {&parameters_, &gradients_, &m_, &v_}) *buffer = Buffer(size);
  activations_ = Buffer(activation_floats(config, row_words_, B, T, true));
  fill_parameters(tensors_, parameters_.data());
  p = view_parameters(config, parameters_.data());
  dp = view_parameters(config, gradients_.data());
  a = view_activations(config, row_words_, B, T, true, activations_.data());
  for (size_t i = 0; i < B * T; i++) {
    auto x = Philox{{1, 0}}(i);
    tokens.push_back(int32_t(x[0] % uint32_t(config.V)));
    targets.push_back(int32_t(x[1] % uint32_t(config.V)));
  }
}

void BenchModel::update() {
  constexpr OptimizerOptions kOptions = {1e-9, 0.9, 0.95, 0.1, 1};
  const double start = now_ms();
  const double norm = gradient_norm(gradients_.data(), gradients_.size());
  const double middle = now_ms();
  update_parameters(tensors_, parameters_.data(), gradients_.data(), m_.data(), v_.data(), kOptions, updates_++, norm);
  profiled::profile[size_t(Part::kGradientNorm)] += middle - start;
  profiled::profile[size_t(Part::kAdamW)] += now_ms() - middle;
}

void BenchModel::step(const Variant& variant) {
  variant.forward(*this);
  variant.backward(*this);
  update();
}

Profile BenchModel::profile(const std::string& precision) {
  auto run = [&]<class P>(P) {
    profiled::forward<named::softmax, P>(config, p, a, tokens.data(), targets.data(), B, T, 1 / float(B * T));
    profiled::backward<named::softmax, P>(config, p, dp, a, B, T, AttentionObserver<float>());
  };
  profiled::profile = {};
  const double start = now_ms();
  if (precision == kPrecisionName<bf16>)
    run(bf16());
  else
    run(fp32());
  update();
  Profile result = profiled::profile;
  double& rest = result[size_t(Part::kRest)];
  rest = now_ms() - start;
  for (size_t part = 0; part < size_t(Part::kRest); part++) rest -= result[part];
  return result;
}

double BenchModel::loss() const {
  double sum = 0;
  for (size_t i = 0; i < B * T; i++) sum += a.losses[i];
  return sum / double(B * T);
}

size_t BenchModel::planned_bytes(int threads) const {
  return plan_memory(config, row_words_, B, T, true, threads).total();
}

void set_step(nlohmann::ordered_json& record, const std::string& model_name, const Variant& variant,
              const BenchModel& model) {
  record["model"] = model_name;
  record["B"] = model.B;
  record["T"] = model.T;
  record["normalizer"] = variant.normalizer;
  record["precision"] = variant.precision;
  record["tokens_per_s"] = double(model.B * model.T) / record["ms_best"].get<double>() * 1000;
}

void set_roof(nlohmann::ordered_json& record, double linear, double attention, double roof_gflops) {
  set_gflops(record, linear, roof_gflops);
  const double factor = (linear + attention) / linear;
  record["gflops_with_attention"] = record["gflops"].get<double>() * factor;
  record["roof_fraction_with_attention"] = record["roof_fraction"].get<double>() * factor;
}

void forget_peak_memory() { std::ofstream("/proc/self/clear_refs") << 5; }
