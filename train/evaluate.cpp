// evaluate: the loss of a trained model on a whole split, at any length, in total or by position.
#include "train/evaluation.h"

#include <cstdio>
#include <filesystem>
#include <optional>

#include "data/atomic_file.h"
#include "data/dataset.h"
#include "train/build_info.h"
#include "train/command_line.h"
#include "train/program_options.h"
#include "train/threads.h"
#include "train/trained_model.h"

namespace {

int run(int argc, char** argv) {
  const EvaluateOptions options = parse_evaluate_options(argc, argv, kSelectedName);
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
  const TokenStream& stream = data.split(folder ? options.split : "val");
  require_predictable(stream);
  if (options.seq_len > 0 && uint64_t(options.seq_len) >= stream.size())
    throw Error("--seq-len is " + std::to_string(options.seq_len) + ", but " + stream.name() + " holds " +
                std::to_string(stream.size()) + " tokens; use at most " + std::to_string(stream.size() - 1));

  const size_t T = options.seq_len > 0 ? options.seq_len : model.config.T;
  const MemoryPlan plan = model.load(options.batch_size, T, set_threads(options.threads));
  std::optional<AtomicFile> csv;  // opened before the work starts, which would be lost where it cannot be written
  if (!options.csv.empty()) csv.emplace(options.csv);
  const uint64_t limit = options.tokens > 0 ? options.tokens : UINT64_MAX;
  const Evaluation result = evaluate<SelectedNormalizer, SelectedPrecision>(model.config, model.weights.view(), model.a,
                                                                            stream, options.batch_size, T, limit);

  print_fact("normalizer",
             std::string(kSelectedName) + " in " + kPrecisionName<SelectedPrecision> + ", attnorm " + version_text());
  print_fact("checkpoint", model.path);
  print_fact("data", stream.name());
  print_fact("tokens", with_commas(result.tokens) + ", in windows of " + with_commas(T));
  print_fact("memory", plan_text(plan));
  std::printf("%-12s %.6f nats per token\n", "loss", result.loss());
  const bool whole = result.tokens == stream.size() - 1;
  const double bytes = data.tokenizer == "bytes" ? double(result.tokens + 1)
                       : folder && whole         ? double(data.bytes_in(options.split))
                                                 : 0;
  if (bytes > 0) std::printf("%-12s %.6f bits per byte\n", "", result.bits_per_byte(bytes));
  if (!options.by_position) return 0;
  const std::string table = by_position_csv(result);
  if (csv) {
    csv->write(table.data(), table.size());
    csv->commit();
    print_fact("by position", options.csv);
  } else {
    std::printf("\n%s", table.c_str());
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  let_waiting_threads_sleep(argv);
  return run_program("evaluate", [&] { return run(argc, argv); });
}
