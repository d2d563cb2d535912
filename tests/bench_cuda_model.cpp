#include "tests/bench_cuda_model.h"

#include <algorithm>
#include <fstream>
#include <sstream>

#include "data/error.h"
#include "model/parameters.h"

const char* arithmetic_name(Arithmetic arithmetic) {
  switch (arithmetic) {
    case Arithmetic::kFp32:
      return "fp32";
    case Arithmetic::kTf32:
      return "tf32";
    default:
      return "bf16";
  }
}

double Gpu::peak_tflops(Arithmetic arithmetic) const {
  switch (arithmetic) {
    case Arithmetic::kFp32:
      return fp32_tflops;
    case Arithmetic::kTf32:
      return tf32_tflops;
    default:
      return bf16_tflops;
  }
}

// Sources: NVIDIA's data sheets of A100 (80 GB) and H100 (SXM), without sparsity; the GA100, GH100 and AD102
// architecture papers for multiprocessors, clocks and caches; CUDA's programming guide, "technical specifications per
// compute capability", for what a multiprocessor holds. mma_share of H100: an assumption; Hopper reaches its
// peak with wgmma alone (arXiv 2402.13499).
const std::vector<Gpu>& known_gpus() {
  static const std::vector<Gpu> gpus = {
      {"a100", "A100 SXM 80 GB", 2039, 19.5, 156, 312, 1, 1.41, 108, 40, 164, 2048, 32},
      {"h100", "H100 SXM", 3350, 66.9, 494.7, 989.4, 0.62, 1.83, 132, 50, 228, 2048, 32},
      {"4090", "RTX 4090", 1008, 82.6, 82.6, 165.2, 1, 2.52, 128, 72, 100, 1536, 24}};
  return gpus;
}

const Gpu& gpu_named(const std::string& name, const std::string& option) {
  std::string names;
  for (const Gpu& gpu : known_gpus()) {
    if (gpu.name == name) return gpu;
    names += (names.empty() ? "" : ", ") + gpu.name;
  }
  throw Error("--" + option + " is '" + name + "'; it must be one of " + names);
}

// --- what a step does ------------------------------------------------------------------------------------------------

namespace {

constexpr double kFloat = sizeof(float);
constexpr unsigned kThreads = 256;
constexpr double kLanes = 32;
constexpr size_t kSumParts = 1024;  // about as many blocks as sum columns in the first stage

// The launches of a step, in the precision of one of its arithmetics.
class Step {
 public:
  Step(const Config& config, size_t B, Arithmetic arithmetic)
      : C(config.C),
        T(config.T),
        V(config.V),
        L(config.L),
        heads(double(B) * config.NH),
        HS(config.HS()),
        BT(double(B) * config.T),
        parameters(double(parameter_count(config))),
        bf16(arithmetic == Arithmetic::kBf16),
        S(bf16 ? 2 : 4) {}

  std::vector<Call> calls() const {
    return {
        {"embedding forward", "embedding", 1, {embedding_forward()}},
        {"LayerNorm forward", "LayerNorm", 2 * L + 1, {layernorm_forward()}},
        {"qkv forward", "products", L, linear_forward(C, 3 * C)},
        {"attention forward", "attention", L, {attention_forward()}},
        {"proj forward", "products", L, linear_forward(C, C)},
        {"fc forward", "products", L, linear_forward(C, 4 * C)},
        {"GELU forward", "GELU", L, {gelu(2)}},
        {"fc_proj forward", "products", L, linear_forward(4 * C, C)},
        {"head forward", "head", 1, {product(BT, C, V, S, false)}},
        {"cross-entropy", "cross-entropy", 1, {cross_entropy()}},
        {"head backward", "head", 1, {product(BT, V, C, S, false), product(V, BT, C, kFloat, true)}},
        {"LayerNorm backward", "LayerNorm", 2 * L + 1, layernorm_backward()},
        {"fc_proj backward", "products", L, linear_backward(4 * C, C)},
        {"GELU backward", "GELU", L, {gelu(3)}},
        {"fc backward", "products", L, linear_backward(C, 4 * C)},
        {"proj backward", "products", L, linear_backward(C, C)},
        {"attention backward", "attention", L, {attention_queries(), attention_keys()}},
        {"qkv backward", "products", L, linear_backward(C, 3 * C)},
        {"embedding backward", "embedding", 1, embedding_backward()},
        {"gradient norm",
         "optimizer",
         1,
         {streamed("squares_kernel<4>", kFloat * parameters), streamed("sum_kernel", 0)}},
        {"AdamW", "optimizer", 1, {adamw()}},
    };
  }

 private:
  // The name of an instantiation: as many numbers at a time as 16 bytes hold.
  std::string vectors(const std::string& kernel) const { return kernel + (bf16 ? "<8, bf16>" : "<4, float>"); }

  Launch streamed(const std::string& kernel, double bytes) const {
    Launch launch;
    launch.kernel = kernel;
    launch.bytes = launch.least_bytes = bytes;
    launch.threads = kThreads;
    return launch;
  }

  Launch embedding_forward() const {
    return streamed(vectors("embedding_forward_kernel"), 2 * BT * C * S + T * C * S + BT * 4);
  }

  // Reads the stream and the branch, writes their sum and the result; the first one has no branch.
  Launch layernorm_forward() const {
    const double arrays = (2 * L * 4 + 2) / (2 * L + 1);
    return streamed(vectors("layernorm_forward_kernel"), arrays * BT * C * S + 2 * BT * kFloat);
  }

  // Reads dout, the input and the gradient of the stream, which it writes again. dweight and dbias: sums of blocks,
  // then of those.
  std::vector<Launch> layernorm_backward() const {
    constexpr double kBlocks = 512;
    const size_t warp_bytes = size_t(2 * C * kFloat), warps = std::clamp<size_t>((48 << 10) / warp_bytes, 1, 8);
    Launch rows = streamed(bf16 ? "layernorm_backward_kernel<4, bf16>" : "layernorm_backward_kernel<4, float>",
                           4 * BT * C * S + 2 * BT * kFloat + kBlocks * 2 * C * kFloat);
    rows.least_bytes = 4 * BT * C * S + 2 * BT * kFloat;
    rows.threads = unsigned(warps * 32);
    rows.shared_bytes = warps * warp_bytes;
    return {rows, partial_sums(kBlocks, 2 * C)};
  }

  Launch partial_sums(double parts, double columns) const {
    Launch sums = streamed("add_partial_sums_kernel", (parts + 2) * columns * kFloat);
    sums.least_bytes = 2 * columns * kFloat;
    sums.threads = 512;
    return sums;
  }

  // (M,N) = (M,K) (K,N), the result in numbers of `result_bytes`; added: it is added to what lies there.
  Launch product(double M, double K, double N, double result_bytes, bool added) const {
    Launch gemm;
    gemm.least_bytes = (M * K + K * N) * S + M * N * result_bytes;
    gemm.bytes = gemm.least_bytes + (added ? M * N * result_bytes : 0);
    gemm.flop = 2 * M * K * N;
    for (double row : {M, K, N}) gemm.aligned = gemm.aligned && size_t(row * S) % 16 == 0;
    return gemm;
  }

  // The bias is written to every row of the output first; the product is added to it.
  std::vector<Launch> linear_forward(double I, double O) const {
    Launch bias = streamed(vectors("fill_rows_kernel"), BT * O * S);
    bias.least_bytes = 0;
    return {bias, product(BT, I, O, S, true)};
  }

  // The gradient of the input, that of the weights (which accumulates), and the bias's, for which dout is read again.
  std::vector<Launch> linear_backward(double I, double O) const {
    const double columns = O / (32 * 16 / S), parts = std::min(kSumParts / columns, BT / 64);
    Launch bias = streamed(vectors("column_sums_kernel"), BT * O * S + parts * O * kFloat);
    bias.least_bytes = 0;
    return {product(BT, O, I, S, false), product(I, BT, O, kFloat, true), bias, partial_sums(parts, O)};
  }

  Launch gelu(double arrays) const {
    return streamed(vectors(arrays == 2 ? "gelu_forward_kernel" : "gelu_backward_kernel"), arrays * BT * 4 * C * S);
  }

  // Logits are read twice, once for the largest and the sum, once to be replaced; a block has a row.
  Launch cross_entropy() const {
    Launch rows = streamed(vectors("cross_entropy_kernel"), 2 * BT * V * S);
    rows.threads = 768;
    rows.instructions = BT * V * 14 / kLanes;
    rows.again_bytes = BT * V * S;
    rows.block_bytes = V * S;
    return rows;
  }

  // Sorting compares every position with every other. Each has a row of dwte at most, which is read and written.
  std::vector<Launch> embedding_backward() const {
    Launch sort = streamed("sort_tokens_kernel", BT * 20);
    sort.instructions = BT / 4 * BT / kLanes * 28;
    return {sort, streamed(vectors("embedding_backward_tokens_kernel"), BT * C * S + 2 * std::min(BT, V) * C * kFloat),
            streamed(vectors("embedding_backward_positions_kernel"), BT * C * S + 2 * T * C * kFloat)};
  }

  // Parameters, moments and gradients are read and written; the gradients, to set them to zero, need not be.
  Launch adamw() const {
    Launch update = streamed("adamw_kernel<4>", (32 + (bf16 ? 2 : 0)) * parameters);
    update.least_bytes = (28 + (bf16 ? 2 : 0)) * parameters;
    return update;
  }

  // --- attention: tiled kernels, head size 64 ---
  // A warp takes 16 queries against 16 keys at a time, of which it visits those that are visible. What it executes for
  // such a square of 256 scores was counted in the loops of the PTX, for softmax without masking: instructions in all,
  // those of fp32, mma.
  struct Square {
    double instructions, fp32, mma;
  };

  double squares() const {
    const double across = T / 16;
    return heads * across * (across + 1) / 2;
  }

  Launch attention(const std::string& kernel, const Square& square, double arrays, double row_words) const {
    Launch launch = streamed("tile::" + kernel + (bf16 ? "<bf16, 64>" : "<float, 64>"),
                             arrays * BT * C * S + row_words * heads * T * kFloat);
    launch.instructions = squares() * square.instructions;
    launch.fp32 = squares() * square.fp32;
    launch.mma = squares() * square.mma;
    launch.threads = 128;
    return launch;
  }
  double pairs() const { return heads * T * (T + 1) / 2; }

  // Shared memory: rows of the block (64, or in bf16 in registers), and two stages of two arrays (64 vectors each, fp32
  // 16), padded by 16 bytes a vector; saved words of the queries.
  size_t attention_shared(int lefts, int words) const {
    const size_t vector_bytes = size_t(HS * S) + 16, others = bf16 ? 64 : 16;
    return (bf16 ? 0 : lefts * 64 * vector_bytes) + 4 * others * vector_bytes + 2 * words * others * sizeof(float);
  }

  // Two sweeps: the sum of the exponentials, then the weights. Reads q, k, v, writes out and 3 words a row.
  Launch attention_forward() const {
    Launch launch = attention("forward_kernel", bf16 ? Square{360, 174, 24} : Square{2424, 1728, 0}, 4, 3);
    launch.flop = 4 * pairs() * HS;
    launch.shared_bytes = attention_shared(1, 0);
    return launch;
  }
  // dq: reads q, k, v, dout, out and the rows, writes dq and 2 words a row.
  Launch attention_queries() const {
    Launch launch = attention("backward_query_kernel", bf16 ? Square{316, 171, 24} : Square{2375, 1716, 0}, 6, 5);
    launch.flop = 4 * pairs() * HS;
    launch.shared_bytes = attention_shared(2, 0);
    return launch;
  }
  // dk and dv, with the scores and the weights computed again. Half of what it reads was read before.
  Launch attention_keys() const {
    Launch launch = attention("backward_key_kernel", bf16 ? Square{370, 171, 32} : Square{3200, 2228, 0}, 6, 5);
    launch.least_bytes = 2 * BT * C * S;
    launch.flop = 4 * pairs() * HS;
    launch.shared_bytes = attention_shared(2, 5);
    return launch;
  }

  double C, T, V, L, heads, HS, BT, parameters;
  bool bf16;
  double S;  // bytes of what is stored in the precision of the model
};

}  // namespace

std::vector<Call> calls_of_step(const Config& config, size_t B, Arithmetic arithmetic) {
  return Step(config, B, arithmetic).calls();
}

double model_flop(const Config& config, size_t B) {
  const double C = config.C, linear = config.L * 12.0 * C * C + double(config.V) * C;
  return double(B) * config.T * (6 * linear + config.L * 6.0 * (config.T + 1) * C);
}

// --- what it takes ---------------------------------------------------------------------------------------------------

Budget read_budget(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw Error("--budget is '" + path + "'; it must be a file that can be read");
  Budget budget;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    // "tile::forward_kernel<bf16, 64>   softmax   128   0 ...": the name has spaces after commas alone
    for (size_t comma; (comma = line.find(", ")) != std::string::npos;) line.replace(comma, 2, ",");
    std::istringstream words(line);
    std::string kernel, normalizer;
    Resources resources{};
    words >> kernel >> normalizer >> resources.registers >> resources.shared_bytes;
    if (!words) throw Error("'" + path + "' has the line '" + line + "'; it must name a kernel and its resources");
    for (size_t comma = 0; (comma = kernel.find(',', comma)) != std::string::npos; comma += 2)
      kernel.replace(comma, 1, ", ");
    if (normalizer != "any") budget[kernel] = resources;
  }
  return budget;
}

int blocks_at_once(const Launch& launch, const Gpu& gpu, const Budget& budget) {
  const auto found = budget.find(launch.kernel);
  if (found == budget.end()) throw Error("the budget has no line for the kernel '" + launch.kernel + "'");
  constexpr int kRegisters = 65536, kReserved = 1024;  // of a multiprocessor; shared memory that CUDA takes of a block
  const int warps = int(launch.threads / 32), warp_registers = (found->second.registers * 32 + 255) / 256 * 256;
  const int block_shared = int(launch.shared_bytes) + found->second.shared_bytes + kReserved;
  return std::min({gpu.threads / int(launch.threads), gpu.blocks, kRegisters / (warp_registers * warps),
                   gpu.shared_kbytes * 1024 / block_shared});
}

double occupancy(const Launch& launch, const Gpu& gpu, const Budget& budget) {
  return double(blocks_at_once(launch, gpu, budget)) * launch.threads / gpu.threads;
}

Prediction predict(const Launch& launch, Arithmetic arithmetic, const Gpu& gpu, const Budget& budget) {
  const double bandwidth = gpu.memory_gbytes_per_s * 1e6;  // bytes a millisecond
  const double issue = gpu.multiprocessors * 4 * gpu.clock_ghz * 1e6;
  // Without tensor cores attention runs on fp32 multiply-adds, whatever cuBLAS does.
  const bool tensor = launch.is_product() ? arithmetic != Arithmetic::kFp32 : arithmetic == Arithmetic::kBf16;
  const double peak = (tensor ? gpu.peak_tflops(arithmetic) : gpu.fp32_tflops) * 1e9;

  double bytes = launch.bytes;
  if (launch.again_bytes > 0 &&
      blocks_at_once(launch, gpu, budget) * gpu.multiprocessors * launch.block_bytes > gpu.l2_mbytes * 1048576)
    bytes += launch.again_bytes;
  const double aligned_share = tensor ? kTensorProduct : kFp32Product;
  const double product_share = aligned_share * (launch.aligned ? 1 : tensor ? kUnalignedTensor : kUnalignedFp32);
  double issued = kIssued;
  if (launch.instructions > 0)
    issued = std::min(issued, kIssuedByWarp * blocks_at_once(launch, gpu, budget) * launch.threads / 32 / 4);
  const double mma_flop = 16 * 8 * 16 * 2, fma_flop = 32 * 2;  // of a warp's instruction; other fp32 takes as long

  const std::pair<double, const char*> times[] = {
      {kLeastMs, "launch"},
      {bytes / (bandwidth * kStreamed), "memory"},
      {launch.is_product() ? launch.flop / (peak * product_share) : 0, tensor ? "tensor cores" : "fp32"},
      {launch.instructions / (issue * issued), "instructions"},
      {launch.fp32 * fma_flop / (gpu.fp32_tflops * 1e9 * issued), "fp32"},
      {launch.mma * mma_flop / (gpu.bf16_tflops * 1e9 * gpu.mma_share * issued), "tensor cores"}};
  const auto longest = std::max_element(std::begin(times), std::end(times));
  return {longest->first + kGapMs, std::max(launch.least_bytes / bandwidth, launch.flop / peak), longest->second};
}

Prediction predict(const Call& call, Arithmetic arithmetic, const Gpu& gpu, const Budget& budget) {
  Prediction sum;
  double longest = 0;
  for (const Launch& launch : call.launches) {
    const Prediction one = predict(launch, arithmetic, gpu, budget);
    sum.ms += one.ms;
    sum.roof_ms += one.roof_ms;
    if (one.ms > longest) longest = one.ms, sum.bound = one.bound;
  }
  return sum;
}

StepPrediction predict_step(const Config& config, size_t B, Arithmetic arithmetic, const Gpu& gpu,
                            const Budget& budget) {
  StepPrediction step;
  for (const Call& call : calls_of_step(config, B, arithmetic)) {
    step.ms += call.count * predict(call, arithmetic, gpu, budget).ms;
    step.launches += call.count * double(call.launches.size());
  }
  step.tokens_per_s = double(B) * config.T / step.ms * 1000;
  step.mfu = model_flop(config, B) / (step.ms * gpu.peak_tflops(arithmetic) * 1e9);
  return step;
}
