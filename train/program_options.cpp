#include "train/program_options.h"

#include <filesystem>

#include "data/corpora.h"
#include "train/command_line.h"
#include "train/gnuplot.h"
#include "train/threads.h"

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
  line.parse(argc, argv);
  options.by_position |= line.given("csv");
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
  line.parse(argc, argv);
  if (line.given("corpus") == line.given("input"))
    throw Error("prepare takes either --corpus (" + list_of(corpora) + ") or --input FILE...");
  return options;
}
