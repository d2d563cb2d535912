// compare: the loss curves of any set of runs, side by side: a table, a picture, a CSV file.
#include <filesystem>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include "data/atomic_file.h"
#include "train/command_line.h"
#include "train/comparison.h"
#include "train/metrics_reader.h"
#include "train/plot.h"

namespace {

struct Options {
  std::vector<std::string> runs;
  std::string baseline = "softmax";
  bool baseline_given = false;
  std::string out = "curves.svg";
  std::string csv;
  bool terminal = false;
};

Options read_options(int argc, char** argv) {
  Options options;
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

void write(AtomicFile& file, const std::string& content) {
  file.write(content.data(), content.size());
  file.commit();
}

int compare(const Options& options) {
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
  return run_program("compare", [&] { return compare(read_options(argc, argv)); });
}
