// reproduce: runs the experiments of train/experiments/ that are not recorded yet, and writes what they found.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <set>

#include "train/command_line.h"
#include "train/experiments/plan_table.h"
#include "train/experiments/process.h"
#include "train/experiments/report.h"
#include "train/experiments/runner.h"
#include "train/folder_lock.h"
#include "train/threads.h"

namespace fs = std::filesystem;

namespace {

struct ReproduceOptions {
  std::vector<std::string> experiments;
  RunnerOptions runner;
  bool dry_run = false, report = false, list_normalizers = false;
};

ReproduceOptions parse_reproduce_options(int argc, const char* const* argv) {
  ReproduceOptions options;
  RunnerOptions& runner = options.runner;
  runner.jobs = 0;
  CommandLine line("reproduce", "Runs the experiments that are not recorded yet, and writes what they found.");
  line.add_positional("EXPERIMENT", options.experiments, "folders of --root; all of them unless some are named");
  line.add("scale", runner.scale, "small, or another for which --root has a file of options, such as large");
  line.add("dry-run", options.dry_run, "print the plan and stop");
  line.add("report", options.report, "only make tables and figures again, from what is recorded");
  line.add("restart", runner.restart, "forget what was recorded with other options or on other data");
  line.add("jobs", runner.jobs, "runs at a time, each on one core; 0: as many as there are cores", between(0, 1024))
      .default_text("0, or 1 at another scale than small");
  line.add("gflops", runner.gflops, "what one job reaches, for the times in the plan; 0: what recorded runs reached",
           non_negative<double>());
  line.add("root", runner.root, "folder of the experiments");
  line.add("runs", runner.runs, "folder of the runs; they may be removed once they are recorded");
  line.add("data", runner.data, "folder of the folders of token files; what is missing is prepared there");
  line.add("build", runner.build, "folder of the programs");
  line.add("list-normalizers", options.list_normalizers,
           "print the normalizers whose programs what is missing needs, and stop");
  line.parse(argc, argv);
  if (runner.restart && (options.dry_run || options.report))
    throw Error("--restart forgets rows, which --dry-run and --report do not; give it alone");
  return options;
}

// Each run on one core, as many at a time as there are cores: more is done in the same time than by one run on all of
// them. At another scale a run takes the whole machine.
void choose_jobs(RunnerOptions& options) {
  if (options.scale != "small") {
    options.jobs = std::max(options.jobs, 1);
    return;
  }
  if (options.jobs == 0) options.jobs = set_threads(0).threads;
  options.threads = 1;
}

int reproduce(const ReproduceOptions& asked) {
  RunnerOptions options = asked.runner;
  choose_jobs(options);
  const std::vector<std::string> names = experiment_names(options.root);
  for (const std::string& name : asked.experiments)
    if (std::find(names.begin(), names.end(), name) == names.end())
      throw Error("EXPERIMENT is '" + name + "'; " + options.root + "/order.txt has " + list_of(names, " and "));
  const std::vector<std::string>& wanted = asked.experiments.empty() ? names : asked.experiments;
  std::vector<Experiment> experiments;
  for (const std::string& name : wanted) experiments.emplace_back(options, name);

  if (asked.list_normalizers) {
    std::set<std::string> normalizers;
    for (const Experiment& experiment : experiments)
      if (options.restart || !experiment.missing().empty() || !experiment.plan.complete)
        for (const std::string& name : normalizers_of(experiment)) normalizers.insert(name);
    for (const std::string& name : normalizers) std::printf("%s\n", name.c_str());
    return 0;
  }
  std::optional<FolderLock> runs_lock;
  auto lock_runs = [&] {
    if (runs_lock) return;
    fs::create_directories(options.runs);
    runs_lock.emplace(options.runs);
  };
  for (Experiment& experiment : experiments) {
    if (options.restart) {
      lock_runs();
      const FolderLock lock(experiment.configuration.folder);
      experiment = Experiment(options, experiment.configuration.name);
      forget_other_options(experiment, options);
    }
    require_same_options(experiment, options);
  }
  if (!asked.report) {
    std::printf("%s\n", plan_text(experiments, options).c_str());
    std::fflush(stdout);
    if (asked.dry_run) return 0;
    pass_on_interrupts();
    lock_runs();
    for (const std::string& name : wanted) {
      const FolderLock lock((fs::path(options.root) / name).string());
      Experiment experiment(options, name);  // again: another process may have recorded more since the plan
      run_experiment(experiment, options);
      std::printf("%s", write_report(experiment).c_str());
      std::fflush(stdout);
    }
  } else {
    for (const Experiment& experiment : experiments) std::printf("%s", write_report(experiment).c_str());
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return run_program("reproduce", [&] { return reproduce(parse_reproduce_options(argc, argv)); });
}
