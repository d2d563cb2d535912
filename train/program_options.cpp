#include "train/program_options.h"

#include <filesystem>

#include "data/corpora.h"
#include "data/needle.h"
#include "train/command_line.h"
#include "train/gnuplot.h"
#include "train/threads.h"

namespace {

// Error if any of the options was given.
void refuse_given(const CommandLine& line, const std::vector<std::string>& names, const std::string& why) {
  for (const std::string& name : names)
    if (line.given(name)) throw Error("--" + name + " is given, but " + why + "; leave it out");
}

constexpr const char* kNeedleGroup = "Key retrieval";

// DIR:SHARE of --mix.
void read_mix(const std::string& text, NeedleData& needles) {
  const size_t colon = text.rfind(':');
  const bool complete = colon != text.npos && colon > 0;
  if (!complete || !read_value(text.substr(colon + 1), needles.mix_share) || !fraction().test(needles.mix_share))
    throw bad_value("--mix", text, "FOLDER:SHARE with " + fraction().words + " for the share");
  needles.mix = text.substr(0, colon);
}

}  // namespace

EvaluateOptions parse_evaluate_options(int argc, const char* const* argv, const std::string& normalizer) {
  EvaluateOptions options;
  CommandLine line("evaluate", "loss of a model trained with " + normalizer);
  line.add("checkpoint", options.checkpoint, "step folder, or a run, of which the newest intact checkpoint counts")
      .required();
  line.add("data", options.data, "folder of token files, or one token file").required();
  line.add("split", options.split, "train, val or test", one_of({"train", "val", "test"}));
  line.add("seq-len", options.seq_len, "tokens the model sees at once; 0: as in training", non_negative<int>());
  line.add("tokens", options.tokens, "predict so many tokens from the start of the split; 0: all of them",
           non_negative<uint64_t>());
  line.add("batch-size", options.batch_size, "windows evaluated at once; changes memory, not the loss",
           positive<int>());
  line.add("rope-theta-scale", options.rope_theta_scale, "multiplies the RoPE base", positive<double>());
  line.add("by-position", options.by_position, "also the mean loss of every position, as CSV");
  line.add("csv", options.csv, "the file for what --by-position prints; it is replaced", not_empty())
      .default_text("standard output");
  line.add("threads", options.threads, "CPU threads, 0 to choose", between(0, kMostThreads));
  line.add("needle", options.needle,
           "how often the model finds a value by its key (prepare --needle), in examples with filler from --split, "
           "which is then test by default; --csv takes the table")
      .group(kNeedleGroup);
  line.add("lengths", options.lengths, "tokens of an example", list_of_each(at_least(kLeastNeedleLength)))
      .group(kNeedleGroup);
  line.add("depths", options.depths, "how far behind the start the needle is",
           list_of_each<double>({[](double depth) { return 0 <= depth && depth <= 1; }, "a number from 0 to 1"}))
      .group(kNeedleGroup);
  line.add("trials", options.trials, "examples for each length and depth", positive<int>()).group(kNeedleGroup);
  line.add("seed", options.seed, "another seed, other examples; they are the same for every model",
           non_negative<uint64_t>())
      .group(kNeedleGroup);
  line.add("heads-csv", options.heads_csv, "a file for the score of every head; it is replaced", not_empty())
      .default_text("none")
      .group(kNeedleGroup);
  line.parse(argc, argv);
  if (options.needle) {
    refuse_given(line, {"seq-len", "tokens", "by-position"}, "--needle makes its examples as --lengths says");
    if (!line.given("split")) options.split = "test";
    if (options.csv == options.heads_csv && !options.csv.empty())
      throw bad_value("--heads-csv", options.heads_csv, "another file than --csv");
  } else {
    refuse_given(line, {"lengths", "depths", "trials", "seed", "heads-csv"}, "it is for --needle alone");
    options.by_position |= line.given("csv");
  }
  options.split_given = line.given("split");
  return options;
}

SampleOptions parse_sample_options(int argc, const char* const* argv, const std::string& normalizer) {
  SampleOptions options;
  SamplingOptions& sampling = options.sampling;
  CommandLine line("sample", "text from a model trained with " + normalizer);
  line.add("checkpoint", options.checkpoint, "step folder, or a run, of which the newest intact checkpoint counts")
      .required();
  line.add("prompt", options.prompt, "text to continue").default_text("a line break");
  line.add("tokens", options.tokens, "how many tokens to write", positive<int>());
  line.add("temperature", sampling.temperature, "below 1: likelier words; 0: always the likeliest token",
           non_negative<double>());
  line.add("top-k", sampling.top_k, "draw from the k likeliest tokens; 0: from all", non_negative<int>());
  line.add("seed", sampling.seed, "another seed, another text", non_negative<uint64_t>());
  line.add("threads", options.threads, "CPU threads, 0 to choose", between(0, kMostThreads));
  line.parse(argc, argv);
  if (options.prompt.empty()) throw Error("--prompt is empty; it must have at least one character to continue");
  return options;
}

CompareOptions parse_compare_options(int argc, const char* const* argv) {
  CompareOptions options;
  CommandLine line("compare", "Compares the loss curves of runs that train wrote.");
  line.add_positional("RUN", options.runs, "folders of runs, one or many for each normalizer").required();
  line.add("baseline", options.baseline, "the normalizer that the others are compared with");
  line.add("out", options.out, "the picture, .svg or .png");
  line.add("csv", options.csv, "every loss as text").default_text("the picture's name with .csv");
  line.add("terminal", options.terminal, "draw the curves on the terminal too");
  line.parse(argc, argv);
  options.baseline_given = line.given("baseline");
  check_picture_name(options.out);
  if (options.csv.empty()) options.csv = std::filesystem::path(options.out).replace_extension(".csv").string();
  if (options.csv == options.out) throw bad_value("--csv", options.csv, "another file than --out");
  return options;
}

PrepareOptions parse_prepare_options(int argc, const char* const* argv) {
  std::vector<std::string> corpora;
  for (const Corpus& corpus : kCorpora) corpora.push_back(corpus.name);
  PrepareOptions options;
  CommandLine line("prepare", "turn text into token files: bytes as tokens, split into train, val and test");
  line.add("corpus", options.corpus, "a known text: " + list_of(corpora), one_of(corpora));
  line.add("input", options.inputs, "files of text, read one after the other as one text");
  line.add("out", options.out, "folder to write to, made if it does not exist", not_empty()).required();
  NeedleData& needles = options.needles;
  std::string mix;
  line.add("needle", options.needle,
           "instead of the text, examples of key retrieval with filler from it: <key>=<value>; somewhere, <key>= and "
           "the "
           "value at the end")
      .group(kNeedleGroup);
  line.add("length", needles.length, "bytes of an example, for train --seq-len", at_least(kLeastNeedleLength))
      .group(kNeedleGroup);
  line.add("examples", needles.examples, "how many to train on", positive<int>()).group(kNeedleGroup);
  line.add("seed", needles.seed, "another seed, other examples", non_negative<uint64_t>()).group(kNeedleGroup);
  line.add("mix", mix, "FOLDER:SHARE, that share of all rows are plain text from a folder of tokens")
      .default_text("none")
      .group(kNeedleGroup);
  line.parse(argc, argv);
  if (!options.needle) refuse_given(line, {"length", "examples", "seed", "mix"}, "it is for --needle alone");
  if (line.given("mix")) read_mix(mix, needles);
  if (line.given("corpus") == line.given("input"))
    throw Error("prepare takes either --corpus (" + list_of(corpora) + ") or --input FILE...");
  return options;
}
