#include "train/checkpoint.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

#include "data/atomic_file.h"
#include "data/error.h"
#include "data/sha256.h"
#include "data/tokens_json.h"
#include "kernels/normalizer/normalizer.h"
#include "model/parameters.h"
#include "train/safetensors.h"
#include "train/strict_json.h"

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char* kConfig = "config.json";
constexpr const char* kModel = "model.safetensors";
constexpr const char* kOptimizer = "optimizer.safetensors";
constexpr const char* kState = "trainer_state.json";
constexpr const char* kSums = "SHA256SUMS";
constexpr const char* kFiles[] = {kConfig, kModel, kOptimizer, kState};  // those that SHA256SUMS lists; weights first
constexpr const char* kFirstMoment = "exp_avg.";
constexpr const char* kSecondMoment = "exp_avg_sq.";
constexpr const char* kNormalizerPart = "attn.normalizer.";
constexpr uint64_t kMostTextBytes = 16 << 20;

std::string in(const std::string& folder, const std::string& name) { return (fs::path(folder) / name).string(); }

bool exists(const std::string& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

bool is_folder(const std::string& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

bool is_file(const std::string& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

// The content of a small file.
std::string read_text(const std::string& path) {
  if (!is_file(path)) throw Error("'" + path + "' does not exist or is not a regular file");
  std::error_code problem;
  uint64_t size = fs::file_size(path, problem);
  if (!problem && size > kMostTextBytes)
    throw Error("'" + path + "' has " + std::to_string(size) + " bytes; at most " + std::to_string(kMostTextBytes) +
                " are allowed");
  std::ifstream file(path, std::ios::binary);
  std::string text(problem ? 0 : size, '\0');
  if (problem || !file.read(text.data(), std::streamsize(size))) throw Error("'" + path + "' cannot be read");
  return text;
}

// Members of the JSON object in one file, with an Error that names file and key for whatever is not as asked.
class Members {
 public:
  Members(const Json& json, const std::string& file) : json_(json), file_(file) {
    if (!json.is_object()) throw Error(file + " must be a JSON object, but is " + shown(json));
  }

  bool has(const char* key) const { return json_.contains(key); }

  const Json& at(const char* key) const {
    if (!has(key)) throw Error(file_ + " lacks the key '" + key + "'");
    return json_[key];
  }

  uint64_t natural(const char* key) const {
    if (!is_natural(at(key))) throw bad(key, "an integer of at least 0");
    return at(key).get<uint64_t>();
  }

  int positive_int(const char* key) const {
    if (!is_natural(at(key)) || at(key).get<uint64_t>() < 1 || at(key).get<uint64_t>() > INT_MAX)
      throw bad(key, "an integer between 1 and " + std::to_string(INT_MAX));
    return at(key).get<int>();
  }

  std::string text(const char* key) const {
    if (!at(key).is_string()) throw bad(key, "a text");
    return at(key).get<std::string>();
  }

  bool boolean(const char* key) const {
    if (!at(key).is_boolean()) throw bad(key, "true or false");
    return at(key).get<bool>();
  }

  double number(const char* key) const {
    if (!at(key).is_number()) throw bad(key, "a number");
    return at(key).get<double>();
  }

  Error bad(const char* key, const std::string& allowed) const {
    return Error(file_ + " has " + key + " = " + shown(at(key)) + "; it must be " + allowed);
  }

 private:
  const Json& json_;
  const std::string& file_;
};

// --- config.json -----------------------------------------------------------------------------------------------------

// clang-format off
constexpr const char* kConfigKeys[] = {
    "model_type", "n_layer", "n_head", "n_embd", "n_positions", "vocab_size", "position", "rope_theta", "normalizer",
    "tie_word_embeddings", "n_inner", "layer_norm_epsilon", "activation_function", "scale_attn_weights"};

// Keys that Hugging Face writes for a GPT-2 and that leave its forward as it is.
constexpr const char* kHarmlessKeys[] = {
    // dropout, which attnorm never applies, and other matters of training
    "attn_pdrop", "embd_pdrop", "resid_pdrop", "classifier_dropout", "initializer_range", "gradient_checkpointing",
    // how attention is ordered in time or memory
    "reorder_and_upcast_attn", "use_cache", "n_ctx", "chunk_size_feed_forward", "is_decoder", "_attn_implementation",
    "attn_implementation",
    // other tasks than language modelling
    "summary_activation", "summary_first_dropout", "summary_proj_to_labels", "summary_type", "summary_use_proj",
    "task_specific_params", "problem_type", "num_labels", "_num_labels", "id2label", "label2id", "finetuning_task",
    "predict_special_tokens", "n_special", "output_past", "output_attentions", "output_hidden_states", "output_scores",
    "return_dict", "return_dict_in_generate",
    // token ids and the writing of text
    "bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "unk_token_id", "decoder_start_token_id",
    "forced_bos_token_id", "forced_eos_token_id", "temperature", "top_k", "top_p", "typical_p", "do_sample",
    "num_beams", "num_beam_groups", "diversity_penalty", "early_stopping", "length_penalty", "max_length",
    "min_length", "max_new_tokens", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "repetition_penalty",
    "bad_words_ids", "begin_suppress_tokens", "suppress_tokens", "exponential_decay_length_penalty",
    "num_return_sequences", "remove_invalid_values", "prefix", "tokenizer_class",
    // who wrote it, how it is stored
    "architectures", "auto_map", "torch_dtype", "dtype", "torchscript", "use_bfloat16", "tf_legacy_loss",
    "_name_or_path", "_commit_hash", "transformers_version"};
// clang-format on

template <class List>
bool contains(const List& list, const std::string& name) {
  return std::find(std::begin(list), std::end(list), name) != std::end(list);
}

bool is_switched_off(const Json& value) {
  return value.is_null() || value == Json(false) || (value.is_number() && value == 0) ||
         (!value.is_primitive() && value.empty()) || value == Json("");
}

int normalizer_params(const std::string& name, const std::string& file) {
#define ATTNORM_PARAMS(its_name, ...) \
  if (name == #its_name) return named::its_name::params;
  EVERY_NORMALIZER(ATTNORM_PARAMS)
#undef ATTNORM_PARAMS
#define ATTNORM_NAME(its_name, ...) " " #its_name
  throw Error(file + " has the unknown normalizer " + quoted(name) + "; known are" EVERY_NORMALIZER(ATTNORM_NAME));
#undef ATTNORM_NAME
}

// What Hugging Face's GPT-2 computes, whatever the sizes.
bool is_gpt2(const Config& config) {
  return config.normalizer == "softmax" && config.position == Position::kLearned && config.tied;
}

// The keys that must hold what the kernels compute. Hugging Face's defaults, valid where a key is missing, do.
void check_mathematics(const Members& json, const Config& config) {
  if (json.has("activation_function") && json.at("activation_function") != "gelu_new" &&
      json.at("activation_function") != "gelu_pytorch_tanh")
    throw json.bad("activation_function", "gelu_new or gelu_pytorch_tanh");
  if (json.has("layer_norm_epsilon") && json.at("layer_norm_epsilon") != 1e-5)
    throw json.bad("layer_norm_epsilon", "1e-05");
  if (json.has("n_inner") && !json.at("n_inner").is_null() && json.at("n_inner") != 4LL * config.C)
    throw json.bad("n_inner", "null or 4 n_embd, which is " + std::to_string(4LL * config.C));
  if (json.has("scale_attn_weights") && json.at("scale_attn_weights") != true)
    throw json.bad("scale_attn_weights", "true");
}

// --- trainer_state.json ----------------------------------------------------------------------------------------------

bool is_sha256(const std::string& text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

// --- writing ---------------------------------------------------------------------------------------------------------

[[noreturn]] void fail(const std::string& path, const std::string& what, const std::error_code& reason) {
  throw Failure("'" + path + "' cannot be " + what + ": " + reason.message());
}

std::error_code last_error() { return {errno, std::generic_category()}; }

void remove_folder(const std::string& folder) {
  std::error_code problem;
  fs::remove_all(folder, problem);
  if (problem) fail(folder, "removed", problem);
}

std::string step_name(uint64_t step) {
  char name[32];
  std::snprintf(name, sizeof name, "step-%08llu", static_cast<unsigned long long>(step));
  return name;
}

// The number in a folder's name, or false for any other name.
bool parse_step(const std::string& name, uint64_t* step) {
  if (name.size() < 13 || name.size() > 24 || !name.starts_with("step-") ||
      name.find_first_not_of("0123456789", 5) != std::string::npos)
    return false;
  *step = std::strtoull(name.c_str() + 5, nullptr, 10);
  return name == step_name(*step);
}

// Names of the folders that killed runs left: step-<number>.tmp.
bool is_stale(const std::string& name) {
  uint64_t step;
  return name.ends_with(".tmp") && parse_step(name.substr(0, name.size() - 4), &step);
}

// Steps of the checkpoints in RUN/checkpoints, the newest first.
std::vector<uint64_t> steps_in(const std::string& checkpoints) {
  std::vector<uint64_t> steps;
  uint64_t step;
  for (const std::string& name : file_names(checkpoints))
    if (parse_step(name, &step)) steps.push_back(step);
  std::sort(steps.rbegin(), steps.rend());
  return steps;
}

void remove_stale(const std::string& checkpoints) {
  for (const std::string& name : file_names(checkpoints))
    if (is_stale(name)) remove_folder(in(checkpoints, name));
}

// Gives the finished folder its name. A folder that has it already trades places with the finished one where the system
// can do that in one step, so that at no moment both are gone.
void put_in_place(const std::string& finished, const std::string& target) {
  if (exists(target)) {
#ifdef RENAME_EXCHANGE
    if (renameat2(AT_FDCWD, finished.c_str(), AT_FDCWD, target.c_str(), RENAME_EXCHANGE) == 0) return;
#endif
    remove_folder(target);
  }
  if (std::rename(finished.c_str(), target.c_str()) != 0) fail(target, "put in place", last_error());
}

// Keeps the `keep` newest checkpoints up to `step`. Those beyond it are not of this history: a resumed run passed over
// them because they are damaged, and replaces them when it gets there. A folder is renamed before it is emptied, so
// that a kill in between leaves no half of a checkpoint.
void remove_old(const std::string& checkpoints, uint64_t step, int keep) {
  int kept = 0;
  for (uint64_t old : steps_in(checkpoints)) {
    if (old > step || ++kept <= keep) continue;
    std::string folder = in(checkpoints, step_name(old)), condemned = folder + ".tmp";
    if (std::rename(folder.c_str(), condemned.c_str()) != 0) fail(folder, "removed", last_error());
    remove_folder(condemned);
  }
}

void add_spans(const Config& config, const std::string& prefix, const float* block, std::vector<TensorSpan>* spans) {
  for (const Tensor& tensor : parameter_tensors(config))
    spans->push_back({prefix + tensor.name, tensor.shape, block + tensor.offset});
}

void write_files(const std::string& folder, const Config& config, const float* parameters, const float* m,
                 const float* v, const TrainerState& state) {
  std::string sums;
  auto add_sum = [&](const char* name, const std::string& sum) { sums += sum + "  " + name + "\n"; };
  auto write_json = [&](const char* name, const Json& json) {
    std::string text = json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
    write_file_atomically(in(folder, name), text);
    add_sum(name, sha256_hex(text));
  };
  std::vector<TensorSpan> weights, moments;
  add_spans(config, "", parameters, &weights);
  add_spans(config, kFirstMoment, m, &moments);
  add_spans(config, kSecondMoment, v, &moments);
  write_json(kConfig, config_to_json(config));
  add_sum(kModel, write_safetensors(in(folder, kModel), weights));
  add_sum(kOptimizer, write_safetensors(in(folder, kOptimizer), moments));
  write_json(kState, trainer_state_to_json(state));
  write_file_atomically(in(folder, kSums), sums);
}

// --- finding ---------------------------------------------------------------------------------------------------------

// SHA-256 by file name. As strict as can be, so that any change to the file is noticed: `sha256sum` itself would take
// an upper-case digit for the same.
std::map<std::string, std::string> read_sums(const std::string& path) {
  std::map<std::string, std::string> sums;
  std::string text = read_text(path);
  for (size_t begin = 0, line = 1; begin < text.size(); line++) {
    size_t end = text.find('\n', begin);
    std::string sum = text.substr(begin, 64);
    std::string name = end == std::string::npos || end < begin + 67 ? "" : text.substr(begin + 66, end - begin - 66);
    if (name.empty() || !is_sha256(sum) || text.compare(begin + 64, 2, "  ") != 0 ||
        name.find_first_of("/\\") != std::string::npos || !sums.emplace(name, sum).second)
      throw Error("'" + path + "' is damaged: line " + std::to_string(line) +
                  " is not 64 hexadecimal digits, two spaces and a file name of its own");
    begin = end + 1;
  }
  return sums;
}

bool looks_like_checkpoint(const std::string& folder) {
  return exists(in(folder, kConfig)) || exists(in(folder, kModel)) || exists(in(folder, kSums));
}

std::string checkpoints_of(const std::string& run) { return in(run, "checkpoints"); }

// --- loading ---------------------------------------------------------------------------------------------------------

// A tensor of the model, its name in the file, and where its numbers go.
struct Target {
  Tensor tensor;
  std::string name;
  float* out;
};

std::vector<Target> targets_of(const Config& config, const std::string& prefix, float* block) {
  std::vector<Target> targets;
  for (const Tensor& tensor : parameter_tensors(config))
    targets.push_back({tensor, prefix + tensor.name, block + tensor.offset});
  return targets;
}

// "attn.normalizer.scale" in the name of a learned scalar, else "".
std::string scalar_kind(const std::string& name) {
  size_t at = name.find(kNormalizerPart);
  return at == std::string::npos ? "" : name.substr(at);
}

void check_shape(const SafetensorsFile& file, const std::string& name, const std::vector<size_t>& shape) {
  if (file.shape(name) != shape)
    throw Error("tensor " + quoted(name) + " in '" + file.path() + "' has the shape " + shape_text(file.shape(name)) +
                "; in this model it is " + shape_text(shape));
  file.check_readable(name);
}

// Reads the targets, after checking all of them, and that `names` (of tensors in the file, by the name the model uses)
// holds nothing else.
std::vector<std::string> load_tensors(const SafetensorsFile& file, std::map<std::string, std::string> names,
                                      const std::vector<Target>& targets, LoadMode mode) {
  auto may_differ = [&](const std::string& name) { return mode == LoadMode::kAdapt && !scalar_kind(name).empty(); };
  std::set<std::string> left, dropped;
  std::vector<std::pair<std::string, float*>> reads;
  for (const Target& target : targets) {
    auto found = names.find(target.name);
    if (found != names.end()) {
      check_shape(file, found->second, target.tensor.shape);
      reads.push_back({found->second, target.out});
      names.erase(found);
    } else if (may_differ(target.name)) {
      left.insert(scalar_kind(target.name));
    } else {
      throw Error("'" + file.path() + "' lacks the tensor " + quoted(target.name) + " of shape " +
                  shape_text(target.tensor.shape));
    }
  }
  for (const auto& [name, name_in_file] : names) {
    if (!may_differ(name))
      throw Error("'" + file.path() + "' holds the tensor " + quoted(name_in_file) + " of shape " +
                  shape_text(file.shape(name_in_file)) + ", which this model does not have");
    dropped.insert(scalar_kind(name));
  }
  for (const auto& [name, out] : reads) file.read(name, out);

  std::vector<std::string> log;
  for (const std::string& kind : left)
    log.push_back("'" + file.path() + "' has no " + kind + ": it starts as in a new run");
  for (const std::string& kind : dropped) log.push_back(kind + " in '" + file.path() + "' is dropped");
  return log;
}

// Whether the tensor holds the same bits as values.
bool equals(const SafetensorsFile& file, const std::string& name, const float* values) {
  float part[4096];
  for (size_t begin = 0, size = file.size(name); begin < size; begin += std::size(part)) {
    size_t count = std::min(size - begin, std::size(part));
    file.read(name, begin, count, part);
    if (std::memcmp(part, values + begin, count * sizeof(float)) != 0) return false;
  }
  return true;
}

}  // namespace

// --- config.json -----------------------------------------------------------------------------------------------------

Json config_to_json(const Config& config) {
  return {{"architectures", {is_gpt2(config) ? "GPT2LMHeadModel" : "AttnormGPT"}},
          {"model_type", is_gpt2(config) ? "gpt2" : "attnorm-gpt"},
          {"n_layer", config.L},
          {"n_head", config.NH},
          {"n_embd", config.C},
          {"n_positions", config.T},
          {"vocab_size", config.V},
          {"position", position_name(config.position)},
          {"rope_theta", config.rope_theta},
          {"tie_word_embeddings", config.tied},
          {"normalizer", config.normalizer},
          {"layer_norm_epsilon", 1e-5},
          {"activation_function", "gelu_new"}};
}

Config config_from_json(const Json& object, const std::string& file) {
  Members json(object, file);
  const std::string type = json.text("model_type");
  if (type != "gpt2" && type != "attnorm-gpt") throw json.bad("model_type", "gpt2 or attnorm-gpt");
  const bool gpt2 = type == "gpt2";

  Config config;
  config.L = json.positive_int("n_layer");
  config.NH = json.positive_int("n_head");
  config.C = json.positive_int("n_embd");
  config.T = json.positive_int("n_positions");
  config.V = json.positive_int("vocab_size");
  // What makes a model another than GPT-2 must be said, except in a config.json of GPT-2 itself.
  auto said = [&](const char* key) { return !gpt2 || json.has(key); };
  config.normalizer = said("normalizer") ? json.text("normalizer") : "softmax";
  config.normalizer_params = normalizer_params(config.normalizer, file);
  const std::string position = said("position") ? json.text("position") : "learned";
  if (said("tie_word_embeddings")) config.tied = json.boolean("tie_word_embeddings");
  if (json.has("rope_theta")) config.rope_theta = json.number("rope_theta");
  try {
    config.position = position_from_name(position);
    check_config(config);
  } catch (const Error& error) {
    throw Error(file + ": " + error.what());
  }
  if (gpt2 && config.normalizer != "softmax") throw json.bad("normalizer", "softmax where model_type is gpt2");
  if (gpt2 && config.position != Position::kLearned) throw json.bad("position", "learned where model_type is gpt2");

  check_mathematics(json, config);
  for (const auto& [key, value] : object.items())
    if (!contains(kConfigKeys, key) && !contains(kHarmlessKeys, key) && !is_switched_off(value))
      throw Error(file + " has " + quoted(key) + " = " + shown(value) +
                  ", which this program does not know and which may change what the model computes");
  return config;
}

// --- trainer_state.json ----------------------------------------------------------------------------------------------

Json trainer_state_to_json(const TrainerState& state) {
  return {{"schema", TrainerState::kSchema}, {"step", state.step},
          {"tokens", state.tokens},          {"seed", state.seed},
          {"data_seed", state.data_seed},    {"data_sha256", state.data_sha256},
          {"options", state.options}};
}

TrainerState trainer_state_from_json(const Json& object, const std::string& file) {
  Members json(object, file);
  if (json.natural("schema") != TrainerState::kSchema)
    throw json.bad("schema", std::to_string(TrainerState::kSchema) + ", the one this program reads");
  TrainerState state;
  state.step = json.natural("step");
  state.tokens = json.natural("tokens");
  state.seed = json.natural("seed");
  state.data_seed = json.natural("data_seed");
  if (!json.at("data_sha256").is_object()) throw json.bad("data_sha256", "an object of SHA-256 sums by file");
  for (const auto& [name, sum] : json.at("data_sha256").items()) {
    if (!sum.is_string() || !is_sha256(sum.get<std::string>()))
      throw json.bad("data_sha256", "an object of SHA-256 sums by file, 64 lower-case hexadecimal digits each");
    state.data_sha256[name] = sum;
  }
  state.options = json.at("options");
  if (!state.options.is_object()) throw json.bad("options", "an object of options by name");
  for (const auto& [key, value] : object.items())
    if (!trainer_state_to_json({}).contains(key))
      throw Error(file + " has the key " + quoted(key) + ", which schema " + std::to_string(TrainerState::kSchema) +
                  " does not have");
  return state;
}

// --- writing ---------------------------------------------------------------------------------------------------------

std::string write_checkpoint(const std::string& run, const Config& config, const float* parameters, const float* m,
                             const float* v, const TrainerState& state, int keep) {
  const std::string checkpoints = checkpoints_of(run), folder = in(checkpoints, step_name(state.step));
  const std::string temporary = folder + ".tmp";
  try {
    std::error_code problem;
    if (fs::create_directories(checkpoints, problem)) sync_folder(run);
    if (problem) fail(checkpoints, "made", problem);
    remove_stale(checkpoints);
    if (!fs::create_directory(temporary, problem)) fail(temporary, "made", problem);
    write_files(temporary, config, parameters, m, v, state);
    sync_folder(temporary);
    put_in_place(temporary, folder);
    sync_folder(checkpoints);
    remove_folder(temporary);  // the one that was replaced, if any
    if (keep > 0) remove_old(checkpoints, state.step, keep);
  } catch (const std::runtime_error& error) {  // an Error too: here it is not the user who did something wrong
    std::error_code ignored;
    fs::remove_all(temporary, ignored);
    throw Failure(error.what());
  }
  return folder;
}

// --- finding ---------------------------------------------------------------------------------------------------------

void verify_checkpoint(const std::string& folder, CheckpointUse use) {
  const bool training = use == CheckpointUse::kTraining;
  if (!is_folder(folder)) throw Error("checkpoint '" + folder + "' is not a folder that exists");
  for (const char* name : kFiles)
    if ((training || name == kConfig || name == kModel) && !is_file(in(folder, name)))
      throw Error("checkpoint '" + folder + "' lacks the file " + name);
  if (!exists(in(folder, kSums))) {
    if (training)
      throw Error("checkpoint '" + folder + "' lacks the file " + kSums + ", by which training trusts the others");
    return;
  }
  const auto sums = read_sums(in(folder, kSums));
  for (const char* name : kFiles)
    if (exists(in(folder, name)) && !sums.count(name))
      throw Error("'" + in(folder, kSums) + "' is damaged: it does not list " + name);
  for (const auto& [name, sum] : sums) {
    if (!is_file(in(folder, name)))
      throw Error("checkpoint '" + folder + "' lacks the file " + quoted(name) + ", which " + kSums + " lists");
    if (sha256_file(in(folder, name)) != sum)
      throw Error("'" + in(folder, name) + "' is damaged: its SHA-256 is not the one in " + kSums);
  }
}

FoundCheckpoint newest_checkpoint(const std::string& run, CheckpointUse use) {
  FoundCheckpoint found;
  const std::string checkpoints = checkpoints_of(run);
  if (!is_folder(checkpoints)) return found;
  std::string first_problem;
  for (uint64_t step : steps_in(checkpoints)) {
    std::string folder = in(checkpoints, step_name(step));
    try {
      verify_checkpoint(folder, use);
      found.path = folder;
      return found;
    } catch (const Error& error) {
      found.warnings.push_back("passed over a damaged checkpoint: " + std::string(error.what()));
      if (first_problem.empty()) first_problem = error.what();
    }
  }
  if (!found.warnings.empty())
    throw Error("no checkpoint of the run '" + run + "' is intact; the newest: " + first_problem);
  return found;
}

FoundCheckpoint find_checkpoint(const std::string& path, CheckpointUse use) {
  if (!exists(path)) throw Error("checkpoint '" + path + "' does not exist");
  if (!is_folder(path))
    throw Error("checkpoint '" + path + "' is a file; it must be a folder with " + kConfig + " and " + kModel +
                ", or a run");
  if (looks_like_checkpoint(path)) {
    verify_checkpoint(path, use);
    return {path, {}};
  }
  if (!is_folder(checkpoints_of(path)))
    throw Error("'" + path + "' is no checkpoint, for it lacks " + kConfig + ", and no run, for it lacks checkpoints/");
  FoundCheckpoint found = newest_checkpoint(path, use);
  if (found.path.empty()) throw Error("the run '" + path + "' has no checkpoint yet");
  return found;
}

// --- loading ---------------------------------------------------------------------------------------------------------

Config load_config(const std::string& folder) {
  const std::string path = in(folder, kConfig), file = "'" + path + "'";
  return config_from_json(parse_strict_json<Json>(read_text(path), file), file);
}

TrainerState load_trainer_state(const std::string& folder) {
  const std::string path = in(folder, kState), file = "'" + path + "'";
  return trainer_state_from_json(parse_strict_json<Json>(read_text(path), file), file);
}

std::vector<std::string> load_parameters(const std::string& folder, const Config& config, float* block, LoadMode mode) {
  const SafetensorsFile file(in(folder, kModel));
  std::map<std::string, std::string> names;
  for (const std::string& name_in_file : file.names()) {
    std::string name = name_in_file.starts_with("transformer.") ? name_in_file.substr(12) : name_in_file;
    if (!names.emplace(name, name_in_file).second)
      throw Error("'" + file.path() + "' holds the tensor " + quoted(name) + " with and without 'transformer.'");
  }
  for (int l = 0; l < config.L; l++)
    for (const char* mask : {".attn.bias", ".attn.masked_bias"}) names.erase("h." + std::to_string(l) + mask);
  std::string head;
  if (auto found = names.find("lm_head.weight"); config.tied && found != names.end()) {
    head = found->second;
    names.erase(found);
    check_shape(file, head, {size_t(config.V), size_t(config.C)});
  }
  auto log = load_tensors(file, names, targets_of(config, "", block), mode);
  if (!head.empty() && !equals(file, head, view_parameters(config, block).wte))
    throw Error("tensor " + quoted(head) + " in '" + file.path() +
                "' differs from wte.weight, so the head is not tied, but " + kConfig +
                " does not say \"tie_word_embeddings\": false");
  return log;
}

std::vector<std::string> load_optimizer(const std::string& folder, const Config& config, float* m, float* v,
                                        LoadMode mode) {
  const SafetensorsFile file(in(folder, kOptimizer));
  std::map<std::string, std::string> names;
  for (const std::string& name : file.names()) names.emplace(name, name);
  auto targets = targets_of(config, kFirstMoment, m), second = targets_of(config, kSecondMoment, v);
  targets.insert(targets.end(), second.begin(), second.end());
  return load_tensors(file, names, targets, mode);
}
