// Input: the words of a command line, one a line, the first the program; after a line "====", the file of --config.
#include <map>
#include <nlohmann/json.hpp>

#include "data/needle.h"
#include "tests/fuzz/fuzz.h"
#include "tests/temp_dir.h"
#include "train/command_line.h"
#include "train/options.h"
#include "train/program_options.h"

namespace {

constexpr size_t kMostWords = 200;

// The words, with every FILE of --config replaced: no file of this machine is read.
std::vector<std::string> words_of(std::string_view text, const std::string& config) {
  std::vector<std::string> words;
  while (!text.empty() && words.size() < kMostWords) {
    std::string word(take_until(text, "\n"));
    word = word.substr(0, word.find('\0'));
    if (!words.empty() && words.back() == "--config" && word != "none") word = config;
    if (word.starts_with("--config=") && word != "--config=") word = "--config=" + config;
    words.push_back(word);
  }
  return words;
}

void check_train(const TrainOptions& options) {
  require(options.steps == 0 || options.resume || options.warmup_steps < options.steps, "a schedule can be followed");
  require(!options.out.empty(), "a run has a folder");
  const nlohmann::ordered_json saved = options_to_json(options);
  require(options_to_json(options_from_json(saved, "F")) == saved, "options are read as written");
  if (options.data.empty() == options.text.empty()) return;  // with --resume: the run has them
  const std::string path = sandbox() + "/options.ini";
  write_options_ini(path, options);
  const char* words[] = {"train", "--config", path.c_str()};
  if (!options.resume)
    require(options_to_json(parse_train_options(3, words, "ssmax")) == saved, "options.ini repeats the run");
}

// No word is lost or made: lists hold words that were given, in their order.
void check_list(const std::vector<std::string>& list, const std::vector<std::string>& words) {
  size_t next = 1;
  for (const std::string& item : list) {
    while (next < words.size() && words[next] != item && !words[next].ends_with("=" + item)) next++;
    require(next < words.size(), "'" + item + "' is a word of the command line");
    next++;
  }
}

void parse(const std::vector<std::string>& words) {
  std::vector<const char*> argv;
  for (const std::string& word : words) argv.push_back(word.c_str());
  const int argc = int(argv.size());
  argv.push_back(nullptr);
  const std::string program = words.front();
  if (program == "train") {
    check_train(parse_train_options(argc, argv.data(), "ssmax"));
  } else if (program == "evaluate") {
    const EvaluateOptions options = parse_evaluate_options(argc, argv.data(), "ssmax");
    require(options.batch_size > 0 && options.seq_len >= 0 && options.rope_theta_scale > 0, "sizes are in range");
    require(!options.lengths.empty() && !options.depths.empty() && options.trials > 0, "there are needles to look for");
    for (int length : options.lengths) require(length >= kLeastNeedleLength, "a needle has room");
    for (double depth : options.depths) require(0 <= depth && depth <= 1, "a needle lies in its example");
  } else if (program == "sample") {
    const SampleOptions options = parse_sample_options(argc, argv.data(), "ssmax");
    require(options.tokens > 0 && options.sampling.temperature >= 0 && !options.prompt.empty(), "sizes are in range");
  } else if (program == "compare") {
    const CompareOptions options = parse_compare_options(argc, argv.data());
    require(!options.runs.empty() && options.out != options.csv, "there is something to compare");
    check_list(options.runs, words);
  } else if (program == "prepare") {
    const PrepareOptions options = parse_prepare_options(argc, argv.data());
    require(!options.out.empty() && options.corpus.empty() != options.inputs.empty(), "there is something to prepare");
    check_list(options.inputs, words);
    const NeedleData& needles = options.needles;
    require(needles.length >= kLeastNeedleLength && needles.examples > 0, "examples have room for a needle");
    require(0 <= needles.mix_share && needles.mix_share < 1, "not all rows are plain");
  }
}

}  // namespace

void fuzz_command_line(std::string_view input) {
  const std::string config = sandbox() + "/given.ini";
  const std::vector<std::string> words = words_of(take_until(input, "\n====\n"), config);
  if (words.empty()) return;
  write_file(config, std::string(input));
  try {
    accepts([&] { parse(words); });
  } catch (const HelpRequest& help) {
    require(help.text.size() > 20 && help.text.ends_with('\n'), "help is given where it is asked for");
  }
}
