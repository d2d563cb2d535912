// The first number of a run that is not finite: that it stops the run, what is said of it, and that --check-from names the
// kernel it comes from. The models are poisoned with finite numbers that overflow where a test wants it.
#include <cmath>
#include <filesystem>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "data/token_file.h"
#include "kernels/normalizer/normalizer.h"
#include "tests/catch.h"
#include "tests/compare.h"
#include "tests/error_text.h"
#include "tests/temp_dir.h"
#include "train/checkpoint.h"
#include "train/checkpoint_json.h"
#include "train/nonfinite.h"
#include "train/trainer.h"

using nlohmann::ordered_json;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kHuge = 3e38f;  // twice that is infinite
constexpr int kV = 11, kC = 8, kT = 8, kB = 2, kAccum = 2;
constexpr uint64_t kRarePlace = 37;  // of the only token 10, in both splits

std::vector<int32_t> tokens_with_a_rare_one() {
  std::vector<int32_t> tokens;
  for (int i = 0; i < 97; i++) tokens.push_back(i * 7 % 10);
  tokens[kRarePlace] = 10;
  return tokens;
}

// A model, the tokens it is trained on, and a checkpoint of update 2 that a test may poison first.
struct Run {
  TempDir folder;
  Dataset data;
  Start start;
  std::vector<float> parameters, m, v;

  explicit Run(const std::string& position = "learned") {
    const auto tokens = tokens_with_a_rare_one();
    for (const char* name : {"train.bin", "val.bin"}) {
      TokenWriter writer(folder / name, kV);
      writer.add(tokens.data(), tokens.size());
      writer.finish();
    }
    data = load_dataset(folder.path.string(), kV);
    TrainOptions& options = start.options;
    options.batch_size = kB;
    options.grad_accum = kAccum;
    options.seq_len = kT;
    options.layers = options.heads = 2;
    options.channels = kC;
    options.position = position;
    options.steps = 10;
    options.warmup_steps = 0;
    options.out = folder / "run";
    std::filesystem::create_directory(options.out);
    complete_config(start, kV, "softmax", 0);
    parameters.resize(parameter_floats(start.config));
    m = v = parameters;
    init_parameters(start.config, parameters.data(), 1, 1);
  }

  // A tensor of `block`, to be written to.
  float* in(std::vector<float>& block, const std::string& name) {
    for (const Tensor& tensor : parameter_tensors(start.config))
      if (tensor.name == name) return block.data() + tensor.offset;
    throw std::runtime_error("no tensor is called " + name);
  }
  void fill(const std::string& name, float x) {
    for (const Tensor& tensor : parameter_tensors(start.config))
      if (tensor.name == name) std::fill_n(in(parameters, name), tensor.size, x);
  }
  void poison(const std::string& name, size_t index, float x) { in(parameters, name)[index] = x; }

  // From here on, runs go on from the poisoned parameters.
  void save() {
    TrainerState state;
    state.step = 2;
    state.options = options_to_json(start.options);
    start.checkpoint =
        write_checkpoint(start.options.out, start.config, parameters.data(), m.data(), v.data(), state, 0);
    start.resumed = start.with_optimizer = true;
    start.step = 2;
  }
};

using SoftmaxTrainer = Trainer<named::softmax, fp32>;

struct Stopped {
  std::string text;
  ordered_json record;
};

// What stops updates 3, 4, ... or what else `action` does with a trainer of the run.
Stopped stopped_by(Run& run, int check_from, const std::function<void(SoftmaxTrainer&)>& action) {
  run.start.options.check_from = check_from;
  SoftmaxTrainer trainer(run.start, run.data);
  trainer.load(run.start);
  try {
    action(trainer);
  } catch (const Failure& failure) {
    return {failure.what(), trainer.nonfinite().value()};
  }
  return {};
}
Stopped stopped(Run& run, int check_from = 0) {
  run.save();
  return stopped_by(run, check_from, [](SoftmaxTrainer& trainer) {
    for (uint64_t k = 2; k < 4; k++) trainer.update(k, true);
  });
}

// The MLP of layer 1 adds nothing to the stream, and hands the stream's gradient, some thousandths times ln_f's gain, on
// `factor` times larger.
void enlarge_gradient_of_mlp(Run& run, float factor) {
  run.fill("h.1.mlp.c_fc.weight", 0);
  for (int i = 0; i < 4 * kC; i++) run.poison("h.1.mlp.c_proj.weight", i * kC, factor);
  run.fill("ln_f.weight", 1e3f);
}

// Only the rare token overflows the residual stream.
void poison_rare_token(Run& run) {
  run.start.config.tied = false;
  run.parameters.resize(parameter_floats(run.start.config));
  init_parameters(run.start.config, run.parameters.data(), 1, 1);
  run.m = run.v = std::vector<float>(run.parameters.size());
  run.poison("wte.weight", 10 * kC + 3, kHuge);
  for (int t = 0; t < kT; t++) run.poison("wpe.weight", t * kC + 3, kHuge);
}

}  // namespace

TEST_CASE("layers and coordinates of tensors", "[core][nonfinite]") {
  CHECK(layer_of("h.0.ln_1.mean") == 0);
  CHECK(layer_of("exp_avg_sq.h.11.mlp.c_fc.weight") == 11);
  for (const char* name : {"wte.weight", "ln_f.rstd", "lm_head.weight.grad", "d_c", "exp_avg.wpe.weight"})
    CHECK_FALSE(layer_of(name));
  CHECK(coordinates(0, {2, 3, 4}) == std::vector<size_t>{0, 0, 0});
  CHECK(coordinates(23, {2, 3, 4}) == std::vector<size_t>{1, 2, 3});
  CHECK(coordinates(17, {2, 3, 4}) == std::vector<size_t>{1, 1, 1});
  CHECK(coordinates(5, {8}) == std::vector<size_t>{5});
}

TEST_CASE("the sentence and the record of a number that is not finite", "[core][nonfinite]") {
  NonFinite found{7, "loss", "h.3.attn.qkv", 3, {2, 5, 24}, 137, kNaN, {"train", {320, 8}, 8, 0, 1}, 1};
  CHECK(sentence(found) ==
        "update 7: the loss is not finite: the first such number is NaN in layer 3, tensor h.3.attn.qkv at (1, 0, 17), "
        "index 137; row 1 of micro-batch 1 in epoch 0 is tokens 8 to 15 of the training data");
  CHECK(to_json(found) ==
        ordered_json::parse(
            R"({"event":"nonfinite","step":7,"what":"loss","tensor":"h.3.attn.qkv","index":137,"place":[1,0,17],)"
            R"("layer":3,"value":"NaN","batch":{"split":"train","epoch":0,"micro_batch":1,"row":1,"row_tokens":8,)"
            R"("row_begins":[320,8]}})"));

  found = {7, "gradient", "wte.weight", {}, {11, 8}, 9, -kInfinity, {"train", {0, 8, 16, 24, 32, 40}, 8, 2, {}}, {}};
  CHECK(sentence(found) ==
        "update 7: the gradient is not finite: the first such number is -infinity in tensor wte.weight at (1, 1), "
        "index 9; the rows in epoch 2 are tokens 0 to 7, tokens 8 to 15, tokens 16 to 23, tokens 24 to 31 and 2 more "
        "that metrics.jsonl lists, of the training data");
  found.value = kInfinity;
  found.rows = {"val", {8}, 3, {}, {}};
  found.row = 0;
  CHECK(contains(sentence(found), "is infinity in"));
  CHECK(contains(sentence(found), "row 0 is tokens 8 to 10 of the validation data"));
  CHECK(to_json(found)["layer"].is_null());
  CHECK(to_json(found)["batch"]["epoch"].is_null());
}

TEST_CASE("the row that a loss which is not finite comes from is named", "[core][nonfinite]") {
  Run run;
  poison_rare_token(run);
  run.save();
  const auto order = shuffled_windows((97 - 1) / kT, run.start.options.data_seed, 0);
  const size_t place = size_t(std::find(order.begin(), order.end(), kRarePlace / kT) - order.begin());
  const uint64_t update = place / (kB * kAccum), begin = kRarePlace / kT * kT;
  const size_t micro = place / kB % kAccum, row = place % kB;

  for (int check_from : {0, 1}) {
    const auto [text, record] = stopped_by(run, check_from, [&](SoftmaxTrainer& trainer) {
      for (uint64_t k = 0; k < 3; k++) trainer.update(k, false);  // an epoch
    });
    INFO(text);
    CHECK(record["step"] == update + 1);
    CHECK(record["what"] == (check_from ? "output of embedding_forward" : "loss"));
    CHECK(record["tensor"] == "h.0.stream");
    CHECK(record["layer"] == 0);
    CHECK(record["value"] == "infinity");
    CHECK(record["place"] == ordered_json({row, kRarePlace - begin, 3}));
    CHECK(record["index"] == (row * kT + kRarePlace - begin) * kC + 3);
    CHECK(record["batch"]["epoch"] == 0);
    CHECK(record["batch"]["micro_batch"] == micro);
    CHECK(record["batch"]["row"] == row);
    CHECK(record["batch"]["row_begins"][row] == begin);
    CHECK(contains(text, "update " + std::to_string(update + 1) + ": the "));
    CHECK(contains(text, "row " + std::to_string(row) + " of micro-batch " + std::to_string(micro) +
                             " in epoch 0 is tokens 32 to 39 of the training data"));
    const std::string command =
        "train --resume --out " + run.start.options.out + " --check-from " + std::to_string(update + 1);
    CHECK(contains(text, command) == (check_from == 0));
  }
}

TEST_CASE("the window that a validation loss which is not finite comes from is named", "[core][nonfinite]") {
  for (int check_from : {0, 3, 4}) {
    Run run;
    poison_rare_token(run);
    run.save();
    const auto [text, record] = stopped_by(run, check_from, [&](SoftmaxTrainer& trainer) {
      trainer.evaluate_val(2, UINT64_MAX);  // the next update is the third
    });
    INFO(text);
    CHECK(record["step"] == 2);
    CHECK(record["what"] == (check_from == 3 ? "output of embedding_forward" : "validation loss"));
    CHECK(record["place"] == ordered_json({0, kRarePlace % kT, 3}));
    CHECK(record["batch"]["row_begins"] == ordered_json({32, 40}));
    CHECK(contains(text, "row 0 is tokens 32 to 39 of the validation data"));
    CHECK(contains(text, "--check-from 2") == (check_from != 3));
  }
}

TEST_CASE("the last window of a validation may be shorter", "[core][nonfinite]") {
  Run run;
  poison_rare_token(run);
  run.save();
  const auto [text, record] =
      stopped_by(run, 0, [&](SoftmaxTrainer& trainer) { trainer.evaluate_val(2, kRarePlace + 2); });
  INFO(text);  // windows of 8 from 0 to 31, then one of 7
  CHECK(record["place"] == ordered_json({0, 5, 3}));
  CHECK(record["batch"]["row_tokens"] == 7);
}

TEST_CASE("checks name the kernel, the layer and the tensor where an overflow happens first", "[core][nonfinite]") {
  struct Case {
    const char *kernel, *tensor;
    std::optional<int> layer;
    std::function<void(Run&)> poison;
  };
  const std::string scores = "h.1.attn.c_attn.bias";
  const std::vector<Case> cases = {
      {"residual_layernorm_forward", "h.1.ln_1", 1, [](Run& r) { r.fill("h.1.ln_1.weight", kHuge); }},
      {"residual_layernorm_forward", "h.0.stream_mid", 0,
       [](Run& r) {
         for (int t = 0; t < kT; t++) r.poison("wpe.weight", t * kC + 3, kHuge);
         r.poison("h.0.attn.c_proj.bias", 3, kHuge);
       }},
      {"residual_layernorm_forward",
       "stream",
       {},
       [](Run& r) {
         r.poison("h.1.attn.c_proj.bias", 3, kHuge);
         r.poison("h.1.mlp.c_proj.bias", 3, kHuge);
       }},
      {"residual_layernorm_forward", "ln_f", {}, [](Run& r) { r.fill("ln_f.weight", kHuge); }},
      {"matmul_forward", "h.1.attn.qkv", 1,
       [](Run& r) { r.fill("h.1.ln_1.bias", 1e20f), r.fill("h.1.attn.c_attn.weight", 1e20f); }},
      {"attention_forward", "h.1.attn.out", 1, [](Run& r) { r.fill("h.1.attn.c_attn.bias", 1e30f); }},
      {"matmul_forward", "branch", 1,
       [](Run& r) {
         r.fill("h.1.attn.c_attn.weight", 0);
         r.fill("h.1.attn.c_attn.bias", 1e10f);
         r.fill("h.1.attn.c_proj.weight", kHuge);
       }},
      {"matmul_forward", "h.0.mlp.fc", 0,
       [](Run& r) { r.fill("h.0.ln_2.bias", 1e20f), r.fill("h.0.mlp.c_fc.weight", 1e20f); }},
      {"matmul_forward", "branch", 0,
       [](Run& r) {
         r.fill("h.0.mlp.c_fc.bias", 1e10f);
         r.fill("h.0.mlp.c_proj.weight", kHuge);
       }},
      {"matmul_forward", "logits", {}, [](Run& r) { r.fill("ln_f.bias", 1e20f), r.fill("wte.weight", 1e20f); }},
      {"cross_entropy_forward_backward",
       "losses",
       {},
       [](Run& r) {
         r.fill("ln_f.weight", 0);
         r.fill("ln_f.bias", 1);
         r.fill("wte.weight", 3.5e37f);
         for (int c = 0; c < kC; c++) r.poison("wte.weight", 3 * kC + c, -3.5e37f);
       }},
      {"matmul_backward", "d_fc", 1, [](Run& r) { enlarge_gradient_of_mlp(r, kHuge); }},
  };
  for (const Case& c : cases) {
    Run run;
    c.poison(run);
    const auto [text, record] = stopped(run, 3);
    INFO(c.kernel << ", " << c.tensor << ": " << text);
    REQUIRE_FALSE(record.is_null());
    CHECK(record["step"] == 3);
    CHECK(record["what"] == std::string("output of ") + c.kernel);
    CHECK(record["tensor"] == c.tensor);
    CHECK((c.layer ? record["layer"] == *c.layer : record["layer"].is_null()));
    CHECK_FALSE(contains(text, "--check-from"));
    Run again;
    c.poison(again);
    const auto unchecked = stopped(again);
    CHECK(contains(unchecked.text, "--check-from 3"));
    CHECK((unchecked.record["what"] == "loss" || unchecked.record["what"] == "gradient"));
  }
}

TEST_CASE("a gradient that is not finite names all rows of its update", "[core][nonfinite]") {
  Run run;
  enlarge_gradient_of_mlp(run, kHuge);
  const auto [text, record] = stopped(run);
  INFO(text);
  CHECK(record["what"] == "gradient");
  CHECK(record["tensor"] == "h.1.mlp.c_fc.bias");
  CHECK(record["batch"]["micro_batch"].is_null());
  CHECK(record["batch"]["row"].is_null());
  CHECK(record["batch"]["row_begins"].size() == kB * kAccum);
  CHECK(contains(text, "the rows in epoch 0 are tokens "));
}

TEST_CASE("a weight or a moment that AdamW makes infinite stops the update that makes it", "[core][nonfinite]") {
  for (int check_from : {0, 1}) {
    Run run;
    run.start.options.schedule = "constant";
    run.start.options.lr = 3e38;
    const auto [text, record] = stopped(run, check_from);
    INFO(text);
    CHECK(record["step"] == 3);
    CHECK(record["what"] == "weight that adamw_update wrote");

    Run moment;  // the gradient is finite, its square is not
    moment.start.options.grad_clip = 0;
    enlarge_gradient_of_mlp(moment, 1e25f);
    const auto of_moment = stopped(moment, check_from);
    INFO(of_moment.text);
    REQUIRE_FALSE(of_moment.record.is_null());
    CHECK(of_moment.record["step"] == 3);
    CHECK(of_moment.record["what"] == "moment that adamw_update wrote");
    CHECK(of_moment.record["value"] == "infinity");
    CHECK(contains(of_moment.record["tensor"], "exp_avg_sq.h."));
  }
}

TEST_CASE("training starts from finite numbers alone", "[core][nonfinite]") {
  for (const char* block : {"", "exp_avg.", "exp_avg_sq."})
    for (float x : {kNaN, kInfinity, -kInfinity}) {
      Run run;
      (*block == 0 ? run.parameters : block == std::string("exp_avg.") ? run.m : run.v)[0] = x;
      run.save();
      SoftmaxTrainer trainer(run.start, run.data);
      const std::string text = error_text([&] { trainer.load(run.start); });
      CHECK(contains(text, "checkpoint '" + run.start.checkpoint + "' holds " + value_text(x) + " in tensor " + block +
                               "wte.weight at index 0"));
    }
}

TEST_CASE("a checked run has the bits of an unchecked one", "[core][nonfinite]") {
  auto results = [](int check_from) {
    Run run("rope");
    run.start.options.check_from = check_from;
    SoftmaxTrainer trainer(run.start, run.data);
    std::vector<double> numbers;
    const auto lines = trainer.load(run.start);
    CHECK(lines.size() == size_t(check_from > 0));
    for (uint64_t k = 0; k < 3; k++) {
      const auto update = trainer.update(k, k == 1);
      numbers.insert(numbers.end(), {update.loss, update.grad_norm, double(update.attention.size())});
    }
    numbers.push_back(trainer.evaluate_val(3, UINT64_MAX).nats);
    return numbers;
  };
  CHECK(results(1) == results(0));
  CHECK(results(3) == results(0));
}
