#include "train/start.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "data/atomic_file.h"
#include "data/error.h"
#include "data/prepare.h"
#include "data/tokenizer.h"
#include "train/checkpoint.h"
#include "train/checkpoint_json.h"
#include "train/metrics.h"
#include "train/variant.h"

namespace fs = std::filesystem;

namespace {

// What a program is built for. A run may move between the CPU and a GPU, but keeps its normalizer and its precision.
struct Built {
  std::string normalizer, precision;
  bool on_gpu;

  std::string name() const { return variant_name(normalizer, precision, on_gpu); }
};

// `trained` was trained with this normalizer and precision.
void require_same_variant(const std::string& trained, const std::string& normalizer, const std::string& precision,
                          const Built& program) {
  const std::string used = variant_name(normalizer, precision);
  if (used != variant_name(program.normalizer, program.precision))
    throw Error(trained + " was trained with " + used + ", and this program is built for " +
                variant_name(program.normalizer, program.precision) + "; use build/" +
                Built{normalizer, precision, program.on_gpu}.name() + "/train, or --init-from to switch");
}

// A new run, from nothing or from a checkpoint whose shape it takes.
Start start_new(const TrainOptions& asked) {
  Start start;
  start.options = asked;
  const bool goes_on = !asked.continue_from.empty();
  const std::string& from = goes_on ? asked.continue_from : asked.init_from;
  if (from.empty()) return start;
  FoundCheckpoint found = find_checkpoint(from, goes_on ? CheckpointUse::kTraining : CheckpointUse::kWeights);
  if (!found.warnings.empty())
    throw Error(std::string(goes_on ? "--continue-from '" : "--init-from '") + from + "': the newest checkpoint is " +
                "damaged, so name the one to start from, such as '" + found.path + "'; " + found.warnings.front());
  start.config = load_config(found.path);
  start.checkpoint = found.path;
  start.with_optimizer = goes_on;
  take_shape(start.options, start.config, found.path);
  if (goes_on) start.step = load_trainer_state(found.path).step;
  return start;
}

// A run that exists goes on from its newest checkpoint, or starts again where it has none yet. options.ini holds what
// an earlier --resume changed.
Start start_resumed(const TrainOptions& asked, const Built& program) {
  const std::string run_precision = Metrics::program(asked.out, "precision");
  const std::string ini = (fs::path(asked.out) / "options.ini").string();
  if (!fs::exists(ini)) throw Error("--resume needs a run, and --out '" + asked.out + "' holds no options.ini");
  const char* words[] = {"train", "--config", ini.c_str(), "--out", asked.out.c_str()};
  const TrainOptions saved = parse_train_options(5, words, program.name());
  FoundCheckpoint found = newest_checkpoint(asked.out, CheckpointUse::kTraining);
  if (found.path.empty()) {
    const std::string trained = Metrics::program(asked.out, "normalizer");
    require_same_variant("the run '" + asked.out + "'", trained.empty() ? program.normalizer : trained, run_precision,
                         program);
    TrainOptions options = merge_resume(saved, asked);
    options.given = saved.given;
    Start start = start_new(options);
    start.log.push_back("the run has no checkpoint yet: starting at update " + std::to_string(start.step));
    return start;
  }
  Start start;
  start.log = found.warnings;
  start.config = load_config(found.path);
  require_same_variant("checkpoint '" + found.path + "'", start.config.normalizer, run_precision, program);
  TrainerState state = load_trainer_state(found.path);
  const TrainOptions first = options_from_json(state.options, found.path + "/trainer_state.json");
  start.options = merge_resume(merge_resume(first, saved), asked);
  start.checkpoint = found.path;
  start.resumed = true;
  start.with_optimizer = true;
  start.step = state.step;
  start.data_sha256 = state.data_sha256;
  return start;
}

}  // namespace

Start start_run(const TrainOptions& asked, const std::string& normalizer, const std::string& precision, bool on_gpu) {
  return asked.resume ? start_resumed(asked, {normalizer, precision, on_gpu}) : start_new(asked);
}

void complete_config(Start& start, int vocab_size, const std::string& normalizer, int normalizer_params,
                     bool length_scale) {
  const TrainOptions& options = start.options;
  Config& config = start.config;
  if (start.checkpoint.empty()) {
    config.L = options.layers;
    config.NH = options.heads;
    config.C = options.channels;
    config.T = options.seq_len;
    config.V = vocab_size;
    config.position = position_from_name(options.position);
    config.rope_theta = options.rope_theta;
    config.tied = !options.untied;
  }
  config.normalizer = normalizer;
  config.normalizer_params = normalizer_params;
  // Scales of lengths that the checkpoint has, and that are kept, are for its own lengths.
  if (config.length_scale) config.length_scale = length_scale;
  require_learned_lengths(config, size_t(options.seq_len), "the checkpoint");
  if (!config.bound_to_length()) config.T = options.seq_len;
  config.length_scale = length_scale;
  check_config(config);
}

fs::path text_folder(const TrainOptions& options) { return fs::path(options.out) / "data"; }

Dataset open_data(const Start& start) {
  const TrainOptions& options = start.options;
  const std::string wanted =
      start.checkpoint.empty() ? "--vocab-size" : "the vocabulary of checkpoint '" + start.checkpoint + "'";
  if (options.text.empty()) return load_dataset(options.data, options.vocab_size, wanted);
  if (options.vocab_size != 0 && options.vocab_size != kByteVocabSize)
    throw Error(wanted + " is " + std::to_string(options.vocab_size) + ", but the tokens of --text '" + options.text +
                "' are bytes; it must be " + std::to_string(kByteVocabSize));
  const fs::path folder = text_folder(options);
  if (!options.resume || !fs::exists(folder / "tokens.json"))
    prepare({{options.text}, options.text, ""}, folder.string());
  return load_dataset(folder.string(), options.vocab_size);
}

void refuse_used_folder(const TrainOptions& options) {
  std::error_code ignored;
  for (const char* name : {"metrics.jsonl", "options.ini", "checkpoints"})
    if (fs::exists(fs::path(options.out) / name, ignored))
      throw Error("--out '" + options.out + "' holds a run already (" + name +
                  "); give another folder, or --resume to go on with it");
}

void require_writable(const std::string& folder) {
  std::error_code ignored;
  fs::path place = fs::absolute(folder);
  while (!fs::exists(place, ignored) && place.has_relative_path()) place = place.parent_path();
  if (!fs::is_directory(place, ignored))
    throw Error("--out '" + folder + "' cannot be made: '" + place.string() + "' is not a folder");
  if (access(place.c_str(), W_OK | X_OK) != 0)
    throw Error("--out '" + folder + "' cannot be written: " + std::strerror(errno));
}

void make_folder(const std::string& folder) {
  std::error_code error, ignored;
  std::vector<fs::path> made;
  for (fs::path path = fs::absolute(folder); !fs::exists(path, ignored) && path.has_relative_path();
       path = path.parent_path())
    made.push_back(path);
  fs::create_directories(folder, error);
  if (error) throw Error("--out '" + folder + "' cannot be made: " + error.message());
  for (const fs::path& path : made) try {
      sync_folder(path.parent_path().string());
    } catch (const Failure&) {  // a folder may be closed to us for reading; then the system syncs it when it likes
    }
}

NewFolder::NewFolder(const fs::path& folder) {
  std::error_code ignored;
  for (fs::path path = folder; !path.empty() && !fs::exists(path, ignored); path = path.parent_path())
    made_.push_back(path);
}

NewFolder::~NewFolder() {
  std::error_code ignored;
  if (!made_.empty()) fs::remove_all(made_.front(), ignored);
  for (const fs::path& path : made_) fs::remove(path, ignored);  // unless someone else has put something there
}
