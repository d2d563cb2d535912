// Input: the metrics.jsonl of up to four runs, with a line "====" between them.
#include <sstream>

#include "tests/fuzz/fuzz.h"
#include "train/comparison.h"
#include "train/metrics_reader.h"
#include "train/plot.h"

namespace {

constexpr size_t kMostRuns = 4;

// Lines of printable text, or nothing.
void require_lines(std::string_view text) {
  require(text.empty() || text.ends_with('\n'), "a text ends with a line break");
  while (!text.empty()) {
    const std::string line(take_until(text, "\n"));
    require(is_printable(line), "a line is printable: " + line);
  }
}

void require_rows(const std::string& csv) {
  bool quoted = false;
  int fields = 1;
  for (char letter : csv) {
    if (letter == '"') quoted = !quoted;
    if (quoted) continue;
    if (letter == ',') fields++;
    if (letter != '\n') continue;
    require(fields == 11, "a row of the CSV has a field for each column");
    fields = 1;
  }
  require(!quoted && csv.ends_with('\n'), "a CSV file ends with a whole row");
}

void check_run(const Run& run) {
  for (size_t i = 1; i < run.steps.size(); i++) require(run.steps[i - 1].step < run.steps[i].step, "steps ascend");
  for (size_t i = 1; i < run.evals.size(); i++)
    require(run.evals[i - 1].step <= run.evals[i].step, "evaluations ascend");
  for (const StepRecord& record : run.steps) require(record.step <= run.last_step, "the last step is the last");
  require(run.last_step >= 0 && run.tokens_per_update >= 0, "counts are not negative");
  require(is_printable(run.normalizer) && is_printable(run.state_text()), "a name is printable");
}

}  // namespace

void fuzz_metrics(std::string_view input) {
  std::vector<Run> runs;
  while (!input.empty() && runs.size() < kMostRuns) {
    std::istringstream file{std::string(take_until(input, "====\n"))};
    const std::string name = "run" + std::to_string(runs.size());
    if (!accepts([&] { runs.push_back(read_metrics(file, name + "/metrics.jsonl", name)); })) return;
    check_run(runs.back());
  }
  if (runs.empty()) return;

  const size_t all = runs.size();
  Comparison comparison;
  if (!accepts([&] { comparison = compare_runs(runs, "softmax", false); })) return;
  size_t grouped = 0;
  for (const Group& group : comparison.groups) grouped += group.runs.size();
  require(grouped + comparison.notes.size() == all, "a run is in a group or said to be left out");
  for (const std::string& text :
       {table_text(comparison), remarks_text(comparison), samples_text(comparison), promises_text(comparison),
        picture_script(comparison, "svg"), text_script(comparison, 80, 24)})
    require_lines(text);
  require_rows(csv_text(comparison));
}
