// sample: lets a trained model continue a prompt. Tokens are bytes, so text goes in and text comes out.
#include <cstdio>

#include "data/tokenizer.h"
#include "train/command_line.h"
#include "train/generate.h"
#include "train/threads.h"
#include "train/trained_model.h"

namespace {

int run(int argc, char** argv) {
  std::string checkpoint, prompt = "\n";
  int tokens = 200, threads = 0;
  SamplingOptions sampling;
  CommandLine line("sample", std::string("text from a model trained with ") + kSelectedName);
  line.add("checkpoint", checkpoint, "step folder, or a run, of which the newest intact checkpoint counts").required();
  line.add("prompt", prompt, "text to continue").default_text("a line break");
  line.add("tokens", tokens, "how many tokens to write", positive<int>());
  line.add("temperature", sampling.temperature, "below 1: likelier words; 0: always the likeliest token",
           non_negative<double>());
  line.add("top-k", sampling.top_k, "draw from the k likeliest tokens; 0: from all", non_negative<int>());
  line.add("seed", sampling.seed, "another seed, another text", non_negative<uint64_t>());
  line.add("threads", threads, "CPU threads, 0 to choose", non_negative<int>());
  line.parse(argc, argv);
  if (prompt.empty()) throw Error("--prompt is empty; it must have at least one character to continue");

  TrainedModel model(checkpoint, "sample");
  if (model.config.V != kByteVocabSize)
    throw Error("checkpoint '" + model.path + "' has a vocabulary of " + std::to_string(model.config.V) +
                "; sample knows bytes alone, a vocabulary of 256");
  const size_t T = model.config.T;
  model.load(1, T, set_threads(threads));
  std::fwrite(prompt.data(), 1, prompt.size(), stdout);
  generate<SelectedNormalizer, SelectedPrecision>(model.config, model.weights.view(), model.a, encode(prompt), tokens,
                                                  T, sampling, [](int32_t token) {
                                                    std::putchar(token);
                                                    std::fflush(stdout);
                                                  });
  std::putchar('\n');
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  let_waiting_threads_sleep(argv);
  return run_program("sample", [&] { return run(argc, argv); });
}
