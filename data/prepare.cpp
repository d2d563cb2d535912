// build/prepare: text into token files. `--corpus NAME` fetches a known text first, `--input FILE...` takes any text;
// `--needle` makes examples of key retrieval from it.
#include "data/prepare.h"

#include <sys/wait.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iomanip>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include "data/corpora.h"
#include "data/error.h"
#include "data/prepare_needle.h"
#include "train/command_line.h"
#include "train/program_options.h"

namespace {

const Corpus& find_corpus(const std::string& name) {
  return *std::find_if(std::begin(kCorpora), std::end(kCorpora),
                       [&](const Corpus& corpus) { return name == corpus.name; });
}

// Runs a shell command; returns its exit code and the last line that it printed.
int run_command(const std::string& command, std::string* last_line) {
  std::FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  if (!pipe) return 127;
  std::string line;
  for (int c; (c = std::fgetc(pipe)) != EOF;) {
    if (c != '\n') {
      line += char(c);
      continue;
    }
    *last_line = line;
    line.clear();
  }
  if (!line.empty()) *last_line = line;
  int status = pclose(pipe);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 127;
}

// The path of the corpus's text in data/cache, where data/corpus.sh puts it.
std::string fetch(const Corpus& corpus) {
  std::string data_dir = ATTNORM_SOURCE_DIR "/data";
  std::string text = data_dir + "/cache/" + corpus.name + ".txt";
  if (std::filesystem::exists(text)) return text;
  std::cout << "getting " << corpus.name << ": " << corpus.what << "; licence: " << corpus.licence << std::endl;
  std::string reason = "the shell could not run data/corpus.sh";
  std::string command = "sh " + shell_word(data_dir + "/corpus.sh") + " " + corpus.name + " ";
  if (run_command(command + shell_word(data_dir + "/cache"), &reason) != 0)
    throw Failure("the corpus " + std::string(corpus.name) + " could not be fetched: " + reason +
                  "; any text will do instead, with --input FILE");
  return text;
}

void print_splits(const PrepareResult& result, const std::string& out_dir) {
  auto print_split = [&](const char* file, uint64_t tokens) {
    std::cout << "  " << std::setw(12) << tokens << " tokens  " << out_dir << "/" << file << "\n";
  };
  print_split("train.bin", result.train);
  print_split("val.bin", result.val);
  print_split("test.bin", result.test);
}

void warn_of_unexpected(const PrepareResult& result, const PrepareSource& source) {
  if (result.unexpected)
    std::cout << "warning: this is another text than the " << source.name << " on which the README's losses were "
              << "measured (SHA-256 " << source.expected_sha256 << "), so they do not apply to runs on it\n";
}

void print_text(const PrepareResult& result, const PrepareSource& source, const std::string& out_dir) {
  if (result.already)
    std::cout << "already prepared: " << out_dir << " holds this text\n";
  else
    std::cout << source.name << ": one token per byte, split in blocks of " << result.block_bytes << " bytes"
              << (result.replaced ? ", replacing what " + out_dir + " held before" : "") << "\n";
  std::cout << "  SHA-256 of the text  " << result.sha256 << "\n";
  print_splits(result, out_dir);
  warn_of_unexpected(result, source);
  std::cout << "next: build/softmax/train --data " << shell_word(out_dir) << std::endl;
}

void print_needles(const PrepareResult& result, const PrepareSource& source, const PrepareOptions& options) {
  const NeedleData& needles = options.needles;
  const NeedleRows rows = needle_rows(needles, Split::kTrain);
  if (result.already)
    std::cout << "already prepared: " << options.out << " holds these examples\n";
  else
    std::cout << rows.examples << " examples of " << needles.length << " bytes with filler from " << source.name
              << (needles.mix.empty() ? ""
                                      : ", and " + std::to_string(rows.all - rows.examples) + " rows of " + needles.mix)
              << (result.replaced ? ", replacing what " + options.out + " held before" : "") << "\n";
  std::cout << "  SHA-256 of what decides them  " << result.sha256 << "\n";
  print_splits(result, options.out);
  warn_of_unexpected(result, source);
  std::cout << "next: build/softmax/train --data " << shell_word(options.out) << " --seq-len " << needles.length
            << std::endl;
}

int run(int argc, char** argv) {
  const PrepareOptions options = parse_prepare_options(argc, argv);
  PrepareSource source;
  std::optional<PrepareResult> result;
  if (!options.corpus.empty()) {
    const Corpus& corpus = find_corpus(options.corpus);
    source.name = corpus.name;
    source.expected_sha256 = corpus.sha256;
    result = options.needle ? needle_already_prepared(corpus.sha256, options.needles, options.out)
                            : already_prepared(options.out, corpus.sha256);
    if (!result) source.files = {fetch(corpus)};
  } else {
    source.name = text_of(options.inputs);
    source.files = options.inputs;
  }
  if (!result)
    result = options.needle ? prepare_needle(source, options.needles, options.out) : prepare(source, options.out);
  if (options.needle)
    print_needles(*result, source, options);
  else
    print_text(*result, source, options.out);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return run_program("prepare", [&] { return run(argc, argv); });
}
