#include "model/parameters.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "kernels/cpu/parallel.h"
#include "kernels/portable_math.h"
#include "kernels/precision.h"
#include "kernels/random.h"
#include "model/buffer.h"

namespace {

// The list. Calls f(name, shape, init, pointer) for every tensor; `pointer` is the member of `p` that shall point to
// it. Tensors whose pointer is null lie right behind the one before: the learned scalars of a layer are one (params,
// NH) array.
template <class S, class F>
void for_each_tensor(const Config& config, Parameters<S>& p, F f) {
  using Shape = std::vector<size_t>;
  const size_t V = config.V, T = config.T, C = config.C, NH = config.NH;
  f("wte.weight", Shape{V, C}, Init::kNormal, &p.wte);
  p.wpe = nullptr;
  if (config.position == Position::kLearned) f("wpe.weight", Shape{T, C}, Init::kNormal, &p.wpe);
  p.length_scale = nullptr;
  if (config.length_scale) f("normalizer.length_scale", Shape{T}, Init::kOne, &p.length_scale);
  p.h.resize(config.L);
  for (int l = 0; l < config.L; l++) {
    LayerParameters<S>& h = p.h[l];
    std::string prefix = "h." + std::to_string(l) + ".";
    f(prefix + "ln_1.weight", Shape{C}, Init::kOne, &h.ln_1_weight);
    f(prefix + "ln_1.bias", Shape{C}, Init::kZero, &h.ln_1_bias);
    f(prefix + "attn.c_attn.weight", Shape{C, 3 * C}, Init::kNormal, &h.qkv_weight);
    f(prefix + "attn.c_attn.bias", Shape{3 * C}, Init::kZero, &h.qkv_bias);
    h.theta = nullptr;
    if (config.normalizer_params > 0) f(prefix + "attn.normalizer.scale", Shape{NH}, Init::kScale, &h.theta);
    if (config.normalizer_params > 1) f(prefix + "attn.normalizer.bias", Shape{NH}, Init::kZero, (float**)nullptr);
    f(prefix + "attn.c_proj.weight", Shape{C, C}, Init::kResidual, &h.proj_weight);
    f(prefix + "attn.c_proj.bias", Shape{C}, Init::kZero, &h.proj_bias);
    f(prefix + "ln_2.weight", Shape{C}, Init::kOne, &h.ln_2_weight);
    f(prefix + "ln_2.bias", Shape{C}, Init::kZero, &h.ln_2_bias);
    f(prefix + "mlp.c_fc.weight", Shape{C, 4 * C}, Init::kNormal, &h.fc_weight);
    f(prefix + "mlp.c_fc.bias", Shape{4 * C}, Init::kZero, &h.fc_bias);
    f(prefix + "mlp.c_proj.weight", Shape{4 * C, C}, Init::kResidual, &h.fc_proj_weight);
    f(prefix + "mlp.c_proj.bias", Shape{C}, Init::kZero, &h.fc_proj_bias);
  }
  f("ln_f.weight", Shape{C}, Init::kOne, &p.ln_f_weight);
  f("ln_f.bias", Shape{C}, Init::kZero, &p.ln_f_bias);
  if (config.tied)
    p.lm_head = p.wte;
  else
    f("lm_head.weight", Shape{V, C}, Init::kNormal, &p.lm_head);
}

// Overwrites x, the tensor's numbers, as init_parameters promises.
void fill_normal(float* x, const Tensor& tensor, double sd, unsigned long long seed) {
  const Philox stream{{uint32_t(seed), fnv1a(tensor.name)}};
  cpu::parallel_blocks(tensor.size, 16384, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; i += 2) {
      const auto normals = two_normals(stream, i / 2, seed >> 32);
      x[i] = float(sd * normals[0]);
      if (i + 1 < end) x[i + 1] = float(sd * normals[1]);
    }
  });
}

size_t product(const std::vector<size_t>& shape) {
  size_t size = 1;
  for (size_t d : shape) size *= d;
  return size;
}

}  // namespace

std::vector<Tensor> parameter_tensors(const Config& config) {
  std::vector<Tensor> tensors;
  Parameters<> unused;
  size_t end = 0;
  for_each_tensor(config, unused, [&](const std::string& name, std::vector<size_t> shape, Init init, auto pointer) {
    size_t offset = pointer ? aligned(end) : end;
    size_t size = product(shape);
    tensors.push_back({name, std::move(shape), offset, size, init, !pointer});
    end = offset + size;
  });
  return tensors;
}

size_t parameter_floats(const Config& config) {
  auto tensors = parameter_tensors(config);
  return aligned(tensors.back().offset + tensors.back().size);
}

size_t parameter_count(const Config& config) {
  size_t count = 0;
  for (const Tensor& tensor : parameter_tensors(config)) count += tensor.size;
  return count;
}

double flops_per_token(const Config& config, int T) {
  const double C = config.C, linear = config.L * 12.0 * C * C + double(config.V) * C;
  return 6 * linear + config.L * 6.0 * (T + 1) * C;
}

template <class S>
Parameters<S> view_parameters(const Config& config, S* matrices, float* block) {
  auto tensors = parameter_tensors(config);
  auto tensor = tensors.begin();
  Parameters<S> view;
  auto start = [&](auto** pointer) {
    if constexpr (std::is_same_v<decltype(pointer), S**>)
      return matrices;  // in fp32 the two blocks are one, and vectors lie there too
    else
      return block;
  };
  for_each_tensor(config, view, [&](const std::string&, const std::vector<size_t>&, Init, auto** pointer) {
    if (pointer) *pointer = start(pointer) + tensor->offset;
    ++tensor;
  });
  return view;
}
template Parameters<float> view_parameters<float>(const Config&, float*, float*);
template Parameters<bf16> view_parameters<bf16>(const Config&, bf16*, float*);

Parameters<float> view_parameters(const Config& config, float* block) {
  return view_parameters<float>(config, block, block);
}

void init_parameters(const Config& config, float* block, unsigned long long seed, double scale) {
  for (const Tensor& tensor : parameter_tensors(config)) {
    float* x = block + tensor.offset;
    switch (tensor.init) {
      case Init::kNormal:
        fill_normal(x, tensor, 0.02, seed);
        break;
      case Init::kResidual:
        fill_normal(x, tensor, 0.02 / std::sqrt(2.0 * config.L), seed);
        break;
      case Init::kZero:
        std::fill_n(x, tensor.size, 0.0f);
        break;
      case Init::kOne:
        std::fill_n(x, tensor.size, 1.0f);
        break;
      case Init::kScale:
        std::fill_n(x, tensor.size, float(scale));
        break;
    }
  }
}

void perturb_parameters(const Config& config, float* block, unsigned long long seed, double noise) {
  if (noise == 0) return;
  constexpr size_t kBits = 128;  // of one draw
  for (const Tensor& tensor : parameter_tensors(config)) {
    const Philox stream{{uint32_t(seed), fnv1a("noise." + tensor.name)}};
    float* x = block + tensor.offset;
    cpu::parallel_blocks(tensor.size, 128 * kBits, [&](size_t begin, size_t end) {
      for (size_t first = begin; first < end; first += kBits) {
        const auto words = stream(first / kBits, seed >> 32);
        for (size_t i = first; i < std::min(first + kBits, end); i++) {
          const bool up = words[i % kBits / 32] >> i % 32 & 1;
          x[i] = float(x[i] * (1 + (up ? noise : -noise)));
        }
      }
    });
  }
}

double initial_scale(int T, bool length_scale) {
  if (length_scale) return 1;
  double sum = 0;
  for (int n = 1; n <= T; n++) sum += portable::log(n);
  return sum > 0 ? T / sum : 1;
}
