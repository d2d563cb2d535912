#include "train/checkpoint.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <set>

#include "data/atomic_file.h"
#include "data/error.h"
#include "data/sha256.h"
#include "data/small_file.h"
#include "data/strict_json.h"
#include "data/tokens_json.h"
#include "model/parameters.h"
#include "train/checkpoint_json.h"
#include "train/checksums.h"
#include "train/safetensors.h"

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

// What the normalizer learns has names like "h.0.attn.normalizer.scale" and "normalizer.length_scale", behind the
// optimizer's "exp_avg." perhaps: the part that says what it is, "attn.normalizer.scale"; else "".
std::string learned_kind(const std::string& name) {
  for (const char* part : {"attn.normalizer.", "normalizer.length_scale"})
    if (size_t at = name.find(part); at != std::string::npos) return name.substr(at);
  return "";
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
  auto may_differ = [&](const std::string& name) { return mode == LoadMode::kAdapt && !learned_kind(name).empty(); };
  std::set<std::string> left, dropped;
  std::vector<std::pair<std::string, float*>> reads;
  for (const Target& target : targets) {
    auto found = names.find(target.name);
    if (found != names.end()) {
      check_shape(file, found->second, target.tensor.shape);
      reads.push_back({found->second, target.out});
      names.erase(found);
    } else if (may_differ(target.name)) {
      left.insert(learned_kind(target.name));
    } else {
      throw Error("'" + file.path() + "' lacks the tensor " + quoted(target.name) + " of shape " +
                  shape_text(target.tensor.shape));
    }
  }
  for (const auto& [name, name_in_file] : names) {
    if (!may_differ(name))
      throw Error("'" + file.path() + "' holds the tensor " + quoted(name_in_file) + " of shape " +
                  shape_text(file.shape(name_in_file)) + ", which this model does not have");
    dropped.insert(learned_kind(name));
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

// --- writing ---------------------------------------------------------------------------------------------------------

std::string checkpoint_path(const std::string& run, uint64_t step) { return in(checkpoints_of(run), step_name(step)); }

std::string write_checkpoint(const std::string& run, const Config& config, const float* parameters, const float* m,
                             const float* v, const TrainerState& state, int keep) {
  const std::string checkpoints = checkpoints_of(run), folder = checkpoint_path(run, state.step);
  const std::string temporary = folder + ".tmp";
  try {
    std::error_code problem;
    if (fs::create_directory(checkpoints, problem)) sync_folder(run);  // not the run, if someone has removed it
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

void tidy_checkpoints(const std::string& run, uint64_t step, int keep) {
  const std::string checkpoints = checkpoints_of(run);
  if (!is_folder(checkpoints)) return;
  remove_stale(checkpoints);
  if (keep > 0) remove_old(checkpoints, step, keep);
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
  const auto sums = parse_checksums(read_small_file(in(folder, kSums)), in(folder, kSums));
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
  return config_from_json(parse_strict_json<Json>(read_small_file(path), file), file);
}

TrainerState load_trainer_state(const std::string& folder) {
  const std::string path = in(folder, kState), file = "'" + path + "'";
  return trainer_state_from_json(parse_strict_json<Json>(read_small_file(path), file), file);
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
