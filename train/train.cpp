// train: trains a GPT from scratch with the normalizer it is compiled for. The options are in train/options.h, the run
// in train/loop.cpp.
#include "train/command_line.h"
#include "train/loop.h"
#include "train/options.h"
#include "train/threads.h"
#include "train/variant.h"

int main(int argc, char** argv) {
  let_waiting_threads_sleep(argv);
  return run_program("train", [&] { return run_training(parse_train_options(argc, argv, selected_variant())); });
}
