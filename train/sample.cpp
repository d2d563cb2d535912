// sample: lets a trained model continue a prompt. Tokens are bytes, so text goes in and text comes out.
#include <cstdio>

#include "data/tokenizer.h"
#include "train/command_line.h"
#include "train/generate.h"
#include "train/program_options.h"
#include "train/threads.h"
#include "train/trained_model.h"

namespace {

int run(int argc, char** argv) {
  const SampleOptions options = parse_sample_options(argc, argv, kSelectedName);
  TrainedModel model(options.checkpoint, "sample");
  if (model.config.V != kByteVocabSize)
    throw Error("checkpoint '" + model.path + "' has a vocabulary of " + std::to_string(model.config.V) +
                "; sample knows bytes alone, a vocabulary of 256");
  const size_t T = model.config.T;
  model.load(1, T, set_threads(options.threads));
  std::fwrite(options.prompt.data(), 1, options.prompt.size(), stdout);
  generate<SelectedNormalizer, SelectedPrecision>(model.config, model.weights.view(), model.a, encode(options.prompt),
                                                  options.tokens, T, options.sampling, [](int32_t token) {
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
