// build/prepare: text into token files. `--corpus NAME` fetches a known text first, `--input FILE...` takes any text.
#include "data/prepare.h"

#include <sys/wait.h>

#include <cstdio>
#include <filesystem>
#include <iomanip>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include "data/corpora.h"
#include "data/error.h"
#include "train/command_line.h"

namespace {

std::vector<std::string> corpus_names() {
  std::vector<std::string> names;
  for (const Corpus& corpus : kCorpora) names.push_back(corpus.name);
  return names;
}

const Corpus& find_corpus(const std::string& name) {
  for (const Corpus& corpus : kCorpora)
    if (name == corpus.name) return corpus;
  std::string meant = nearest(name, corpus_names());
  throw bad_value("--corpus", name, list_of(corpus_names()) + (meant.empty() ? "" : "; the nearest is " + meant));
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

void print_result(const PrepareResult& result, const PrepareSource& source, const std::string& out_dir) {
  if (result.already)
    std::cout << "already prepared: " << out_dir << " holds this text\n";
  else
    std::cout << source.name << ": one token per byte, split in blocks of " << result.block_bytes << " bytes"
              << (result.replaced ? ", replacing what " + out_dir + " held before" : "") << "\n";
  std::cout << "  SHA-256 of the text  " << result.sha256 << "\n";
  auto print_split = [&](const char* file, uint64_t tokens) {
    std::cout << "  " << std::setw(12) << tokens << " tokens  " << out_dir << "/" << file << "\n";
  };
  print_split("train.bin", result.train);
  print_split("val.bin", result.val);
  print_split("test.bin", result.test);
  if (result.unexpected)
    std::cout << "warning: this is another text than the " << source.name << " on which the README's losses were "
              << "measured (SHA-256 " << source.expected_sha256 << "), so they do not apply to runs on it\n";
}

int run(int argc, char** argv) {
  std::string corpus_name, out_dir;
  std::vector<std::string> inputs;
  CommandLine line("prepare", "turn text into token files: bytes as tokens, split into train, val and test");
  line.add("corpus", corpus_name, "a known text: " + list_of(corpus_names()));
  line.add("input", inputs, "files of text, read one after the other as one text");
  line.add("out", out_dir, "folder to write to, made if it does not exist", not_empty()).required();
  line.parse(argc, argv);
  if (line.given("corpus") == line.given("input"))
    throw Error("prepare takes either --corpus (" + list_of(corpus_names()) + ") or --input FILE...");

  PrepareSource source;
  std::optional<PrepareResult> result;
  if (line.given("corpus")) {
    const Corpus& corpus = find_corpus(corpus_name);
    source.name = corpus.name;
    source.expected_sha256 = corpus.sha256;
    result = already_prepared(out_dir, corpus.sha256);
    if (!result) source.files = {fetch(corpus)};
  } else {
    source.name = text_of(inputs);
    source.files = inputs;
  }
  if (!result) result = prepare(source, out_dir);
  print_result(*result, source, out_dir);
  std::cout << "next: build/softmax/train --data " << shell_word(out_dir) << std::endl;
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return run_program("prepare", [&] { return run(argc, argv); });
}
