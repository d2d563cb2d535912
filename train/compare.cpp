// compare: the loss curves of any set of runs, side by side: a table, a picture, a CSV file.
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include "data/atomic_file.h"
#include "train/command_line.h"
#include "train/comparison.h"
#include "train/metrics_reader.h"
#include "train/plot.h"
#include "train/program_options.h"

namespace {

void write(AtomicFile& file, const std::string& content) {
  file.write(content.data(), content.size());
  file.commit();
}

int compare(const CompareOptions& options) {
  std::vector<Run> runs;
  for (const std::string& folder : options.runs) runs.push_back(read_run(folder));
  const Comparison comparison = compare_runs(std::move(runs), options.baseline, options.baseline_given);

  AtomicFile csv(options.csv), picture(options.out);  // both can be written, or nothing starts

  // The table comes even where gnuplot fails.
  std::optional<std::string> drawing, on_terminal;
  std::optional<Failure> problem;
  try {
    drawing = draw_picture(comparison, options.out);
    const TerminalSize size = terminal_size();
    if (options.terminal) on_terminal = draw_text(comparison, size.columns, size.rows - 1);
  } catch (const Failure& failure) {
    problem = failure;
  }
  const auto section = [](const std::string& text) { return text.empty() ? "" : text + "\n"; };
  std::cout << section(on_terminal.value_or("")) << section(table_text(comparison)) << section(remarks_text(comparison))
            << samples_text(comparison) << promises_text(comparison) << std::flush;
  write(csv, csv_text(comparison));
  if (problem) throw *problem;
  if (drawing) write(picture, *drawing);
  std::cout << (drawing ? "wrote " + options.out + " and " : "gnuplot is not installed: no picture; wrote ")
            << options.csv << std::endl;
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return run_program("compare", [&] { return compare(parse_compare_options(argc, argv)); });
}
