#include "train/experiments/plan.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "data/error.h"
#include "data/json_members.h"
#include "data/sha256.h"
#include "data/small_file.h"
#include "train/command_line.h"

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

int sequence_length(const Configuration& configuration) {
  int T = 0;
  const auto found = configuration.options.find("seq-len");
  if (found == configuration.options.end() || !read_value(found->second, T) || T < 1)
    throw Error("'" + configuration.folder + "/experiment.json' needs the option seq-len, an integer above 0");
  return T;
}

namespace {

constexpr int kMostExtensions = 3;  // of a grid, on either side

std::string text_of_json(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_float()) return text_of(value.get<double>());
  return value.dump();
}

std::set<std::string> names_of(const Json& object) {
  std::set<std::string> names;
  for (const auto& [name, value] : object.items()) names.insert(name);
  return names;
}

// One object of the file: its members by name, and a complaint about every name that nobody asked for.
class Section {
 public:
  Section(const Json& json, const std::string& where, const std::set<std::string>& names)
      : json_(json), where_(where), members_(json_, where_) {
    for (const auto& [key, value] : json.items())
      if (!names.count(key))
        throw Error(where + " has the key '" + key + "'; it may have " +
                    list_of(std::vector<std::string>(names.begin(), names.end()), " and "));
  }
  bool has(const char* key) const { return members_.has(key); }
  const Json& at(const char* key) const { return members_.at(key); }
  std::string text(const char* key) const { return members_.text(key); }
  std::string text(const char* key, const std::string& otherwise) const { return has(key) ? text(key) : otherwise; }

  Options options(const char* key) const {
    Options result;
    if (!has(key)) return result;
    if (!at(key).is_object()) throw members_.bad(key, "an object of options by name");
    for (const auto& [name, value] : at(key).items()) {
      if (value.is_structured() || value.is_null()) throw members_.bad(key, "an object of texts, numbers and flags");
      result[name] = text_of_json(value);
    }
    return result;
  }
  void require_members(const char* key) const {
    if (!at(key).is_object() || at(key).empty()) throw members_.bad(key, "an object of at least one name");
  }
  const Json& list(const char* key) const {
    if (!at(key).is_array() || at(key).empty()) throw members_.bad(key, "a list of at least one");
    return at(key);
  }
  std::vector<std::string> texts(const char* key) const {
    std::vector<std::string> result;
    for (const Json& value : list(key)) {
      if (value.is_structured() || value.is_null()) throw members_.bad(key, "a list of texts or numbers");
      result.push_back(text_of_json(value));
    }
    return result;
  }
  std::vector<double> numbers(const char* key) const {
    std::vector<double> result;
    for (const std::string& text : texts(key)) {
      double value = 0;
      if (!read_value(text, value) || value <= 0) throw members_.bad(key, "a list of numbers above 0");
      result.push_back(value);
    }
    return result;
  }
  void seeds(uint64_t* first, uint64_t* last) const {
    const Json& range = at("seeds");
    if (!range.is_array() || range.size() != 2 || !is_natural(range[0]) || !is_natural(range[1]) || range[0] > range[1])
      throw members_.bad("seeds", "the first and the last seed, as [1, 8]");
    *first = range[0], *last = range[1];
  }
  // An object whose keys are names that the file chooses.
  Section inner(const char* key) const { return Section(at(key), where_ + ", " + key, names_of(at(key))); }
  std::string text_of(const char* key) const { return text_of_json(at(key)); }
  double number(const char* key) const { return members_.number(key); }
  int natural(const char* key, int otherwise) const { return has(key) ? int(members_.natural(key)) : otherwise; }

 private:
  Json json_;
  std::string where_;
  JsonMembers members_;
};

Claim read_claim(const Json& json, const std::string& where) {
  Section section(json, where, {"claim", "source", "primary"});
  return {section.text("claim"), section.text("source"), section.text("primary", "")};
}

MeasureSpec read_measure(const Json& json, const std::string& where) {
  Section section(json, where, {"name", "kind", "options"});
  static const std::set<std::string> kinds{"by-position", "needle", "attention", "scales", "length-scale"};
  MeasureSpec measure;
  measure.name = section.text("name");
  measure.kind = section.text("kind");
  measure.options = section.options("options");
  if (!kinds.count(measure.kind))
    throw Error(where + " has kind = '" + measure.kind + "'; it must be " +
                list_of(std::vector<std::string>(kinds.begin(), kinds.end())));
  return measure;
}

std::map<std::string, Options> read_variants(const Section& section, const char* key) {
  std::map<std::string, Options> variants;
  section.require_members(key);
  for (const std::string& name : names_of(section.at(key))) variants[name] = section.inner(key).options(name.c_str());
  return variants;
}

GroupSpec read_group(const Json& json, const std::string& where) {
  Section section(json, where,
                  {"name", "data", "normalizers", "seeds", "rates", "variants", "options", "measures", "start",
                   "start-group", "start-normalizer", "start-step", "rate-factor"});
  GroupSpec group;
  group.name = section.text("name");
  group.data = section.text("data");
  group.normalizers = section.texts("normalizers");
  section.seeds(&group.first_seed, &group.last_seed);
  group.rates = section.texts("rates");
  if (section.has("variants"))
    group.variants = read_variants(section, "variants");
  else
    group.variants[""] = {};
  group.options = section.options("options");
  if (section.has("measures"))
    for (const Json& measure : section.list("measures"))
      group.measures.push_back(read_measure(measure, where + ", measures"));
  group.start = section.text("start", "");
  if (!group.start.empty() && group.start != "init-from" && group.start != "continue-from")
    throw Error(where + " has start = '" + group.start + "'; it must be init-from or continue-from");
  if (!group.start.empty()) group.start_group = section.text("start-group");
  group.start_normalizer = section.text("start-normalizer", "");
  group.start_step = section.natural("start-step", 0);
  if (section.has("rate-factor")) group.rate_factor = section.number("rate-factor");
  if (!(group.rate_factor > 0))
    throw Error(where + " has rate-factor = " + text_of(group.rate_factor) + "; it must be above 0");
  return group;
}

std::string rate_text(double lr) { return lr > 0 ? "lr" + text_of(lr) : "lr?"; }

RunPlan make_run(const Configuration& configuration, const std::string& group, const std::string& data,
                 const std::string& normalizer, const Options& options, const std::string& variant, double lr,
                 uint64_t seed) {
  RunPlan run;
  run.group = group;
  run.normalizer = normalizer;
  run.data = data;
  run.variant = variant;
  run.lr = lr;
  run.seed = seed;
  run.options = configuration.options;
  for (const auto& [name, value] : options) run.options[name] = value;
  run.options["lr"] = text_of(lr);
  run.options["seed"] = std::to_string(seed);
  run.name = data + "-" + normalizer + (variant.empty() ? "" : "-" + variant) + "-" + rate_text(lr) + "-s" +
             std::to_string(seed);
  return run;
}

// A run of a group, with the one that it starts from; its rate is 0 while that is open.
RunPlan run_of(const Configuration& configuration, const std::map<std::string, double>& rates, const GroupSpec& group,
               const std::string& rate, const std::string& normalizer, const std::string& variant, uint64_t seed) {
  double lr = 0;
  if (rate == "shared" || rate == "tuned") {
    const auto found = rates.find(rate == "shared" ? configuration.baseline : normalizer);
    if (found != rates.end()) lr = found->second;
  } else {
    read_value(rate, lr);
  }
  Options options = group.options;
  for (const auto& [name, value] : group.variants.at(variant)) options[name] = value;
  RunPlan run =
      make_run(configuration, group.name, group.data, normalizer, options, variant, lr * group.rate_factor, seed);
  if (group.start.empty()) return run;
  const auto from = std::find_if(configuration.groups.begin(), configuration.groups.end(),
                                 [&](const GroupSpec& other) { return other.name == group.start_group; });
  run.start = group.start;
  run.start_step = group.start_step;
  run.parent = std::make_shared<RunPlan>(run_of(configuration, rates, *from, from->rates.front(),
                                                group.start_normalizer.empty() ? normalizer : group.start_normalizer,
                                                from->variants.begin()->first, seed));
  return run;
}

struct Tuning {
  std::vector<RunPlan> runs;
  std::optional<double> best;  // once all runs of the grid and of its extensions are there
};

Tuning tune(const Configuration& configuration, const TuneSpec& spec, const std::string& normalizer,
            const TuningLoss& loss_of) {
  Tuning result;
  std::vector<double> grid = spec.grid;
  std::sort(grid.begin(), grid.end());
  for (int extended_down = 0, extended_up = 0;;) {
    result.runs.clear();
    bool complete = true;
    double best = 0, best_loss = HUGE_VAL;
    for (double lr : grid) {
      double sum = 0;
      for (uint64_t seed = spec.first_seed; seed <= spec.last_seed; seed++) {
        result.runs.push_back(make_run(configuration, kTuning, spec.data, normalizer, {}, "", lr, seed));
        const std::optional<double> loss = loss_of(result.runs.back());
        complete = complete && loss;
        sum += loss.value_or(0);
      }
      if (sum < best_loss) best_loss = sum, best = lr;
    }
    if (!complete) return result;
    if (best == 0) best = grid.front();  // it diverged at every rate: look lower
    if (best == grid.front() && extended_down < kMostExtensions) {
      grid.insert(grid.begin(), grid.front() / 2);
      extended_down++;
    } else if (best == grid.back() && extended_up < kMostExtensions) {
      grid.push_back(grid.back() * 2);
      extended_up++;
    } else {
      result.best = best;
      return result;
    }
  }
}

// Lengths as multiples of the sequence length: "16T", or several, "T,2T,16T"; any other text stays as it is.
std::string in_tokens(const std::string& text, int T) {
  std::string result;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    std::string word = text.substr(begin, end - begin);
    int factor = 1;
    if (word == "T" || (word.size() > 1 && word.back() == 'T' && read_value(word.substr(0, word.size() - 1), factor)))
      word = std::to_string(factor * T);
    result += (begin > 0 ? "," : "") + word;
    begin = end + 1;
  }
  return result;
}

std::string words_of(const Options& options) {
  std::string text;
  for (const auto& [name, value] : options) text += " " + name + "=" + value;
  return text;
}

// Calls rename(name) for every data and corpus that runs, measures, tuning and the options of prepare name.
template <class Rename>
void rename_data(Configuration& configuration, const Rename& rename) {
  auto rename_option = [&](Options& options, const char* option) {
    if (const auto found = options.find(option); found != options.end()) rename(found->second);
  };
  if (configuration.tune) rename(configuration.tune->data);
  for (GroupSpec& group : configuration.groups) {
    rename(group.data);
    for (MeasureSpec& measure : group.measures) rename_option(measure.options, "data");
  }
  for (auto& [name, options] : configuration.data) {
    rename_option(options, "corpus");
    if (const auto mix = options.find("mix"); mix != options.end()) {
      std::string mixed = mixed_data(mix->second);
      const std::string share = mix->second.substr(mixed.size());
      rename(mixed);
      mix->second = mixed + share;
    }
  }
}

// Data that is prepared with other options is other data: what is no corpus gets a name that ends in a hash of them,
// which is then part of every run's hash. Data that is mixed into other data is named first.
void name_data_by_options(Configuration& configuration, const std::string& where) {
  std::map<std::string, Options> unnamed = configuration.data, named;
  while (!unnamed.empty()) {
    const auto next = std::find_if(unnamed.begin(), unnamed.end(), [&](const auto& entry) {
      const auto mix = entry.second.find("mix");
      return mix == entry.second.end() || !unnamed.count(mixed_data(mix->second));
    });
    if (next == unnamed.end())
      throw Error(where + " has the data '" + unnamed.begin()->first + "', which is mixed into itself");
    const auto [name, options] = *next;
    const std::string full_name = name + "-" + sha256_hex(words_of(options)).substr(0, 6);
    named[full_name] = options;
    unnamed.erase(next);
    configuration.data = unnamed;
    rename_data(configuration, [&, &old = name](std::string& other) {
      if (other == old) other = full_name;
    });
    unnamed = configuration.data;
  }
  configuration.data = named;
}

void require_rates(const Configuration& configuration, const std::string& where) {
  for (const GroupSpec& group : configuration.groups)
    for (const std::string& rate : group.rates) {
      double value = 0;
      if (rate != "shared" && rate != "tuned" && !(read_value(rate, value) && value > 0))
        throw Error(where + " has the rate '" + rate + "' in group '" + group.name +
                    "'; it must be shared, tuned or a number above 0");
    }
}

// A name stands for one thing: groups share runs, and with them what was measured.
void require_different_names(const Configuration& configuration, const std::string& where) {
  std::set<std::string> groups{kTuning};
  std::map<std::string, std::string> measures;  // hashes
  for (const GroupSpec& group : configuration.groups) {
    if (!groups.insert(group.name).second)
      throw Error(where + " has " + (group.name == kTuning ? "a group" : "two groups") + " named '" + group.name +
                  "'; give " + (group.name == kTuning ? "it" : "one") + " another name");
    std::set<std::string> of_group;
    for (const MeasureSpec& measure : group.measures) {
      const auto [known, is_new] = measures.emplace(measure.name, measure.hash());
      if (!of_group.insert(measure.name).second || (!is_new && known->second != measure.hash()))
        throw Error(where + " has two measures named '" + measure.name + "'; give one of them another name");
    }
  }
}

// A shared or tuned rate comes from tuning.
void require_tuning(const Configuration& configuration, const std::string& where) {
  auto is_tuned = [&](const std::string& normalizer) {
    const std::vector<std::string> none, &tuned = configuration.tune ? configuration.tune->normalizers : none;
    return std::find(tuned.begin(), tuned.end(), normalizer) != tuned.end();
  };
  for (const GroupSpec& group : configuration.groups)
    for (const std::string& rate : group.rates) {
      if (rate == "shared" && !is_tuned(configuration.baseline))
        throw Error(where + " has the rate shared in group '" + group.name + "', but does not tune " +
                    configuration.baseline);
      for (const std::string& normalizer : group.normalizers)
        if (rate == "tuned" && !is_tuned(normalizer))
          throw Error(where + " has the rate tuned in group '" + group.name + "', but does not tune " + normalizer);
    }
}

// Names become parts of cells and of file names.
void require_plain_names(const Configuration& configuration, const std::string& where) {
  auto require = [&](const std::string& name, const char* what) {
    if (name.empty() || name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") !=
                            std::string::npos)
      throw Error(where + " has the " + what + " '" + name + "'; it must be of letters, digits, '-', '_' and '.'");
  };
  for (const auto& [name, ignored] : configuration.data) require(name, "data");
  for (const GroupSpec& group : configuration.groups) {
    require(group.name, "group");
    require(group.data, "data");
    for (const auto& [variant, ignored] : group.variants)
      if (!variant.empty()) require(variant, "variant");
    for (const MeasureSpec& measure : group.measures) require(measure.name, "measure");
  }
}

// The grid of the rules, and seeds that no comparison uses.
void require_fair_tuning(const Configuration& configuration, const std::string& where) {
  if (!configuration.tune) return;
  const TuneSpec& spec = *configuration.tune;
  std::vector<double> grid = spec.grid;
  std::sort(grid.begin(), grid.end());
  bool is_fair = grid.size() >= 4;
  for (size_t i = 0; i + 1 < grid.size(); i++) is_fair = is_fair && std::abs(grid[i + 1] / grid[i] - 2) < 1e-9;
  if (!is_fair) throw Error(where + ", tune, has a grid that is not of at least 4 rates, each twice the one before");
  for (const GroupSpec& group : configuration.groups)
    if (group.first_seed <= spec.last_seed && spec.first_seed <= group.last_seed)
      throw Error(where + " tunes with seeds that group '" + group.name + "' compares; they must be other ones");
}

void require_start_groups(const Configuration& configuration, const std::string& where) {
  std::set<std::string> before;
  for (const GroupSpec& group : configuration.groups) {
    if (!group.start.empty() && !before.count(group.start_group))
      throw Error(where + " has the group '" + group.name + "', which starts from the group '" + group.start_group +
                  "'; it must be one that stands before it");
    before.insert(group.name);
  }
}

// The same experiment at another size: other options, other data, another grid.
void apply_scale(Configuration& configuration, const std::string& path) {
  const std::string where = "'" + path + "'";
  const Json json = parse_strict_json<Json>(read_small_file(path), where);
  Section section(json, where, {"what", "options", "data", "grid", "rate", "start-step", "variants"});
  const Options options = section.options("options"), data = section.options("data");
  rename_data(configuration, [&](std::string& name) {
    if (const auto found = data.find(name); found != data.end()) name = found->second;
  });
  for (const auto& [name, value] : options) configuration.options[name] = value;
  if (configuration.tune) configuration.tune->grid = section.numbers("grid");
  for (GroupSpec& group : configuration.groups) {
    if (section.has("variants") && section.inner("variants").has(group.name.c_str()))
      group.variants = read_variants(section.inner("variants"), group.name.c_str());
    if (group.start_step > 0) group.start_step = section.natural("start-step", 0);
    for (std::string& rate : group.rates)
      if (rate != "shared" && rate != "tuned") rate = section.text_of("rate");
  }
}

}  // namespace

std::string mixed_data(const std::string& mix) { return mix.substr(0, mix.find(':')); }

std::vector<std::string> with_options(std::vector<std::string> words, const Options& options) {
  for (const auto& [name, value] : options) {
    words.push_back("--" + name + (value == "true" || value == "false" ? "=" + value : ""));
    if (value != "true" && value != "false") words.push_back(value);
  }
  return words;
}

std::string RunPlan::options_text() const {
  std::string text = normalizer + " data=" + data + words_of(options);
  if (parent) text += " " + start + "=" + parent->name + "@" + std::to_string(start_step) + ":" + parent->hash();
  return text;
}

std::string MeasureSpec::hash() const { return sha256_hex(kind + words_of(options)).substr(0, 8); }

std::string RunPlan::hash() const { return sha256_hex(options_text()).substr(0, 12); }

bool is_primary(const Configuration& configuration, const std::string& normalizer) {
  return std::any_of(configuration.claims.begin(), configuration.claims.end(),
                     [&](const Claim& claim) { return claim.primary == normalizer; });
}

Configuration read_configuration(const std::string& folder, const std::string& scale) {
  const std::string path = (fs::path(folder) / "experiment.json").string(), where = "'" + path + "'";
  const Json json = parse_strict_json<Json>(read_small_file(path), where);
  Section section(json, where,
                  {"title", "question", "claims", "remark", "baseline", "options", "data", "tune", "groups"});
  Configuration result;
  result.folder = folder;
  result.name = fs::path(folder).filename().string();
  result.title = section.text("title");
  result.question = section.text("question");
  for (const Json& claim : section.list("claims")) result.claims.push_back(read_claim(claim, where + ", claims"));
  result.remark = section.text("remark", "");
  result.baseline = section.text("baseline", "softmax");
  result.options = section.options("options");
  if (section.has("data")) {
    for (const std::string& name : names_of(section.at("data")))
      result.data[name] = section.inner("data").options(name.c_str());
  }
  if (section.has("tune")) {
    Section tuning(section.at("tune"), where + ", tune", {"data", "normalizers", "grid", "seeds"});
    TuneSpec spec;
    spec.data = tuning.text("data");
    spec.normalizers = tuning.texts("normalizers");
    spec.grid = tuning.numbers("grid");
    tuning.seeds(&spec.first_seed, &spec.last_seed);
    result.tune = spec;
  }
  if (section.has("groups"))
    for (const Json& group : section.list("groups")) result.groups.push_back(read_group(group, where + ", groups"));
  require_plain_names(result, where);
  require_different_names(result, where);
  require_rates(result, where);
  require_fair_tuning(result, where);
  require_tuning(result, where);
  require_start_groups(result, where);
  if (scale != "small") {
    const std::string scale_path = (fs::path(folder).parent_path() / (scale + ".json")).string();
    apply_scale(result, scale_path);
    require_plain_names(result, "'" + scale_path + "'");
    require_rates(result, "'" + scale_path + "'");
    require_fair_tuning(result, "'" + scale_path + "'");
  }
  if (result.groups.empty() && !result.tune) return result;  // it trains nothing
  const int T = sequence_length(result);
  for (auto& [name, options] : result.data)
    for (auto& [option, value] : options) value = in_tokens(value, T);
  for (GroupSpec& group : result.groups)
    for (MeasureSpec& measure : group.measures)
      for (auto& [name, value] : measure.options) value = in_tokens(value, T);
  name_data_by_options(result, where);
  return result;
}

std::vector<std::string> experiment_names(const std::string& root) {
  const std::string path = (fs::path(root) / "order.txt").string();
  std::istringstream lines(read_small_file(path));
  std::vector<std::string> names;
  for (std::string name; std::getline(lines, name);)
    if (!name.empty()) names.push_back(name);
  if (names.empty()) throw Error("'" + path + "' names no experiment; it has one on each line");
  return names;
}

Plan make_plan(const Configuration& configuration, const TuningLoss& tuning_loss) {
  Plan plan;
  if (configuration.tune)
    for (const std::string& normalizer : configuration.tune->normalizers) {
      Tuning tuning = tune(configuration, *configuration.tune, normalizer, tuning_loss);
      plan.tuning.insert(plan.tuning.end(), tuning.runs.begin(), tuning.runs.end());
      if (tuning.best) plan.rates[normalizer] = *tuning.best;
    }

  std::map<std::string, std::string> hashes;  // by name: shared and tuned rates may be the same
  for (const GroupSpec& group : configuration.groups)
    for (uint64_t seed = group.first_seed; seed <= group.last_seed; seed++)
      for (const std::string& rate : group.rates)
        for (const std::string& normalizer : group.normalizers)
          for (const auto& [variant, ignored] : group.variants) {
            const RunPlan run = run_of(configuration, plan.rates, group, rate, normalizer, variant, seed);
            const auto [known, is_new] = hashes.emplace(run.name, run.hash());
            if (!is_new && known->second != run.hash() && run.lr > 0)
              throw Error("'" + configuration.folder + "/experiment.json' has two runs " + run.name +
                          " with different options; give one of them a variant");
            if (run.lr > 0) plan.members[group.name].push_back(run.name);
            if (!is_new) continue;
            (run.lr > 0 ? plan.runs : plan.later).push_back(run);
          }
  plan.complete = plan.later.empty();
  return plan;
}
