#include "train/options.h"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "data/atomic_file.h"
#include "train/command_line.h"
#include "train/threads.h"

namespace {

enum class Use {
  kRun,       // saved with the run; --resume refuses another value
  kFlexible,  // saved with the run; --resume may change it
  kPath,      // saved with the run; --resume may give another path to the same place
  kCall,      // of this call only
};

struct About {
  const char* name;
  const char* help;
  Use use = Use::kRun;
  const char* default_text = nullptr;  // for --help, where the default depends on other options
  bool newer = false;                  // checkpoints written before there was this option have its default
};

constexpr const char* kData = "Data";
constexpr const char* kModel = "Model";
constexpr const char* kTraining = "Training";
constexpr const char* kOutput = "Output";

std::vector<std::string> preset_names();

// The list of options: visit(group, About, field, Allowed<field's type>) for each.
template <class Options, class Visit>
void for_each_option(Options& o, const Visit& visit) {
  const char* group = kData;
  visit(group, About{"data", "folder of token files: *train*.bin, *val*.bin and tokens.json", Use::kPath}, o.data,
        anything<std::string>());
  visit(group, About{"text", "text file to train on, one token for each byte", Use::kPath}, o.text,
        anything<std::string>());
  visit(group, About{"vocab-size", "number of different tokens", Use::kRun, "from the data"}, o.vocab_size,
        non_negative<int>());
  visit(group, About{"batch-size", "rows of one micro-batch (B)"}, o.batch_size, positive<int>());
  visit(group, About{"seq-len", "tokens in a row (T)"}, o.seq_len, positive<int>());
  visit(group, About{"grad-accum", "micro-batches per update"}, o.grad_accum, positive<int>());
  visit(group, About{"data-seed", "seed of the order of the rows", Use::kRun, "SEED"}, o.data_seed,
        non_negative<uint64_t>());
  visit(group, About{"order", "order of the rows: shuffled or sequential"}, o.order,
        one_of({"shuffled", "sequential"}));

  group = kModel;
  visit(group, About{"preset", "defaults for the rest: tiny, small, char, gpt2 or gpt2-ssmax; shown here is small"},
        o.preset, one_of(preset_names()));
  visit(group, About{"layers", "number of layers (L)"}, o.layers, positive<int>());
  visit(group, About{"heads", "attention heads of a layer (NH)"}, o.heads, positive<int>());
  visit(group, About{"channels", "width of the model (C), a multiple of the heads"}, o.channels, positive<int>());
  visit(group, About{"position", "position encoding: learned, rope, alibi or none"}, o.position,
        one_of({"learned", "rope", "alibi", "none"}));
  visit(group, About{"rope-theta", "base of the RoPE wavelengths"}, o.rope_theta, positive<double>());
  visit(group, About{"untied", "the head has weights of its own, not the token embedding's; --untied=false: tied"},
        o.untied, anything<bool>());
  visit(group, About{"scale-init", "start of s of ssmax, 0 for 1/mean ln n; and of learned_scale, 0 for 1"},
        o.scale_init, non_negative<double>());
  visit(group, About{"seed", "seed of the initial weights"}, o.seed, non_negative<uint64_t>());
  visit(group,
        About{"init-noise", "relative change of every initial weight, up or down as the seed draws it", Use::kRun,
              nullptr, true},
        o.init_noise, non_negative<double>());

  group = kTraining;
  visit(group, About{"steps", "updates; 0 writes a checkpoint of the initial weights", Use::kFlexible}, o.steps,
        non_negative<int>());
  visit(group, About{"lr", "highest learning rate"}, o.lr, positive<double>());
  visit(group, About{"min-lr", "learning rate at the end of the cosine", Use::kRun, "LR/10"}, o.min_lr,
        non_negative<double>());
  visit(group, About{"warmup-steps", "updates with a rising learning rate, fewer than the steps"}, o.warmup_steps,
        non_negative<int>());
  visit(group, About{"schedule", "learning rate after the warm-up: cosine or constant"}, o.schedule,
        one_of({"cosine", "constant"}));
  visit(group, About{"weight-decay", "decoupled decay of matrices"}, o.weight_decay, non_negative<double>());
  visit(group, About{"beta1", "decay of AdamW's first moment"}, o.beta1, fraction());
  visit(group, About{"beta2", "decay of AdamW's second moment"}, o.beta2, fraction());
  visit(group, About{"grad-clip", "highest norm of the gradient, 0 for no limit"}, o.grad_clip, non_negative<double>());
  visit(group,
        About{"tf32", "on a GPU, in fp32: faster products, of operands rounded to TF32", Use::kRun, nullptr, true},
        o.tf32, anything<bool>());
  visit(group, About{"init-from", "start from the weights of this step folder or run, at update 0"}, o.init_from,
        anything<std::string>());
  visit(group,
        About{"continue-from", "go on from this step folder or run: weights, moments, update, place in the data"},
        o.continue_from, anything<std::string>());

  group = kOutput;
  visit(group, About{"out", "folder of the run", Use::kPath, "runs/PRESET-NORMALIZER-sSEED"}, o.out, not_empty());
  visit(group, About{"eval-every", "updates between evaluations, 0 for only at the end", Use::kFlexible}, o.eval_every,
        non_negative<int>());
  visit(group, About{"eval-tokens", "validation tokens of an evaluation during training", Use::kFlexible},
        o.eval_tokens, between<int64_t>(2, std::numeric_limits<int64_t>::max()));
  visit(group, About{"checkpoint-every", "updates between checkpoints, 0 for only at the end", Use::kFlexible},
        o.checkpoint_every, non_negative<int>());
  visit(group, About{"keep", "newest checkpoints that stay on disk, 0 for all", Use::kFlexible}, o.keep,
        non_negative<int>());
  visit(group,
        About{"checkpoint-sync", "training waits until a checkpoint is written, and needs no memory for a copy of it",
              Use::kFlexible, nullptr, true},
        o.checkpoint_sync, anything<bool>());
  visit(group, About{"log-every", "updates between lines of the log", Use::kFlexible}, o.log_every, positive<int>());
  visit(
      group,
      About{"attention-every", "updates between attention records, the first of update 1; 0 for none", Use::kFlexible},
      o.attention_every, non_negative<int>());
  visit(group, About{"threads", "CPU threads, 0 to choose", Use::kFlexible}, o.threads, between(0, kMostThreads));
  visit(group, About{"resume", "go on with the run in --out; every option comes from the run", Use::kCall}, o.resume,
        anything<bool>());
  visit(group,
        About{"check-from", "update from which on NaN and infinity are looked for behind every kernel, 0 for never",
              Use::kCall},
        o.check_from, non_negative<int>());
  visit(group, About{"dry-run", "print the plan and stop", Use::kCall}, o.dry_run, anything<bool>());
}

// Starting points: sizes and rates of published or measured runs, all with beta1 0.9, decay 0.1, clip 1.
// The periods of evaluations are chosen so that a run has 5 to 80 of them.
struct Preset {
  const char* name;
  int layers, heads, channels, seq_len;
  const char* position;
  bool untied;
  int batch_size, grad_accum, steps;
  double lr;
  const char* schedule;
  int warmup_steps;
  double beta2;
  int eval_every, checkpoint_every, log_every;
};

constexpr Preset kPresets[] = {
    {"tiny", 2, 2, 32, 32, "learned", false, 4, 1, 50, 3e-3, "cosine", 5, 0.95, 10, 10, 5},
    {"small", 4, 4, 128, 256, "rope", false, 16, 1, 600, 4e-3, "cosine", 60, 0.95, 100, 100, 10},
    {"char", 6, 6, 384, 256, "learned", false, 64, 1, 5000, 1e-3, "cosine", 100, 0.99, 250, 250, 10},
    {"gpt2", 12, 12, 768, 1024, "learned", false, 4, 120, 19073, 6e-4, "cosine", 700, 0.95, 250, 250, 1},
    {"gpt2-ssmax", 12, 12, 768, 1024, "rope", true, 4, 512, 10000, 6e-4, "constant", 1000, 0.95, 250, 250, 1},
};

std::vector<std::string> preset_names() {
  std::vector<std::string> names;
  for (const Preset& preset : kPresets) names.push_back(preset.name);
  return names;
}

// Sets what the preset says; an unknown name is left to the check of --preset.
void apply_preset(TrainOptions& o, const std::string& name) {
  for (const Preset& p : kPresets) {
    if (name != p.name) continue;
    o.layers = p.layers;
    o.heads = p.heads;
    o.channels = p.channels;
    o.seq_len = p.seq_len;
    o.position = p.position;
    o.untied = p.untied;
    o.batch_size = p.batch_size;
    o.grad_accum = p.grad_accum;
    o.steps = p.steps;
    o.lr = p.lr;
    o.schedule = p.schedule;
    o.warmup_steps = p.warmup_steps;
    o.beta2 = p.beta2;
    o.eval_every = p.eval_every;
    o.attention_every = p.eval_every;
    o.checkpoint_every = p.checkpoint_every;
    o.log_every = p.log_every;
  }
}

void check_schedule(const TrainOptions& o) {
  if (o.steps > 0 && o.warmup_steps >= o.steps)
    throw Error("--warmup-steps is " + text_of(o.warmup_steps) + "; it must be below --steps, which is " +
                text_of(o.steps));
  if (o.check_from > o.steps)
    throw Error("--check-from is " + text_of(o.check_from) + "; it must be at most --steps, which is " +
                text_of(o.steps));
  if (o.schedule == "cosine" && o.min_lr > o.lr)
    throw Error("--min-lr is " + text_of(o.min_lr) + "; it must be at most --lr, which is " + text_of(o.lr));
}

void check_sources(const TrainOptions& o) {
  std::vector<std::string> starts;
  if (!o.init_from.empty()) starts.push_back("--init-from");
  if (!o.continue_from.empty()) starts.push_back("--continue-from");
  if (o.resume) starts.push_back("--resume");
  if (starts.size() > 1) throw Error(list_of(starts, " and ") + " exclude each other; give one of them");
  for (const auto& [name, from] : {std::pair("--init-from", o.init_from), {"--continue-from", o.continue_from}})
    if (o.init_noise > 0 && !from.empty())
      throw Error("--init-noise is " + text_of(o.init_noise) + ", but " + name + " '" + from +
                  "' has weights that are taken as they are; it must be 0 there");
  if (!o.data.empty() && !o.text.empty())
    throw Error("--data '" + o.data + "' and --text '" + o.text + "' exclude each other; give one of them");
  if (!o.resume && o.data.empty() && o.text.empty()) throw Error("train needs --data DIR or --text FILE to train on");
}

// Where the command line and the file give options that exclude each other, the command line holds, as everywhere.
void drop_overruled(const CommandLine& line, const std::vector<std::pair<const char*, std::string*>>& exclusive,
                    std::set<std::string>& given) {
  bool on_command_line = false;
  for (const auto& [name, field] : exclusive) on_command_line |= line.given(name) && !line.given_by_config(name);
  if (!on_command_line) return;
  for (const auto& [name, field] : exclusive) {
    if (!line.given_by_config(name)) continue;
    field->clear();
    given.erase(name);
  }
}

// Whether the asked path does not contradict the saved one.
bool may_be_same_place(const std::string& saved, const std::string& asked) {
  std::error_code ignored;
  if (saved.empty() || asked.empty()) return false;
  return !std::filesystem::exists(saved, ignored) || std::filesystem::equivalent(saved, asked, ignored);
}

// The value as --resume's errors show it.
std::string shown(const nlohmann::ordered_json& value) {
  if (value.is_number_float()) return text_of(value.get<double>());
  if (!value.is_string()) return value.dump();
  return value == "" ? "none" : "'" + value.get<std::string>() + "'";
}

}  // namespace

TrainOptions parse_train_options(int argc, const char* const* argv, const std::string& variant) {
  TrainOptions options;
  if (argc > 0) options.program = argv[0];
  CommandLine line("train", "Trains a GPT whose attention normalizer is " + variant + ".");
  for_each_option(options, [&](const char* group, const About& about, auto& field, const auto& allowed) {
    CommandLine::Option& option = line.add(about.name, field, about.help, allowed).group(group);
    if (about.default_text) option.default_text(about.default_text);
    if (about.use == Use::kCall) option.only_on_command_line();
  });
  line.add_config();
  line.split(argc, argv);
  if (line.given("preset")) apply_preset(options, line.given_text("preset"));
  line.assign();

  for_each_option(options, [&](const char*, const About& about, auto&, const auto&) {
    if (line.given(about.name)) options.given.insert(about.name);
  });
  if (!line.given("min-lr")) options.min_lr = options.lr / 10;
  if (!line.given("data-seed")) options.data_seed = options.seed;
  if (!line.given("out")) options.out = "runs/" + options.preset + "-" + variant + "-s" + std::to_string(options.seed);
  std::string unused;  // no file can give --resume
  drop_overruled(line, {{"data", &options.data}, {"text", &options.text}}, options.given);
  drop_overruled(line,
                 {{"init-from", &options.init_from}, {"continue-from", &options.continue_from}, {"resume", &unused}},
                 options.given);
  check_sources(options);
  if (!options.resume) check_schedule(options);
  return options;
}

nlohmann::ordered_json options_to_json(const TrainOptions& options) {
  nlohmann::ordered_json json;
  for_each_option(options, [&](const char*, const About& about, const auto& field, const auto&) {
    if (about.use != Use::kCall) json[about.name] = field;
  });
  return json;
}

nlohmann::ordered_json newer_options() {
  nlohmann::ordered_json json;
  const TrainOptions defaults;
  for_each_option(defaults, [&](const char*, const About& about, const auto& field, const auto&) {
    if (about.newer) json[about.name] = field;
  });
  return json;
}

TrainOptions options_from_json(const nlohmann::ordered_json& json, const std::string& file) {
  if (!json.is_object()) throw Error("the options in " + file + " must be a JSON object");
  TrainOptions options;
  std::vector<std::string> known;
  for_each_option(options, [&](const char*, const About& about, auto& field, const auto& allowed) {
    using T = std::remove_reference_t<decltype(field)>;
    if (about.use == Use::kCall) return;
    known.push_back(about.name);
    std::string where = std::string(about.name) + " in the options of " + file;
    auto found = json.find(about.name);
    if (found == json.end() && about.newer) return;
    if (found == json.end()) throw Error(where + " is missing");
    bool right_type = found->is_string() == std::is_same_v<T, std::string>;
    std::string text = found->is_string() ? found->template get<std::string>() : found->dump();
    if (!right_type || !read_value(text, field) || (allowed.test && !allowed.test(field)))
      throw bad_value(where, text, allowed.words);
  });
  for (const auto& item : json.items())
    if (std::find(known.begin(), known.end(), item.key()) == known.end())
      throw Error(quoted(item.key()) + " in the options of " + file + " is not an option of train");
  return options;
}

void write_options_ini(const std::string& path, const TrainOptions& options) {
  std::string text = "# The options of this run. 'train --config THIS_FILE --out NEW' repeats it.\n";
  const char* last_group = nullptr;
  for_each_option(options, [&](const char* group, const About& about, const auto& field, const auto&) {
    if (about.use == Use::kCall) return;
    if (group != last_group) text += std::string("\n# ") + group + "\n";
    last_group = group;
    const std::string line = std::string(about.name) + " = ";
    if constexpr (std::is_same_v<decltype(field), const std::string&>) {
      if (!field.empty()) text += line + config_text(field) + "\n";
    } else {
      text += line + text_of(field) + "\n";
    }
  });
  try {
    write_file_atomically(path, text);
  } catch (const Error& error) {  // that it cannot even be made: here it is not the user who did something wrong
    throw Failure(error.what());
  }
}

TrainOptions merge_resume(const TrainOptions& saved, const TrainOptions& asked) {
  nlohmann::ordered_json values = options_to_json(saved), wanted = options_to_json(asked);
  for_each_option(asked, [&](const char*, const About& about, const auto&, const auto&) {
    const std::string name = about.name;
    if (about.use == Use::kCall || !asked.given.count(name) || values[name] == wanted[name]) return;
    bool accepted = about.use == Use::kFlexible || name == "out" ||
                    (about.use == Use::kPath && may_be_same_place(values[name], wanted[name]));
    if (!accepted)
      throw Error("--" + name + " is " + shown(wanted[name]) + ", but the run in " + asked.out + " has " +
                  shown(values[name]) + "; --resume keeps it");
    values[name] = wanted[name];
  });
  values["out"] = asked.out;
  TrainOptions merged = options_from_json(values, asked.out);
  merged.resume = true;
  merged.check_from = asked.check_from;
  merged.dry_run = asked.dry_run;
  merged.given = asked.given;
  check_schedule(merged);
  return merged;
}

void take_shape(TrainOptions& options, const Config& checkpoint, const std::string& path) {
  auto take = [&](const char* name, auto& field, const auto& value) {
    if (options.given.count(name) && field != value)
      throw Error(std::string("--") + name + " is " + text_of(field) + ", but the checkpoint " + path + " has " +
                  text_of(value) + "; leave the option out");
    field = value;
  };
  take("layers", options.layers, checkpoint.L);
  take("heads", options.heads, checkpoint.NH);
  take("channels", options.channels, checkpoint.C);
  take("position", options.position, std::string(position_name(checkpoint.position)));
  if (checkpoint.position == Position::kRope) take("rope-theta", options.rope_theta, checkpoint.rope_theta);
  take("untied", options.untied, !checkpoint.tied);
  if (options.vocab_size != 0) take("vocab-size", options.vocab_size, checkpoint.V);
  options.vocab_size = checkpoint.V;
  if (!options.given.count("seq-len")) options.seq_len = checkpoint.T;
}
