// evaluate: the loss of a trained model on a whole split, at any length, in total or by position; with --needle, how often
// it finds a value by its key.
#include "train/evaluation.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <utility>

#include "data/atomic_file.h"
#include "data/dataset.h"
#include "data/needle.h"
#include "data/tokenizer.h"
#include "train/build_info.h"
#include "train/command_line.h"
#include "train/needle_evaluation.h"
#include "train/program_options.h"
#include "train/threads.h"
#include "train/trained_model.h"

namespace {

using N = SelectedNormalizer;
using P = SelectedPrecision;

// The model and the tokens that it is evaluated on.
struct Subject {
  TrainedModel model;
  bool folder;  // --data is one, of which --split names a part
  Dataset data;

  const TokenStream& stream(const EvaluateOptions& options) const { return data.split(folder ? options.split : "val"); }
};

Subject open_subject(const EvaluateOptions& options) {
  TrainedModel model(options.checkpoint, "evaluate");
  if (options.rope_theta_scale != 1 && model.config.position != Position::kRope)
    throw Error("--rope-theta-scale is given, but the model has positions " +
                std::string(position_name(model.config.position)) + "; it is for rope alone");
  model.config.rope_theta *= options.rope_theta_scale;
  std::error_code ignored;
  const bool folder = std::filesystem::is_directory(options.data, ignored);
  if (!folder && options.split_given)
    throw Error("--split " + options.split + " chooses from a folder of token files, and --data '" + options.data +
                "' is none; leave it out");
  const std::string vocabulary = "the vocabulary of checkpoint '" + model.path + "'";
  Dataset data = folder ? load_dataset(options.data, model.config.V, vocabulary)
                        : load_token_file(options.data, model.config.V, vocabulary);
  return {std::move(model), folder, std::move(data)};
}

// A file that is replaced once all of it is there; none where it has no name.
class Output {
 public:
  explicit Output(const std::string& path) {
    if (!path.empty()) file_.emplace(path);
  }
  explicit operator bool() const { return file_.has_value(); }

  // Says on standard output what the file is.
  void write(const std::string& what, const std::string& text) {
    if (!file_) return;
    file_->write(text.data(), text.size());
    file_->commit();
    print_fact(what, file_->path());
  }

 private:
  std::optional<AtomicFile> file_;
};

void print_model(const TrainedModel& model) {
  print_fact("normalizer", std::string(kSelectedName) + " in " + kPrecisionName<P> + ", attnorm " + version_text());
  print_fact("checkpoint", model.path);
}

int evaluate_loss(const EvaluateOptions& options) {
  Subject subject = open_subject(options);
  TrainedModel& model = subject.model;
  const TokenStream& stream = subject.stream(options);
  require_predictable(stream);
  if (options.seq_len > 0 && uint64_t(options.seq_len) >= stream.size())
    throw Error("--seq-len is " + std::to_string(options.seq_len) + ", but " + stream.name() + " holds " +
                std::to_string(stream.size()) + " tokens; use at most " + std::to_string(stream.size() - 1));

  const size_t T = options.seq_len > 0 ? options.seq_len : model.config.T;
  const MemoryPlan plan = model.load(options.batch_size, T, set_threads(options.threads));
  Output csv(options.csv);  // opened before the work starts, which would be lost where it cannot be written
  const uint64_t limit = options.tokens > 0 ? options.tokens : UINT64_MAX;
  const Evaluation result =
      evaluate<N, P>(model.config, model.weights.view(), model.a, stream, options.batch_size, T, limit);

  print_model(model);
  print_fact("data", stream.name());
  print_fact("tokens", with_commas(result.tokens) + ", in windows of " + with_commas(T));
  print_fact("memory", plan_text(plan));
  std::printf("%-12s %.6f nats per token\n", "loss", result.loss());
  const bool whole = result.tokens == stream.size() - 1;
  const double bytes = subject.data.tokenizer == "bytes" ? double(result.tokens + 1)
                       : subject.folder && whole         ? double(subject.data.bytes_in(options.split))
                                                         : 0;
  if (bytes > 0) std::printf("%-12s %.6f bits per byte\n", "", result.bits_per_byte(bytes));
  if (!options.by_position) return 0;
  const std::string table = by_position_csv(result);
  if (!csv) std::printf("\n%s", table.c_str());
  csv.write("by position", table);
  return 0;
}

// Filler for examples of these lengths. Error unless the tokens are plain text, and long enough.
Filler open_filler(const Subject& subject, const EvaluateOptions& options) {
  if (subject.data.tokenizer != "bytes")
    throw Error("--data '" + options.data + "' does not hold bytes, which --needle makes its examples of; " +
                "use a folder that prepare wrote");
  if (subject.data.task == kNeedleTask)
    throw Error("--data '" + options.data + "' holds examples with needles of their own; " +
                "name the folder of the plain text, from which filler is taken");
  const TokenStream& stream = subject.stream(options);
  Filler filler = {stream.name(), stream.size(), [&stream](uint64_t begin, size_t count) {
                     std::vector<int32_t> tokens(count);
                     stream.copy(begin, count, tokens.data());
                     return decode(tokens);
                   }};
  for (int length : options.lengths) require_filler(filler, size_t(length));
  return filler;
}

int evaluate_needles(const EvaluateOptions& options) {
  Subject subject = open_subject(options);
  TrainedModel& model = subject.model;
  const Filler filler = open_filler(subject, options);
  const int longest = *std::max_element(options.lengths.begin(), options.lengths.end());
  if (model.config.bound_to_length() && longest > model.config.T)
    throw Error("--lengths has " + std::to_string(longest) + ", but the model has learned positions or scales for " +
                std::to_string(model.config.T) + " tokens; use at most that");
  const size_t B = std::min(options.batch_size, options.trials);
  const MemoryPlan plan = model.load(B, longest, set_threads(options.threads));
  Output csv(options.csv), heads_csv(options.heads_csv);

  print_model(model);
  print_fact("filler", filler.name);
  print_fact("examples",
             with_commas(options.trials) + " of each length and depth, seed " + std::to_string(options.seed));
  print_fact("memory", plan_text(plan));
  std::string table = kNeedleHeader, heads = kNeedleHeadsHeader;
  std::printf("\n%s", kNeedleHeader);
  for (int length : options.lengths)
    for (double depth : options.depths) {
      std::fflush(stdout);  // long lengths take minutes
      const std::string place = std::to_string(length) + "," + text_of(depth);
      const std::string series = "needle of evaluate, length,depth = " + place;
      const NeedleEvaluation result = evaluate_needles<N, P>(
          model.config, model.weights.view(), model.a, B, options.trials,
          [&](uint64_t i) { return needle_example(filler, size_t(length), depth, options.seed, series, i); });
      const std::string line = needle_line(place, result);
      std::printf("%s", line.c_str());
      table += line;
      heads += needle_heads_lines(place, result, model.config.NH);
    }
  if (csv || heads_csv) std::printf("\n");
  csv.write("table", table);
  heads_csv.write("heads", heads);
  return 0;
}

int run(int argc, char** argv) {
  const EvaluateOptions options = parse_evaluate_options(argc, argv, kSelectedName);
  return options.needle ? evaluate_needles(options) : evaluate_loss(options);
}

}  // namespace

int main(int argc, char** argv) {
  let_waiting_threads_sleep(argv);
  return run_program("evaluate", [&] { return run(argc, argv); });
}
