// Checkpoints: what is saved comes back bit for bit, what Hugging Face wrote is understood, and nothing damaged is
// loaded.
#include <signal.h>
#include <sys/resource.h>

#include <bit>
#include <cstdlib>
#include <cstring>
#include <set>

#include "data/sha256.h"
#include "data/strict_json.h"
#include "model/buffer.h"
#include "model/parameters.h"
#include "tests/catch.h"
#include "tests/error_text.h"
#include "tests/temp_dir.h"
#include "train/checkpoint.h"
#include "train/checkpoint_json.h"
#include "train/safetensors.h"

namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

constexpr auto kWeights = CheckpointUse::kWeights;
constexpr auto kTraining = CheckpointUse::kTraining;

Config tiny(const std::string& normalizer = "softmax", int normalizer_params = 0,
            Position position = Position::kLearned, bool tied = true) {
  Config config;
  config.L = 2;
  config.NH = 2;
  config.C = 8;
  config.T = 7;
  config.V = 11;
  config.position = position;
  config.tied = tied;
  config.normalizer = normalizer;
  config.normalizer_params = normalizer_params;
  config.length_scale = normalizer == "learned_scale";
  return config;
}

// A block of tensors in which every number has other bits: NaNs, infinities and subnormals among them.
Buffer any_bits(const Config& config, uint32_t seed) {
  Buffer block(parameter_floats(config));
  for (const Tensor& tensor : parameter_tensors(config))
    for (size_t i = 0; i < tensor.size; i++) {
      seed = seed * 1664525u + 1013904223u;
      block.data()[tensor.offset + i] = std::bit_cast<float>(seed);
    }
  return block;
}

bool same_bits(const Buffer& a, const Buffer& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

struct Model {
  Config config;
  Buffer parameters, m, v;
  TrainerState state;

  explicit Model(const Config& of, uint64_t step = 500)
      : config(of), parameters(any_bits(of, 1)), m(any_bits(of, 2)), v(any_bits(of, 3)) {
    state.step = step;
    state.tokens = step << 40;
    state.seed = 18446744073709551615u;
    state.data_seed = 3;
    state.data_sha256 = {{"train.bin", sha256_hex("train")}, {"val.bin", sha256_hex("val")}};
    state.options = {{"lr", 0.1 + 0.2}, {"untied", false}, {"out", "runs/\"ä\""}, {"min-lr", nullptr}};
  }

  std::string write(const std::string& run, int keep = 0) const {
    return write_checkpoint(run, config, parameters.data(), m.data(), v.data(), state, keep);
  }
  std::string write(const std::string& run, uint64_t step, int keep) {
    state.step = step;
    return write(run, keep);
  }
};

std::set<std::string> names_in(const std::string& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.insert(entry.path().filename().string());
  return names;
}

// Changes one bit of a file in place.
void flip(const std::string& path, size_t byte, int bit) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(std::streamoff(byte));
  const char changed = char(file.get() ^ (1 << bit));
  file.seekp(std::streamoff(byte));
  file.put(changed);
  if (!file.flush()) throw std::runtime_error(path + " has no byte " + std::to_string(byte));
}

Json parsed(const std::string& text) { return parse_strict_json<Json>(text, "'config.json'"); }

// The published config.json of GPT-2, and what transformers 5 writes in addition.
const char* const kPublished = R"({
  "activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1, "bos_token_id": 50256,
  "embd_pdrop": 0.1, "eos_token_id": 50256, "initializer_range": 0.02, "layer_norm_epsilon": 1e-05,
  "model_type": "gpt2", "n_ctx": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12, "n_positions": 1024,
  "resid_pdrop": 0.1, "summary_activation": null, "summary_first_dropout": 0.1, "summary_proj_to_labels": true,
  "summary_type": "cls_index", "summary_use_proj": true,
  "task_specific_params": {"text-generation": {"do_sample": true, "max_length": 50}}, "vocab_size": 50257})";
const char* const kByTransformers5 = R"({
  "add_cross_attention": false, "dtype": "float32", "n_inner": null, "pad_token_id": null,
  "reorder_and_upcast_attn": false, "scale_attn_by_inverse_layer_idx": false, "scale_attn_weights": true,
  "tie_word_embeddings": true, "transformers_version": "5.23.0", "use_cache": true})";

// A folder as Hugging Face writes it, for tiny(): its tensors, and what a test adds.
struct HuggingFaceFolder {
  TempDir temporary;
  std::string folder = temporary.path.string();
  Config config;
  Buffer parameters;
  std::vector<TensorSpan> spans;

  explicit HuggingFaceFolder(const std::string& prefix = "transformer.", const Config& of = tiny())
      : config(of), parameters(any_bits(of, 5)) {
    Json json = config_to_json(config);
    json.erase("normalizer");
    json.erase("position");
    json.erase("rope_theta");
    write_file(temporary / "config.json", json.dump());
    for (const Tensor& tensor : parameter_tensors(config))
      spans.push_back({(tensor.name == "lm_head.weight" ? "" : prefix) + tensor.name, tensor.shape,
                       parameters.data() + tensor.offset});
  }

  void write() { write_safetensors(temporary / "model.safetensors", spans); }

  Buffer load() {
    write();
    Buffer block(parameter_floats(config));
    load_parameters(find_checkpoint(folder, kWeights).path, load_config(folder), block.data(), LoadMode::kExact);
    return block;
  }

  std::string complaint() {
    return error_text([&] { load(); });
  }

  TensorSpan& span(const std::string& name) {
    for (TensorSpan& span : spans)
      if (span.name == name) return span;
    throw std::out_of_range(name);
  }
};

}  // namespace

TEST_CASE("checkpoints come back bit for bit", "[core][checkpoint]") {
  const Config configs[] = {tiny(),
                            tiny("sa_softmax", 0, Position::kRope, false),
                            tiny("ssmax", 1, Position::kAlibi, true),
                            tiny("ssmax_bias", 2, Position::kNone, false),
                            tiny("ssmax_bias", 2, Position::kLearned, true),
                            tiny("learned_scale", 2, Position::kRope, true)};
  for (const Config& config : configs) {
    TempDir run;
    const Model model(config);
    const std::string folder = model.write(run.path.string());
    CHECK(folder == run / "checkpoints/step-00000500");
    CHECK(names_in(run / "checkpoints") == std::set<std::string>{"step-00000500"});
    CHECK(names_in(folder) == std::set<std::string>{"SHA256SUMS", "config.json", "model.safetensors",
                                                    "optimizer.safetensors", "trainer_state.json"});
    CHECK_NOTHROW(verify_checkpoint(folder, kTraining));
    CHECK(load_config(folder) == config);
    CHECK(load_trainer_state(folder) == model.state);
    Buffer parameters(parameter_floats(config)), m(parameter_floats(config)), v(parameter_floats(config));
    CHECK(load_parameters(folder, config, parameters.data(), LoadMode::kExact).empty());
    CHECK(load_optimizer(folder, config, m.data(), v.data(), LoadMode::kExact).empty());
    CHECK(same_bits(parameters, model.parameters));
    CHECK(same_bits(m, model.m));
    CHECK(same_bits(v, model.v));

    // The tensors stand in the order of the model and are named as in the published checkpoints.
    SafetensorsFile weights(folder + "/model.safetensors");
    CHECK(weights.contains("wte.weight"));
    CHECK(weights.contains("lm_head.weight") == !config.tied);
    CHECK(weights.contains("normalizer.length_scale") == config.length_scale);
    CHECK(weights.tensors().at("wte.weight").begin == 0);
    SafetensorsFile moments(folder + "/optimizer.safetensors");
    CHECK(moments.names().size() == 2 * parameter_tensors(config).size());
    CHECK(moments.shape("exp_avg_sq.h.1.attn.c_attn.weight") == std::vector<size_t>{8, 24});
  }
}

TEST_CASE("the same state gives the same bytes", "[core][checkpoint]") {
  TempDir a, b;
  const Model model(tiny("ssmax", 1));
  CHECK(read_file(model.write(a.path.string()) + "/SHA256SUMS") ==
        read_file(model.write(b.path.string()) + "/SHA256SUMS"));
}

TEST_CASE("sha256sum -c reads the sums", "[core][checkpoint]") {
  if (std::system("command -v sha256sum > /dev/null 2>&1") != 0) return;
  TempDir run;
  const std::string folder = Model(tiny()).write(run.path.string());
  const std::string check = "cd '" + folder + "' && sha256sum --strict --status -c SHA256SUMS 2> /dev/null";
  CHECK(std::system(check.c_str()) == 0);
  flip(folder + "/trainer_state.json", 20, 0);
  CHECK(std::system(check.c_str()) != 0);
}

TEST_CASE("config.json claims to be a GPT-2 only where it is one", "[core][checkpoint]") {
  const Json gpt2 = config_to_json(tiny());
  CHECK(gpt2["model_type"] == "gpt2");
  CHECK(gpt2["architectures"] == Json::array({"GPT2LMHeadModel"}));
  CHECK(gpt2["n_positions"] == 7);
  CHECK(gpt2["activation_function"] == "gelu_new");
  for (const Config& config :
       {tiny("sa_softmax"), tiny("softmax", 0, Position::kRope), tiny("softmax", 0, Position::kLearned, false)}) {
    const Json other = config_to_json(config);
    CHECK(other["model_type"] == "attnorm-gpt");
    CHECK(other["architectures"] == Json::array({"AttnormGPT"}));
    CHECK(config_from_json(other, "'config.json'") == config);
  }
  Config rope = tiny("ssmax_bias", 2, Position::kRope);
  rope.rope_theta = 1234.56789;
  CHECK(config_from_json(parsed(config_to_json(rope).dump()), "'config.json'") == rope);
}

TEST_CASE("a config.json of Hugging Face's GPT-2 is accepted", "[core][checkpoint]") {
  Json json = parsed(kPublished);
  Config expected;
  expected.L = expected.NH = 12;
  expected.C = 768;
  expected.T = 1024;
  expected.V = 50257;
  expected.position = Position::kLearned;
  CHECK(config_from_json(json, "'config.json'") == expected);
  json.update(parsed(kByTransformers5));
  CHECK(config_from_json(json, "'config.json'") == expected);
  json["n_inner"] = 3072;
  json["activation_function"] = "gelu_pytorch_tanh";  // another name of the same function
  json["some_new_switch"] = false;
  json["some_new_list"] = Json::array();
  CHECK(config_from_json(json, "'config.json'") == expected);
  json["tie_word_embeddings"] = false;
  expected.tied = false;
  CHECK(config_from_json(json, "'config.json'") == expected);
}

TEST_CASE("a config.json that this program does not compute is refused by key", "[core][checkpoint]") {
  const char* const changes[] = {R"({"model_type": "llama"})",
                                 R"({"model_type": 2})",
                                 R"({"n_layer": 0})",
                                 R"({"n_layer": -1})",
                                 R"({"n_layer": 2.5})",
                                 R"({"n_head": "2"})",
                                 R"({"n_embd": 4294967297})",
                                 R"({"vocab_size": null})",
                                 R"({"n_positions": true})",
                                 R"({"activation_function": "gelu"})",
                                 R"({"activation_function": "relu"})",
                                 R"({"layer_norm_epsilon": 1e-06})",
                                 R"({"layer_norm_epsilon": "1e-05"})",
                                 R"({"n_inner": 33})",
                                 R"({"n_inner": "32"})",
                                 R"({"scale_attn_weights": false})",
                                 R"({"scale_attn_by_inverse_layer_idx": true})",
                                 R"({"add_cross_attention": true})",
                                 R"({"pruned_heads": {"0": [1]}})",
                                 R"({"quantization_config": {"bits": 4}})",
                                 R"({"rope_scaling": {"factor": 2}})",
                                 R"({"hidden_size": 8})",
                                 R"({"attn_logit_softcapping": 30.0})",
                                 R"({"position": "rope"})",
                                 R"({"position": "sinusoidal"})",
                                 R"({"normalizer": "ssmax"})",
                                 R"({"normalizer": "hardmax"})",
                                 R"({"normalizer": null})",
                                 R"({"rope_theta": 0, "position": "rope"})",
                                 R"({"tie_word_embeddings": 1})"};
  for (const char* change : changes) {
    Json json = config_to_json(tiny());
    const Json update = parsed(change);
    json.update(update);
    const std::string text = error_text([&] { config_from_json(json, "'X/config.json'"); });
    INFO(change << " -> " << text);
    CHECK(text.starts_with("'X/config.json'"));
    std::string key = update.begin().key();
    if (key == "rope_theta") key = "position";  // RoPE is refused before its base: model_type is gpt2
    CHECK((contains(text, key) || contains(text, "RoPE")));
    CHECK_FALSE(contains(text, "\n"));
  }
}

TEST_CASE("a config.json lacks nothing that makes a model another one", "[core][checkpoint]") {
  for (const char* key : {"model_type", "n_layer", "n_head", "n_embd", "n_positions", "vocab_size", "position",
                          "tie_word_embeddings", "normalizer"}) {
    Json json = config_to_json(tiny("ssmax", 1, Position::kRope));
    json.erase(key);
    CHECK(contains(error_text([&] { config_from_json(json, "'X/config.json'"); }),
                   "'X/config.json' lacks the key '" + std::string(key) + "'"));
  }
  Json json = config_to_json(tiny());
  json["n_head"] = 3;  // does not divide 8 channels
  CHECK(
      contains(error_text([&] { config_from_json(json, "'X/config.json'"); }), "'X/config.json': the number of heads"));
  CHECK(contains(error_text([&] { config_from_json(Json::array(), "'X/config.json'"); }), "must be a JSON object"));
}

TEST_CASE("a trainer_state.json is read strictly", "[core][checkpoint]") {
  const TrainerState state = Model(tiny()).state;
  const Json good = trainer_state_to_json(state);
  CHECK(trainer_state_from_json(parsed(good.dump()), "'s.json'") == state);
  for (const auto& [key, value] : good.items()) {
    Json json = good;
    json.erase(key);
    CHECK(contains(error_text([&] { trainer_state_from_json(json, "'s.json'"); }), "lacks the key '" + key + "'"));
    for (const Json& wrong : {Json(-1), Json(1.5), Json("1"), Json(nullptr), Json::array({1})}) {
      json[key] = wrong;
      const std::string text = error_text([&] { trainer_state_from_json(json, "'s.json'"); });
      INFO(key << " = " << wrong << " -> " << text);
      CHECK(contains(text, "'s.json' has " + key + " = "));
    }
  }
  Json json = good;
  json["schema"] = 2;
  CHECK(contains(error_text([&] { trainer_state_from_json(json, "'s.json'"); }), "schema = 2; it must be 1"));
  json = good;
  json["extra"] = 1;
  CHECK(contains(error_text([&] { trainer_state_from_json(json, "'s.json'"); }), "'extra'"));
  json = good;
  json["data_sha256"]["train.bin"] = "ABC";
  CHECK(contains(error_text([&] { trainer_state_from_json(json, "'s.json'"); }), "data_sha256"));
}

TEST_CASE("any changed bit of a checkpoint is noticed", "[core][checkpoint]") {
  TempDir run;
  const std::string folder = Model(tiny("ssmax", 1)).write(run.path.string());
  for (const std::string& name : names_in(folder)) {
    const std::string path = folder + "/" + name, content = read_file(path);
    const size_t stride = name == "SHA256SUMS" ? 1 : content.size() / 40;
    int unnoticed = 0;
    auto look = [&] { unnoticed += error_text([&] { verify_checkpoint(folder, kWeights); }).empty(); };
    for (size_t byte = 0; byte < content.size(); byte += stride)
      for (int bit = 0; bit < 8; bit++) {
        flip(path, byte, bit);
        look();
        flip(path, byte, bit);
      }
    CHECK_NOTHROW(verify_checkpoint(folder, kTraining));
    for (size_t cut = 1; cut <= content.size(); cut += stride) {
      fs::resize_file(path, content.size() - cut);
      look();
    }
    INFO(name);
    CHECK(unnoticed == 0);
    write_file(path, content);
  }
  CHECK_NOTHROW(verify_checkpoint(folder, kTraining));
  flip(folder + "/optimizer.safetensors", 5000, 3);
  CHECK(contains(error_text([&] { verify_checkpoint(folder, kTraining); }),
                 "'" + folder + "/optimizer.safetensors' is damaged"));
}

TEST_CASE("training goes on only from a complete checkpoint", "[core][checkpoint]") {
  TempDir run;
  const std::string folder = Model(tiny()).write(run.path.string());
  for (const std::string& name : names_in(folder)) {
    fs::rename(folder + "/" + name, run / "away");
    CHECK(contains(error_text([&] { verify_checkpoint(folder, kTraining); }), "lacks the file " + name));
    fs::rename(run / "away", folder + "/" + name);
  }
  // Without sums the weights still serve, and so they do alone.
  fs::remove(folder + "/SHA256SUMS");
  fs::remove(folder + "/optimizer.safetensors");
  fs::remove(folder + "/trainer_state.json");
  CHECK(find_checkpoint(folder, kWeights).path == folder);
  // Sums that are there must hold for what is loaded, and stay inside the folder.
  write_file(folder + "/SHA256SUMS", sha256_file(folder + "/config.json") + "  config.json\n");
  CHECK(contains(error_text([&] { verify_checkpoint(folder, kWeights); }), "does not list model.safetensors"));
  write_file(folder + "/SHA256SUMS", sha256_hex("") + "  ../config.json\n");
  CHECK(contains(error_text([&] { verify_checkpoint(folder, kWeights); }), "line 1"));
}

TEST_CASE("only the newest checkpoints are kept", "[core][checkpoint]") {
  TempDir run;
  Model model(tiny());
  auto kept = [&] { return names_in(run / "checkpoints"); };
  for (uint64_t step : {100, 200, 300}) model.write(run.path.string(), step, 0);
  CHECK(kept() == std::set<std::string>{"step-00000100", "step-00000200", "step-00000300"});
  model.write(run.path.string(), 400, 2);
  CHECK(kept() == std::set<std::string>{"step-00000300", "step-00000400"});
  // Step 400 was damaged and the run went on from an earlier one: what it writes now is not taken for the oldest.
  model.write(run.path.string(), 350, 1);
  CHECK(kept() == std::set<std::string>{"step-00000350", "step-00000400"});
  model.write(run.path.string(), 123456789012, 1);
  CHECK(kept() == std::set<std::string>{"step-123456789012"});
  CHECK(newest_checkpoint(run.path.string(), kTraining).path == run / "checkpoints/step-123456789012");
}

TEST_CASE("what is not a checkpoint's folder is left alone", "[core][checkpoint]") {
  TempDir run;
  Model model(tiny());
  const std::set<std::string> others{"step-1", "step-00000001x", "step-000000001", "notes.tmp", "step-.tmp"};
  for (const std::string& name : others) fs::create_directories(run / ("checkpoints/" + name));
  model.write(run.path.string(), 2, 1);
  model.write(run.path.string(), 3, 1);
  std::set<std::string> expected = others;
  expected.insert("step-00000003");
  CHECK(names_in(run / "checkpoints") == expected);
  CHECK(newest_checkpoint(run.path.string(), kTraining).path == run / "checkpoints/step-00000003");
}

TEST_CASE("folders that a killed run left are ignored, then removed", "[core][checkpoint]") {
  TempDir run;
  Model model(tiny());
  const std::string folder = model.write(run.path.string(), 100, 0);
  fs::copy(folder, run / "checkpoints/step-00000200.tmp");
  write_file(run / "checkpoints/step-00000200.tmp/model.safetensors.tmp", "half");
  CHECK(newest_checkpoint(run.path.string(), kTraining).path == folder);
  CHECK(newest_checkpoint(run.path.string(), kTraining).warnings.empty());
  fs::rename(run / "checkpoints/step-00000200.tmp", run / "checkpoints/step-00000300.tmp");
  fs::create_directory(run / "checkpoints/step-00000200.tmp");
  model.write(run.path.string(), 300, 0);
  CHECK(names_in(run / "checkpoints") == std::set<std::string>{"step-00000100", "step-00000300"});
  CHECK_NOTHROW(verify_checkpoint(run / "checkpoints/step-00000300", kTraining));
}

TEST_CASE("a checkpoint replaces another one of its step", "[core][checkpoint]") {
  TempDir run;
  Model model(tiny());
  const std::string folder = model.write(run.path.string(), 100, 0);
  flip(folder + "/model.safetensors", 3000, 1);
  write_file(folder + "/surplus", "x");
  model.state.tokens = 77;
  CHECK(model.write(run.path.string(), 100, 1) == folder);
  CHECK_NOTHROW(verify_checkpoint(folder, kTraining));
  CHECK(load_trainer_state(folder).tokens == 77);
  CHECK_FALSE(fs::exists(folder + "/surplus"));
  CHECK(names_in(run / "checkpoints") == std::set<std::string>{"step-00000100"});
}

TEST_CASE("the newest intact checkpoint is taken", "[core][checkpoint]") {
  TempDir run;
  const std::string path = run.path.string();
  Model model(tiny());
  CHECK(newest_checkpoint(path, kTraining).path.empty());
  fs::create_directory(run / "checkpoints");
  CHECK(newest_checkpoint(path, kTraining).path.empty());
  CHECK(contains(error_text([&] { find_checkpoint(path, kWeights); }), "has no checkpoint yet"));

  const std::string first = model.write(path, 100, 0), second = model.write(path, 200, 0);
  CHECK(find_checkpoint(path, kTraining).path == second);
  CHECK(find_checkpoint(path + "/", kTraining).path == second);
  flip(second + "/config.json", 10, 0);
  for (const FoundCheckpoint& found : {newest_checkpoint(path, kTraining), find_checkpoint(path, kWeights)}) {
    CHECK(found.path == first);
    REQUIRE(found.warnings.size() == 1);
    CHECK(contains(found.warnings[0], "'" + second + "/config.json' is damaged"));
  }
  CHECK(contains(error_text([&] { find_checkpoint(second, kWeights); }), "'" + second + "/config.json' is damaged"));
  fs::remove(first + "/SHA256SUMS");
  const std::string text = error_text([&] { newest_checkpoint(path, kTraining); });
  CHECK(contains(text, "no checkpoint of the run '" + path + "' is intact"));
  CHECK(contains(text, second));
}

TEST_CASE("what is neither a checkpoint nor a run is refused", "[core][checkpoint]") {
  TempDir folder;
  CHECK(contains(error_text([&] { find_checkpoint(folder / "none", kWeights); }), "does not exist"));
  CHECK(contains(error_text([&] { find_checkpoint(folder.path.string(), kWeights); }), "lacks config.json"));
  write_file(folder / "model.bin", "x");
  CHECK(contains(error_text([&] { find_checkpoint(folder / "model.bin", kWeights); }), "is a file"));
  write_file(folder / "config.json", "{}");
  CHECK(contains(error_text([&] { find_checkpoint(folder.path.string(), kWeights); }), "lacks the file model"));
  CHECK(contains(error_text([&] { load_config(folder / "none"); }), "config.json' does not exist"));
  CHECK(contains(error_text([&] { load_config(folder.path.string()); }), "lacks the key 'model_type'"));
  write_file(folder / "config.json", "{\"a\": 1,\n\"a\": 2}");
  CHECK(contains(error_text([&] { load_config(folder.path.string()); }), "the key 'a' twice"));
  write_file(folder / "trainer_state.json", "{\"step\": ");
  CHECK(
      contains(error_text([&] { load_trainer_state(folder.path.string()); }), "trainer_state.json' is not valid JSON"));
}

TEST_CASE("a disk that refuses leaves the former checkpoints", "[core][checkpoint]") {
  TempDir run;
  Model model(tiny());
  const std::string folder = model.write(run.path.string(), 100, 0);
  const std::string sums = read_file(folder + "/SHA256SUMS");

  // A limit on the size of files stands for a full disk: every write beyond it fails.
  rlimit former;
  REQUIRE(getrlimit(RLIMIT_FSIZE, &former) == 0);
  auto handler = signal(SIGXFSZ, SIG_IGN);
  for (size_t limit : {1, 300, 700, 8000, 12000, 20000}) {
    const rlimit full{limit, former.rlim_max};
    std::string message;
    setrlimit(RLIMIT_FSIZE, &full);
    try {
      model.write(run.path.string(), 200, 1);
    } catch (const Failure& failure) {
      message = failure.what();
    }
    setrlimit(RLIMIT_FSIZE, &former);
    INFO(limit << ": " << message);
    CHECK(contains(message, limit < 500     ? "config.json"
                            : limit < 10000 ? "model.safetensors"
                                            : "optimizer.safetensors"));
    CHECK(contains(message, "File too large"));
    CHECK(names_in(run / "checkpoints") == std::set<std::string>{"step-00000100"});
  }
  signal(SIGXFSZ, handler);
  CHECK(read_file(folder + "/SHA256SUMS") == sums);
  CHECK_NOTHROW(verify_checkpoint(folder, kTraining));

  write_file(run / "file", "");
  CHECK_THROWS_AS(model.write(run / "file"), Failure);
}

TEST_CASE("a folder of Hugging Face is read", "[core][checkpoint]") {
  for (const char* prefix : {"transformer.", ""}) {
    HuggingFaceFolder plain(prefix);
    CHECK(same_bits(plain.load(), plain.parameters));

    HuggingFaceFolder with_masks(prefix);
    const std::vector<float> ones(64 * 64, 1);
    const std::string layer = std::string(prefix) + "h.1.";
    with_masks.spans.push_back({layer + "attn.bias", {1, 1, 64, 64}, ones.data()});
    with_masks.spans.push_back({layer + "attn.masked_bias", {}, ones.data()});
    CHECK(same_bits(with_masks.load(), with_masks.parameters));

    HuggingFaceFolder with_head(prefix);
    with_head.spans.push_back({"lm_head.weight", {11, 8}, with_head.span(prefix + std::string("wte.weight")).data});
    CHECK(same_bits(with_head.load(), with_head.parameters));
    std::vector<float> other(with_head.spans.back().data, with_head.spans.back().data + 88);
    other[87] = std::bit_cast<float>(std::bit_cast<uint32_t>(other[87]) ^ 1);
    with_head.spans.back().data = other.data();
    CHECK(contains(with_head.complaint(), "'lm_head.weight'"));
    CHECK(contains(with_head.complaint(), "differs from wte.weight"));
    with_head.spans.back().shape = {8, 11};
    CHECK(contains(with_head.complaint(), "has the shape (8, 11); in this model it is (11, 8)"));

    HuggingFaceFolder untied(prefix, tiny("softmax", 0, Position::kLearned, false));
    write_file(untied.folder + "/config.json", [&] {
      Json json = config_to_json(tiny());
      json["tie_word_embeddings"] = false;
      return json.dump();
    }());
    CHECK(same_bits(untied.load(), untied.parameters));
    untied.spans.pop_back();
    CHECK(contains(untied.complaint(), "lacks the tensor 'lm_head.weight' of shape (11, 8)"));
  }
}

TEST_CASE("weights in half precision are widened", "[core][checkpoint]") {
  // Numbers that BF16 and F16 hold: the upper half of the float, and small integers.
  for (const bool bf16 : {true, false}) {
    HuggingFaceFolder halves;
    std::string header = "{", data;
    for (const Tensor& tensor : parameter_tensors(halves.config)) {
      const size_t begin = data.size();
      for (size_t i = 0; i < tensor.size; i++) {
        float& x = halves.parameters.data()[tensor.offset + i];
        const int n = int(i % 7) + 1;  // n = 2^e (1 + f), in F16: e + 15, then ten bits of f
        const int e = n >= 4 ? 2 : n >= 2 ? 1 : 0;
        x = bf16 ? std::bit_cast<float>(std::bit_cast<uint32_t>(x) & 0xffff0000u) : float(n);
        const uint16_t half =
            bf16 ? uint16_t(std::bit_cast<uint32_t>(x) >> 16) : uint16_t((e + 15) << 10 | (n - (1 << e)) << (10 - e));
        data += char(half & 255);
        data += char(half >> 8);
      }
      const Json entry = {
          {"dtype", bf16 ? "BF16" : "F16"}, {"shape", tensor.shape}, {"data_offsets", {begin, data.size()}}};
      header += (begin ? "," : "") + Json(tensor.name).dump() + ":" + entry.dump();
    }
    header += "}";
    const uint64_t length = header.size();
    write_file(halves.folder + "/model.safetensors",
               std::string(reinterpret_cast<const char*>(&length), 8) + header + data);
    Buffer block(parameter_floats(halves.config));
    load_parameters(halves.folder, halves.config, block.data(), LoadMode::kExact);
    CHECK(same_bits(block, halves.parameters));
  }
}

TEST_CASE("unknown, missing and misshapen tensors are named", "[core][checkpoint]") {
  const std::vector<float> x(1000, 1);
  for (const char* name : {"transformer.h.2.attn.bias", "transformer.h.0.attn.q_norm.weight", "h.0.ln_1.gain",
                           "h.0.attn.normalizer.scale", "score.weight"}) {
    HuggingFaceFolder surplus;
    surplus.spans.push_back({name, {2}, x.data()});
    CHECK(contains(surplus.complaint(), "'" + surplus.folder + "/model.safetensors' holds the tensor '" + name + "'"));
  }
  HuggingFaceFolder lacking;
  lacking.spans.erase(lacking.spans.begin() + 4);
  CHECK(contains(lacking.complaint(), "lacks the tensor 'h.0.attn.c_attn.weight' of shape (8, 24)"));

  HuggingFaceFolder transposed;
  transposed.span("transformer.h.1.mlp.c_fc.weight").shape = {32, 8};
  CHECK(contains(transposed.complaint(), "'transformer.h.1.mlp.c_fc.weight'"));
  CHECK(contains(transposed.complaint(), "has the shape (32, 8); in this model it is (8, 32)"));

  HuggingFaceFolder twice;
  twice.spans.push_back({"ln_f.bias", {8}, x.data()});
  CHECK(contains(twice.complaint(), "'ln_f.bias' with and without"));

  HuggingFaceFolder integers;
  integers.write();
  std::string content = read_file(integers.folder + "/model.safetensors");
  content.replace(content.find("F32"), 3, "I32");
  write_file(integers.folder + "/model.safetensors", content);
  Buffer block(parameter_floats(integers.config));
  CHECK(contains(error_text([&] { load_parameters(integers.folder, integers.config, block.data(), LoadMode::kExact); }),
                 "has the dtype I32"));
}

TEST_CASE("nothing is read into the model before everything fits", "[core][checkpoint]") {
  HuggingFaceFolder lacking;
  lacking.spans.pop_back();
  lacking.write();
  Buffer block = any_bits(lacking.config, 9);
  CHECK_THROWS_AS(load_parameters(lacking.folder, lacking.config, block.data(), LoadMode::kExact), Error);
  CHECK(same_bits(block, any_bits(lacking.config, 9)));
}

TEST_CASE("another normalizer adapts what it learns and nothing else", "[core][checkpoint]") {
  const Config kinds[] = {tiny("softmax", 0), tiny("ssmax", 1), tiny("ssmax_bias", 2), tiny("learned_scale", 2)};
  auto kinds_of_tensors = [](const Config& config) { return config.normalizer_params + config.length_scale; };
  for (const Config& from : kinds)
    for (const Config& to : kinds) {
      if (from == to) continue;
      INFO(from.normalizer << " -> " << to.normalizer);
      TempDir run;
      const std::string folder = Model(from).write(run.path.string());
      // One value for each tensor's place tells what was read, what left.
      Buffer block(parameter_floats(to)), m(parameter_floats(to)), v(parameter_floats(to));
      CHECK(contains(error_text([&] { load_parameters(folder, to, block.data(), LoadMode::kExact); }), "normalizer."));
      init_parameters(to, block.data(), 1, 0.25);
      const auto log = load_parameters(folder, to, block.data(), LoadMode::kAdapt);
      const int more = kinds_of_tensors(to) - kinds_of_tensors(from);
      REQUIRE(log.size() == size_t(std::abs(more)));
      for (const std::string& line : log) {
        CHECK(contains(line, "normalizer."));
        CHECK(contains(line, more < 0 ? "dropped" : "starts as in a new run"));
      }
      CHECK(load_optimizer(folder, to, m.data(), v.data(), LoadMode::kAdapt).size() == log.size());

      SafetensorsFile weights(folder + "/model.safetensors"), moments(folder + "/optimizer.safetensors");
      std::vector<float> expected(1000);
      for (const Tensor& tensor : parameter_tensors(to)) {
        const bool in_file = weights.contains(tensor.name);
        auto holds = [&](const Buffer& read, const SafetensorsFile& file, const std::string& name, float otherwise) {
          std::fill(expected.begin(), expected.end(), otherwise);
          if (in_file) file.read(name, expected.data());
          return std::memcmp(read.data() + tensor.offset, expected.data(), tensor.size * sizeof(float)) == 0;
        };
        INFO(tensor.name);
        const float start = tensor.init == Init::kScale ? 0.25f : tensor.init == Init::kOne ? 1.0f : 0.0f;
        CHECK(holds(block, weights, tensor.name, start));
        CHECK(holds(m, moments, "exp_avg." + tensor.name, 0));
        CHECK(holds(v, moments, "exp_avg_sq." + tensor.name, 0));
      }
    }
}

TEST_CASE("scales of lengths must be those of the model's lengths", "[core][checkpoint]") {
  TempDir run;
  const Config config = tiny("learned_scale", 2, Position::kRope);
  const std::string folder = Model(config).write(run.path.string());
  Config longer = config;
  longer.T = 8;
  Buffer block(parameter_floats(longer));
  for (LoadMode mode : {LoadMode::kExact, LoadMode::kAdapt})
    CHECK(contains(error_text([&] { load_parameters(folder, longer, block.data(), mode); }),
                   "'normalizer.length_scale' in '" + folder +
                       "/model.safetensors' has the shape (7); in this model it "
                       "is (8)"));
}

TEST_CASE("moments must be those of the model", "[core][checkpoint]") {
  TempDir run;
  const Model model(tiny());
  const std::string folder = model.write(run.path.string());
  Config wider = tiny();
  wider.V = 12;
  Buffer m(parameter_floats(wider)), v(parameter_floats(wider));
  CHECK(contains(error_text([&] { load_optimizer(folder, wider, m.data(), v.data(), LoadMode::kExact); }),
                 "'exp_avg.wte.weight' in '" + folder + "/optimizer.safetensors' has the shape (11, 8)"));
  fs::copy_file(folder + "/model.safetensors", folder + "/optimizer.safetensors", fs::copy_options::overwrite_existing);
  CHECK(contains(error_text([&] { load_optimizer(folder, wider, m.data(), v.data(), LoadMode::kExact); }),
                 "lacks the tensor 'exp_avg.wte.weight'"));
}
