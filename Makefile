# attnorm is built, tested and run from here: `make help` lists what there is. GNU Make 3.81 and a POSIX shell are enough.

NORMALIZER ?= softmax
PRECISION ?= fp32
ifeq ($(origin CXX),default)
CXX := g++
endif

# The processor to build for: this one (native), the same for everyone (PORTABLE=1), or any name that -march= takes.
override PORTABLE := $(filter-out 0,$(PORTABLE))
override SANITIZE := $(filter-out 0,$(SANITIZE))
ifneq ($(filter-out 1 thread fuzz,$(SANITIZE)),)
$(error SANITIZE=$(SANITIZE) is unknown: it is 1, for the address and undefined-behaviour sanitizers, thread or fuzz)
endif
X86 := $(filter x86_64 amd64,$(shell uname -m))
ifdef PORTABLE
MARCH ?= $(if $(X86),x86-64-v3,native)
endif
MARCH ?= native

# A build folder for every combination of options, so that two builds never mix.
COMPILER := $(lastword $(notdir $(CXX)))
BUILD ?= build$(if $(filter-out g++ c++,$(COMPILER)),-$(COMPILER))$(if $(PORTABLE),-portable,$(if $(filter-out \
  native,$(MARCH)),-$(MARCH)))$(if $(SANITIZE),-$(SANITIZE:1=sanitize))
SYSTEM = CXX='$(CXX)' MARCH='$(MARCH)' BUILD='$(BUILD)' sh train/system.sh

# Every core, unless -j says otherwise; a make started by this one shares its jobs.
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(shell nproc 2> /dev/null || getconf _NPROCESSORS_ONLN 2> /dev/null || echo 1)
endif
MAKEFLAGS += --no-print-directory

# --- sources ----------------------------------------------------------------------------------------------------------

ifneq ($(and $(filter thread,$(SANITIZE)),$(filter-out clang++%,$(COMPILER))),)
$(error SANITIZE=thread needs CXX=clang++, whose OpenMP library tells the sanitizer what its barriers order)
endif

# The names of all normalizers: the first column of the list EVERY_NORMALIZER.
NORMALIZERS := $(shell sed -n '/define EVERY_NORMALIZER/,/[^\\]$$/s/^ *X.\([a-z0-9_]*\),.*/\1/p' \
  kernels/normalizer/normalizer.h)
UNKNOWN := $(filter-out $(NORMALIZERS),$(NORMALIZER))
ifneq ($(UNKNOWN),)
$(error NORMALIZER=$(UNKNOWN) is unknown: it is one of $(NORMALIZERS))
endif

UNKNOWN := $(filter-out fp32 bf16,$(PRECISION))
ifneq ($(UNKNOWN),)
$(error PRECISION=$(UNKNOWN) is unknown: it is fp32 or bf16)
endif

# Compiled once for each normalizer, with ATTNORM_NORMALIZER set to its name: what instantiates templates for it, in every
# precision. The programs, one for each normalizer and precision, and the tests take it from there. Everything else is
# compiled once, into a library.
MODEL := model/forward.cpp model/backward.cpp model/observed.cpp
INSTANTIATIONS := kernels/cpu/attention.cpp $(MODEL)
PROGRAMS := train evaluate sample
PER_PROGRAM := train/loop.cpp $(PROGRAMS:%=train/%.cpp)
SHARED_MAINS := data/prepare.cpp train/compare.cpp train/reproduce.cpp
COMMON := $(filter-out $(INSTANTIATIONS) $(PER_PROGRAM) $(SHARED_MAINS), \
  $(wildcard kernels/*.cpp kernels/*/*.cpp model/*.cpp data/*.cpp train/*.cpp train/experiments/*.cpp \
  train/experiments/*/*.cpp))
DURABLE_TESTS := $(wildcard tests/durable/test_*.cpp) tests/durable/runs.cpp
CUDA_BENCHMARK := $(wildcard tests/bench_cuda*.cpp)
BENCHMARK := $(filter-out $(CUDA_BENCHMARK),$(wildcard tests/bench*.cpp))
FUZZ_TARGETS := $(shell sed -n '/define EVERY_FUZZ_TARGET/,/[^\\]$$/s/^ *X(\([a-z_]*\)).*/\1/p' tests/fuzz/fuzz.h)
FUZZ_SOURCES := tests/fuzz/fuzz.cpp $(FUZZ_TARGETS:%=tests/fuzz/%.cpp)
TESTS := $(filter-out $(BENCHMARK) $(CUDA_BENCHMARK) tests/test_cuda_%,$(wildcard tests/*.cpp)) $(FUZZ_SOURCES)

# On a GPU. What depends on the backend is compiled once more for it; the kernels by nvcc, and for the tests by the host's
# compiler, to run in the emulator.
CUDA_KERNELS := $(filter-out kernels/cuda/attention.cu,$(wildcard kernels/cuda/*.cu))
ON_BACKEND := model/activations.cpp train/memory_plan.cpp
CUDA_TESTS := $(patsubst %,tests/%.cpp,main test_adamw test_attention test_cross_entropy test_embedding test_evaluation \
  test_gelu test_golden test_hazards test_layernorm test_matmul test_model test_needle_evaluation test_observed test_rope) $(wildcard tests/test_cuda_*.cpp)
EMULATOR := $(filter-out tests/cuda_emulator/test_% %/api_check.cpp,$(wildcard tests/cuda_emulator/*.cpp))
EMULATOR_TESTS := $(wildcard tests/cuda_emulator/test_*.cpp)
EMULATOR_TEST_KERNELS := $(wildcard tests/cuda_emulator/*.cu)

# The folder of a normalizer on a device (-cuda, or nothing) in a precision, as train/variant.h names it.
variant = $(1)$(3)$(if $(filter-out fp32,$(2)),-$(2))
variants_of = $(foreach precision,$(PRECISION),$(foreach name,$(1),$(call variant,$(name),$(precision),$(2))))
programs_of = $(foreach folder,$(call variants_of,$(1),$(2)),$(PROGRAMS:%=$(BUILD)/$(folder)/%)) \
  $(BUILD)/prepare $(BUILD)/compare
instantiations_of = $(foreach name,$(1),$(INSTANTIATIONS:%.cpp=$(BUILD)/$(name)/objects/%.o))
cuda_model_of = $(ON_BACKEND:%.cpp=$(BUILD)/cuda/objects/%.o) \
  $(foreach name,$(1),$(MODEL:%.cpp=$(BUILD)/$(name)-cuda/objects/%.o))
# The kernels that nvcc compiles ($(BUILD)) or that run in the emulator ($(BUILD)/emulated).
cuda_kernels_of = $(CUDA_KERNELS:%.cu=$(2)/cuda/objects/%.cu.o) \
  $(foreach name,$(1),$(2)/$(name)-cuda/objects/kernels/cuda/attention.cu.o)

# --- what to make -----------------------------------------------------------------------------------------------------
# `make help` prints the lines that start with two hashes.

## Target                What it does                                                                              2 cores
## make all              what make alone does: train, evaluate, sample for softmax, and prepare, compare           35 s
## make NORMALIZER=x     the same for another normalizer, in build/x; several in quotes                            6 s each
## make PRECISION=bf16   the same with matrix products in bf16, in build/x-bf16; "fp32 bf16" for both             6 s each
.PHONY: all
all: $(call programs_of,$(NORMALIZER))

## make all-normalizers  the same for every normalizer                                                             8 min
.PHONY: all-normalizers
all-normalizers: $(call programs_of,$(NORMALIZERS))

## make cuda             the programs for an NVIDIA GPU, in build/x-cuda: NORMALIZER and PRECISION as above        2 min
##                         CUDA_ARCHITECTURES="80 90": by default the GPU's of this machine, else all that are tested
.PHONY: cuda
cuda: $(call programs_of,$(NORMALIZER),-cuda)

## make emulated         the same on the emulator of the tests, in build/emulated/x-cuda: to look at, not to train 1 min
.PHONY: emulated
emulated: $(foreach folder,$(call variants_of,$(NORMALIZER),-cuda),$(PROGRAMS:%=$(BUILD)/emulated/$(folder)/%)) \
  $(BUILD)/prepare $(BUILD)/compare

## make deps             shows what this machine has, and installs what is missing                                 1 s
.PHONY: deps
deps:
	@$(SYSTEM) deps

## make curves           trains softmax, sa_softmax and ssmax on the King James Bible and compares them            6 min
##                         COMPARE="softmax sinmax" CORPUS=gcide PRESET=tiny STEPS=60 CURVES=runs/mine
.PHONY: curves
COMPARE ?= softmax sa_softmax ssmax
CORPUS ?= kjv
PRESET ?= small
CURVES ?= runs/curves$(if $(filter-out kjv,$(CORPUS)),-$(CORPUS))$(if $(filter-out small,$(PRESET)),-$(PRESET))$(if \
  $(STEPS),-$(STEPS)-steps)
curves: deps
	@$(MAKE) NORMALIZER='$(COMPARE)' all
	@BUILD='$(BUILD)' CORPUS='$(CORPUS)' CURVES='$(CURVES)' PRESET='$(PRESET)' STEPS='$(STEPS)' \
	  sh train/curves.sh $(COMPARE)

## make reproduce        what papers claim: runs the experiments of train/experiments/ that are not recorded        11 h
##                         EXPERIMENT="noise length" some of them; DRYRUN=1 the plan alone; RESTART=1 again where options
##                         have changed; SCALE=large at GPT-2's size; REPRODUCE="--gflops 50000" or any other option
##                         that build/reproduce --help lists
.PHONY: reproduce
reproduce: deps
	@$(MAKE) $(BUILD)/reproduce
	@$(if $(DRYRUN),,names=$$($(WHAT_TO_REPRODUCE) --list-normalizers | xargs) && \
	  if [ -n "$$names" ]; then $(MAKE) NORMALIZER="$$names" all; fi)
	@$(WHAT_TO_REPRODUCE) --build '$(BUILD)' $(if $(DRYRUN),--dry-run)
WHAT_TO_REPRODUCE = $(BUILD)/reproduce $(EXPERIMENT) $(addprefix --scale ,$(SCALE)) $(if $(RESTART),--restart) $(REPRODUCE)

## make test             every test; ends with "N passed, N failed"                                               26 min
## make core             the short tests: every kernel and normalizer once, and the command lines                  3 min
.PHONY: test core
COMMAND_LINE_NORMALIZERS := softmax ssmax
# What make test needs beside what make core does. The emulator, and the library that lets disks fail, run on Linux alone.
ON_LINUX := $(filter Linux,$(shell uname -s))
DURABLE := $(if $(ON_LINUX),$(BUILD)/tests/durable $(BUILD)/tests/faults.so)
EMULATED_TESTS := $(patsubst %,$(BUILD)/tests/%,emulator emulated-fp32 emulated-bf16) $(BUILD)/emulated/bench-cuda \
  $(foreach folder,softmax-cuda ssmax-cuda softmax-cuda-bf16,$(PROGRAMS:%=$(BUILD)/emulated/$(folder)/%))
BEYOND_CORE := $(BUILD)/bench $(BUILD)/reproduce $(if $(ON_LINUX),$(BUILD)/sa_softmax/train $(if $(SANITIZE),,$(EMULATED_TESTS)))
test core: deps
	@$(MAKE) NORMALIZER='$(COMMAND_LINE_NORMALIZERS)' all $(BUILD)/tests/all $(DURABLE) $(if $(filter test,$@),$(BEYOND_CORE)) \
	  $(if $(filter thread,$(SANITIZE)),$(BUILD)/tests/planted_race)
	@BUILD='$(BUILD)' SANITIZE='$(SANITIZE)' sh tests/run.sh $@

## make sanitize         make test with clang++'s address and undefined-behaviour sanitizers; not the kernels for  7 min
##                         a GPU, whose emulator takes the sanitizers' place
## make races            make core with clang++'s thread sanitizer, on 4 threads                                   6 min
.PHONY: sanitize races
sanitize:
	@$(MAKE) test SANITIZE=1 CXX=clang++
# ThreadSanitizer sees accesses of up to 16 bytes: registers of SSE2 and NEON, not those of AVX.
races:
	@$(MAKE) core SANITIZE=thread CXX=clang++ $(if $(X86),MARCH=x86-64)

## make fuzz             looks with libFuzzer and clang++ for files and command lines that break a parser            8 min
##                         MINUTES=10 of each target, two targets at a time; what it finds is saved, with the command
##                         that shows it again
.PHONY: fuzz
MINUTES ?= 1
ifeq ($(SANITIZE),fuzz)
fuzz: $(FUZZ_TARGETS:%=$(BUILD)/fuzz/%)
	@BUILD='$(BUILD)' MINUTES='$(MINUTES)' sh tests/fuzz/run.sh $(FUZZ_TARGETS)
else
fuzz: CXX := $(if $(filter clang++%,$(COMPILER)),$(CXX),clang++)
fuzz:
	@program=$$(mktemp) && echo 'extern "C" int LLVMFuzzerTestOneInput(const char*, unsigned long) { return 0; }' | \
	  $(CXX) -fsanitize=fuzzer,address,undefined -o "$$program" -x c++ - 2> /dev/null; status=$$?; rm -f "$$program"; \
	  [ $$status -eq 0 ] || { echo "make fuzz needs clang++ with libFuzzer, which $(CXX) is not; in Debian the latter is libclang-rt-dev" >&2; exit 2; }
	@$(MAKE) CXX='$(CXX)' SANITIZE=fuzz fuzz
endif

## make test-all         make test, sanitize and races, make core with clang++, for portable and baseline x86-64  50 min
.PHONY: test-all
EVERYWHERE := test 'core CXX=clang++' 'core PORTABLE=1' 'core CXX=clang++ PORTABLE=1' \
  $(if $(X86),'core MARCH=x86-64') sanitize races
test-all:
	@mkdir -p $(BUILD)
	@for options in $(EVERYWHERE); do echo "=== make $$options"; $(MAKE) $$options 2>&1; done | tee $(BUILD)/test-all.log
	@for options in $(EVERYWHERE); do echo "$$options"; done | awk ' \
	  FNR == NR { missing++; next } \
	  /^[0-9]+ passed, [0-9]+ failed$$/ { missing--; passed += $$1; failed += $$3 } \
	  END { print passed + 0 " passed, " failed + missing " failed"; exit failed + missing > 0 }' - $(BUILD)/test-all.log

## make bench            how fast this machine and attnorm on it are; also into build/bench.jsonl                  4 min
##                         BENCH="--only gemm attention" or any other option that build/bench --help lists
.PHONY: bench
BENCH ?=
bench:
	@$(MAKE) $(BUILD)/bench
	@$(BUILD)/bench --out $(BUILD)/bench.jsonl $(BENCH)

## make bench-check      measures a part of it and compares ratios with tests/bench_baseline.json, up to 3 times   1 to 3 min
##                         WRITE_BASELINE=1 makes what 3 measurements reach the baseline
.PHONY: bench-check
bench-check:
	@$(MAKE) $(BUILD)/bench
	@BUILD='$(BUILD)' sh tests/bench_check.sh $(if $(WRITE_BASELINE),--write-baseline)

## make cuda-check       compiles every CUDA kernel for every GPU, and holds it to tests/cuda_budget.txt           6 min
##                         WRITE_BUDGET=1 makes what it finds the budget
.PHONY: cuda-check
cuda-check:
	@NVCC='$(NVCC)' WRITE_BUDGET='$(WRITE_BUDGET)' sh tests/cuda_check.sh all

## make test-cuda        on a GPU: the tests of kernels and model; with compute-sanitizer where it is installed    not run yet
.PHONY: test-cuda
test-cuda:
	$(NEEDS_GPU)
	@$(MAKE) NORMALIZER='$(COMMAND_LINE_NORMALIZERS)' PRECISION='fp32 bf16' all cuda $(BUILD)/tests/cuda-fp32 \
	  $(BUILD)/tests/cuda-bf16
	@BUILD='$(BUILD)' sh tests/run.sh cuda
NEEDS_GPU = @nvidia-smi -L > /dev/null 2>&1 || { echo "make $@ needs an NVIDIA GPU: nvidia-smi finds none" >&2; exit 2; }

## make bench-cuda       on a GPU: how fast its kernels and a step of GPT-2 are, beside what is predicted          not run yet
##                         BENCH_CUDA="--tf32" or any other option that build/bench-cuda --help lists
.PHONY: bench-cuda
BENCH_CUDA ?=
bench-cuda:
	$(NEEDS_GPU)
	@$(MAKE) $(BUILD)/bench-cuda
	@$(BUILD)/bench-cuda --out $(BUILD)/bench-cuda.jsonl $(BENCH_CUDA)

## make format           formats every source with clang-format                                                    1 s
## make format-check     fails where that would change something                                                   1 s
.PHONY: format format-check
CLANG_FORMAT ?= clang-format
SOURCES = $(shell find data kernels model tests train -name '*.h' -o -name '*.cpp' -o -name '*.cu')
format:
	@$(CLANG_FORMAT) -i $(SOURCES)
format-check:
	@$(CLANG_FORMAT) --dry-run --Werror $(SOURCES)

## make clean            removes this build's folder; runs and data stay                                           1 s
.PHONY: clean
clean:
	rm -rf '$(BUILD)'

## make help             this list                                                                                 1 s
##
## Options of all of them: PORTABLE=1 one build for every x86-64-v3 machine; MARCH=x86-64 another processor;
## SANITIZE=1 or thread; CXX=clang++; V=1 shows the commands; -j1 one job at a time. Each combination has a build folder.
.PHONY: help
help:
	@sed -n 's/^## \{0,1\}//p' Makefile

# --- how it is built --------------------------------------------------------------------------------------------------

# The machine is looked at only where something is compiled; the goals named here start another make for that.
WITHOUT_COMPILER := deps curves reproduce test core sanitize races $(if $(filter fuzz,$(SANITIZE)),,fuzz) test-all bench bench-check cuda-check test-cuda \
  bench-cuda format format-check clean help
ifneq ($(filter-out $(WITHOUT_COMPILER),$(or $(MAKECMDGOALS),all)),)
-include $(BUILD)/system.mk
$(BUILD)/system.mk: FORCE
	@$(SYSTEM) check
endif

# Of sanitized programs the kernels alone are optimized, a little: elsewhere that takes longer than it wins back, and what
# is optimized away is not checked. Fuzzing needs no kernel, one core, and speed.
ifeq ($(SANITIZE),fuzz)
OPTIMIZE := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=all
OPENMP_FLAGS :=
OPENMP_LIBS :=
else ifdef SANITIZE
OPTIMIZE := -O0 -g1 -fno-omit-frame-pointer -fno-sanitize-recover=all \
  -fsanitize=$(if $(filter thread,$(SANITIZE)),thread,address,undefined)
KERNELS := -O1
else
OPTIMIZE := -O3
SOME := -O1
endif
# g++ 12 warns of overlapping copies inside std::string where there are none (GCC bug 105651).
WARNINGS := -Wall -Wextra $(if $(filter g++%,$(COMPILER)),-Wno-restrict)
FLAGS = -std=c++20 $(OPTIMIZE) $(MARCH_FLAGS) -ffp-contract=off $(OPENMP_FLAGS) $(WARNINGS) -I. $(SEARCH_FLAGS) \
  $(CPPFLAGS) $(CXXFLAGS)
LIBS = $(LDFLAGS) -lcrypto $(OPENMP_LIBS)
RUN = $(if $(V),,@echo '  $@' &&)
COMPILE = $(RUN) $(CXX) $(FLAGS) -MMD -MP -c -o $@ $<
LINK = $(RUN) $(CXX) $(FLAGS) -o $@ $(filter %.o %.a,$^) $(LIBS)

# $(call remember,TEXT) writes TEXT to the target only where it is something else, so that what depends on it is remade
# when TEXT changes.
remember = @mkdir -p $(@D) && printf '%s\n' $(1) > $@.new && if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

.PHONY: FORCE
$(BUILD)/flags: FORCE
	$(if $(PROBLEM),$(error $(PROBLEM)))
	$(call remember,'$(subst ','\'',$(CXX) $(FLAGS) $(LIBS))' "$$($(CXX) --version | head -n 1)")
# "-dirty" where a file differs from the commit that can change a program: not records, figures and texts.
$(BUILD)/commit: FORCE
	$(call remember,"$$(git describe --always --exclude '*' 2> /dev/null || echo unknown)$$( \
	  ! git rev-parse 2> /dev/null || git diff --quiet HEAD -- . ':!*.csv' ':!*.svg' ':!*.md' || echo -dirty)")
$(BUILD)/folder: FORCE
	$(call remember,'$(CURDIR)')

$(BUILD)/objects/train/build_info.o: $(BUILD)/commit
$(BUILD)/objects/train/build_info.o: DEFINES = -DATTNORM_GIT='"'$$(cat $(BUILD)/commit)'"'
$(BUILD)/objects/data/prepare.o: $(BUILD)/folder
$(BUILD)/objects/data/prepare.o: DEFINES = -DATTNORM_SOURCE_DIR='"$(CURDIR)"'

# What does no arithmetic of a model costs the compiler more time than optimizing it could ever win back.
$(BUILD)/objects/data/%.o $(BUILD)/objects/train/%.o: LEVEL = $(SOME)
$(BUILD)/objects/kernels/%.o $(BUILD)/%/objects/kernels/cpu/attention.o: LEVEL = $(KERNELS)
$(patsubst %.cpp,$(BUILD)/objects/%.o,$(TESTS) $(DURABLE_TESTS)): LEVEL = $(SOME)

$(BUILD)/objects/%.o: %.cpp $(BUILD)/flags
	@mkdir -p $(@D)
	$(COMPILE) $(LEVEL) $(DEFINES)

$(BUILD)/common.a: $(COMMON:%.cpp=$(BUILD)/objects/%.o)
	@rm -f $@
	$(RUN) ar rcs $@ $^

$(BUILD)/prepare: $(BUILD)/objects/data/prepare.o $(BUILD)/common.a
	$(LINK)
$(BUILD)/compare $(BUILD)/reproduce: $(BUILD)/%: $(BUILD)/objects/train/%.o $(BUILD)/common.a
	$(LINK)

define normalizer_rules
$(call instantiations_of,$(1)): $(BUILD)/$(1)/objects/%.o: %.cpp $(BUILD)/flags
	@mkdir -p $$(@D)
	$$(COMPILE) $$(LEVEL) -DATTNORM_NORMALIZER=$(1)
endef
$(foreach name,$(NORMALIZERS),$(eval $(call normalizer_rules,$(name))))

define program_rules  # normalizer, precision, variant
$(BUILD)/$(3)/objects/train/%.o: train/%.cpp $(BUILD)/flags
	@mkdir -p $$(@D)
	$$(COMPILE) $$(LEVEL) -DATTNORM_NORMALIZER=$(1) -DATTNORM_PRECISION=$(2)
$(PROGRAMS:%=$(BUILD)/$(3)/objects/train/%.o): LEVEL = $(SOME)
$(PROGRAMS:%=$(BUILD)/$(3)/%): $(BUILD)/$(3)/%: $(BUILD)/$(3)/objects/train/%.o $(BUILD)/$(3)/objects/train/loop.o \
  $(call instantiations_of,$(1)) $(BUILD)/common.a
	$$(LINK)
endef
$(foreach name,$(NORMALIZERS),$(foreach precision,fp32 bf16, \
  $(eval $(call program_rules,$(name),$(precision),$(call variant,$(name),$(precision))))))

# --- on a GPU ---------------------------------------------------------------------------------------------------------

NVCC ?= $(firstword $(shell command -v nvcc 2> /dev/null) $(wildcard $(CUDA_HOME)/bin/nvcc /usr/local/cuda/bin/nvcc) nvcc)
CUDA = $(patsubst %/bin/nvcc,%,$(NVCC))
# Machine code for each architecture, and PTX of the last, which the driver compiles for GPUs that are newer still.
NVCC_FLAGS = -std=c++20 -O3 -I. -ccbin $(firstword $(CXX)) -Xcompiler -Wall,-Wextra -lineinfo \
  $(foreach a,$(CUDA_ARCHITECTURES),-gencode arch=compute_$(a),code=sm_$(a)) \
  $(addprefix -gencode arch=compute_,$(lastword $(CUDA_ARCHITECTURES)),code=compute_$(lastword $(CUDA_ARCHITECTURES)))
CUDA_LIBS = -L$(CUDA)/lib64 -Wl,-rpath,$(CUDA)/lib64 -lcudart -lcublas

$(BUILD)/cuda/flags: FORCE
	@command -v $(NVCC) > /dev/null || { \
	  echo "make cuda needs the CUDA compiler nvcc, 12.8 or later: it is not in PATH nor in /usr/local/cuda; give NVCC=..." >&2; exit 2; }
	$(eval CUDA_ARCHITECTURES := $(or $(CUDA_ARCHITECTURES),$(shell sh train/cuda_architectures.sh)))
	$(if $(CUDA_ARCHITECTURES),,@exit 2)
	$(call remember,'$(NVCC) $(NVCC_FLAGS)' "$$($(NVCC) --version | tail -n 1)")

# $(BUILD)/NAME.cu.o of NAME.cu
$(BUILD)/cuda/objects/%.cu.o: %.cu $(BUILD)/cuda/flags
	@mkdir -p $(@D)
	$(RUN) $(NVCC) $(NVCC_FLAGS) $(DEFINES) -MMD -MP -MF $(@:.o=.d) -c -o $@ $<

$(BUILD)/cuda/objects/%.o: %.cpp $(BUILD)/flags
	@mkdir -p $(@D)
	$(COMPILE) -DATTNORM_BACKEND=cuda

# The emulator itself, and what it runs: -fsanitize=thread makes the compiler announce every access to memory, and the
# emulator is linked where the sanitizers' libraries would be. Kernels come first in every link: of an inline function
# that host code has too, the linker takes the first copy, which then is the one that announces its accesses.
EMULATED_FLAGS = -std=c++20 -O2 -g -ffp-contract=off $(WARNINGS) -Wno-unknown-pragmas \
  -fsanitize=thread,bounds,alignment,shift,integer-divide-by-zero,signed-integer-overflow -Itests/cuda_emulator/include -I. \
  -DATTNORM_CUDA_EMULATOR $(SEARCH_FLAGS) $(CPPFLAGS)
EMULATE = $(RUN) $(CXX) $(EMULATED_FLAGS) -MMD -MP -c -o $@ -x c++ $<
EMULATOR_FLAGS = -std=c++20 -O3 -g $(MARCH_FLAGS) -ffp-contract=off $(WARNINGS) -Itests/cuda_emulator/include -I. \
  -DATTNORM_CUDA_EMULATOR $(SEARCH_FLAGS) $(CPPFLAGS)
EMULATOR_OBJECTS := $(EMULATOR:%.cpp=$(BUILD)/emulated/objects/%.o)

$(BUILD)/emulated/flags: $(BUILD)/flags FORCE
	$(call remember,'$(CXX) $(EMULATED_FLAGS)' '$(EMULATOR_FLAGS)')
$(EMULATOR_OBJECTS): $(BUILD)/emulated/objects/%.o: %.cpp $(BUILD)/emulated/flags
	@mkdir -p $(@D)
	$(RUN) $(CXX) $(EMULATOR_FLAGS) -MMD -MP -c -o $@ $<
$(BUILD)/emulated/cuda/objects/%.cu.o: %.cu $(BUILD)/emulated/flags
	@mkdir -p $(@D)
	$(EMULATE)

define cuda_normalizer_rules
$(MODEL:%.cpp=$(BUILD)/$(1)-cuda/objects/%.o): $(BUILD)/$(1)-cuda/objects/%.o: %.cpp $(BUILD)/flags
	@mkdir -p $$(@D)
	$$(COMPILE) -DATTNORM_BACKEND=cuda -DATTNORM_NORMALIZER=$(1)
$(BUILD)/$(1)-cuda/objects/%.cu.o: %.cu $(BUILD)/cuda/flags
	@mkdir -p $$(@D)
	$$(RUN) $$(NVCC) $$(NVCC_FLAGS) -DATTNORM_NORMALIZER=$(1) -MMD -MP -MF $$(@:.o=.d) -c -o $$@ $$<
$(BUILD)/emulated/$(1)-cuda/objects/%.cu.o: %.cu $(BUILD)/emulated/flags
	@mkdir -p $$(@D)
	$$(EMULATE) -DATTNORM_NORMALIZER=$(1)
endef
$(foreach name,$(NORMALIZERS),$(eval $(call cuda_normalizer_rules,$(name))))

define cuda_program_rules  # normalizer, precision, variant
$(BUILD)/$(3)/objects/train/%.o: train/%.cpp $(BUILD)/flags
	@mkdir -p $$(@D)
	$$(COMPILE) $$(LEVEL) -DATTNORM_BACKEND=cuda -DATTNORM_NORMALIZER=$(1) -DATTNORM_PRECISION=$(2)
$(PROGRAMS:%=$(BUILD)/$(3)/%): $(BUILD)/$(3)/%: $(BUILD)/$(3)/objects/train/%.o $(BUILD)/$(3)/objects/train/loop.o \
  $(call cuda_model_of,$(1)) $(call cuda_kernels_of,$(1),$(BUILD)) $(BUILD)/common.a
	$$(LINK) $$(CUDA_LIBS)
$(PROGRAMS:%=$(BUILD)/emulated/$(3)/%): $(BUILD)/emulated/$(3)/%: $(call cuda_kernels_of,$(1),$(BUILD)/emulated) \
  $(EMULATOR_OBJECTS) $(BUILD)/$(3)/objects/train/%.o $(BUILD)/$(3)/objects/train/loop.o $(call cuda_model_of,$(1)) \
  $(BUILD)/common.a
	@mkdir -p $$(@D)
	$$(LINK)
endef
$(foreach name,$(NORMALIZERS),$(foreach precision,fp32 bf16, \
  $(eval $(call cuda_program_rules,$(name),$(precision),$(call variant,$(name),$(precision),-cuda)))))

# --- tests and benchmarks ---------------------------------------------------------------------------------------------

define cuda_test_rules  # precision
$(CUDA_TESTS:%.cpp=$(BUILD)/cuda-$(1)/objects/%.o): $(BUILD)/cuda-$(1)/objects/%.o: %.cpp $(BUILD)/flags
	@mkdir -p $$(@D)
	$$(COMPILE) -O1 -DATTNORM_BACKEND=cuda -DATTNORM_TEST_PRECISION=$(1)
$(BUILD)/tests/emulated-$(1): $(call cuda_kernels_of,$(NORMALIZERS),$(BUILD)/emulated) $(EMULATOR_OBJECTS) \
  $(CUDA_TESTS:%.cpp=$(BUILD)/cuda-$(1)/objects/%.o) $(call cuda_model_of,$(NORMALIZERS)) $(BUILD)/common.a
	@mkdir -p $$(@D)
	$$(LINK) $$(CATCH_LIBS)
$(BUILD)/tests/cuda-$(1): $(CUDA_TESTS:%.cpp=$(BUILD)/cuda-$(1)/objects/%.o) $(call cuda_model_of,$(NORMALIZERS)) \
  $(call cuda_kernels_of,$(NORMALIZERS),$(BUILD)) $(BUILD)/common.a
	@mkdir -p $$(@D)
	$$(LINK) $$(CATCH_LIBS) $$(CUDA_LIBS)
endef
$(foreach precision,fp32 bf16,$(eval $(call cuda_test_rules,$(precision))))

$(EMULATOR_TEST_KERNELS:%.cu=$(BUILD)/emulated/objects/%.cu.o): $(BUILD)/emulated/objects/%.cu.o: %.cu $(BUILD)/emulated/flags
	@mkdir -p $(@D)
	$(EMULATE)
$(EMULATOR_TESTS:%.cpp=$(BUILD)/emulated/objects/%.o): $(BUILD)/emulated/objects/%.o: %.cpp $(BUILD)/flags
	@mkdir -p $(@D)
	$(COMPILE) -O1 -Itests/cuda_emulator/include -DATTNORM_CUDA_EMULATOR
$(BUILD)/tests/emulator: $(EMULATOR_TESTS:%.cpp=$(BUILD)/emulated/objects/%.o) $(BUILD)/objects/tests/main.o \
  $(EMULATOR_TEST_KERNELS:%.cu=$(BUILD)/emulated/objects/%.cu.o) $(EMULATOR_OBJECTS)
	@mkdir -p $(@D)
	$(LINK) $(CATCH_LIBS)

$(BUILD)/tests/all: $(TESTS:%.cpp=$(BUILD)/objects/%.o) $(call instantiations_of,$(NORMALIZERS)) $(BUILD)/common.a
	@mkdir -p $(@D)
	$(LINK) $(CATCH_LIBS)

# Compiled with -fsanitize=thread only: what that sanitizer is tried on.
$(BUILD)/tests/planted_race: $(BUILD)/objects/tests/sanitizers/planted_race.o $(BUILD)/common.a
	@mkdir -p $(@D)
	$(LINK)
# A program for each fuzz target; none needs a kernel, nor an experiment.
FUZZ_LIBRARY := tests/fuzz/fuzz.cpp $(filter-out kernels/cpu/% train/experiments/%,$(COMMON))
$(BUILD)/fuzz/library.a: $(FUZZ_LIBRARY:%.cpp=$(BUILD)/objects/%.o)
	@mkdir -p $(@D)
	@rm -f $@
	$(RUN) ar rcs $@ $^
$(FUZZ_TARGETS:%=$(BUILD)/objects/tests/fuzz/main-%.o): $(BUILD)/objects/tests/fuzz/main-%.o: tests/fuzz/main.cpp \
  $(BUILD)/flags
	@mkdir -p $(@D)
	$(COMPILE) -DATTNORM_FUZZ_TARGET=$*
$(FUZZ_TARGETS:%=$(BUILD)/fuzz/%): $(BUILD)/fuzz/%: $(BUILD)/objects/tests/fuzz/main-%.o $(BUILD)/objects/tests/fuzz/%.o \
  $(BUILD)/fuzz/library.a
	$(LINK) -fsanitize=fuzzer

$(BUILD)/tests/durable: $(DURABLE_TESTS:%.cpp=$(BUILD)/objects/%.o) $(BUILD)/objects/tests/main.o $(BUILD)/common.a
	@mkdir -p $(@D)
	$(LINK) $(CATCH_LIBS)
# Not sanitized: it is loaded before the sanitizers are.
$(BUILD)/tests/faults.so: tests/durable/faults.cpp $(BUILD)/flags
	@mkdir -p $(@D)
	$(RUN) $(CXX) -std=c++20 -O1 $(WARNINGS) -fPIC -shared -o $@ $< -ldl

$(BUILD)/bench: $(BENCHMARK:%.cpp=$(BUILD)/objects/%.o) $(call instantiations_of,$(NORMALIZERS)) $(BUILD)/common.a
	$(LINK) -ldl

# The normalizers whose attention bench-cuda measures; its step is softmax's.
BENCH_CUDA_NORMALIZERS := softmax ssmax sa_softmax sinmax
BENCH_CUDA_OBJECTS := $(CUDA_BENCHMARK:%.cpp=$(BUILD)/cuda/objects/%.o) \
  $(patsubst %,$(BUILD)/objects/tests/%.o,bench_report bench_roof bench_clock) $(call cuda_model_of,softmax)
bench_cuda_kernels_in = $(1)/cuda/objects/tests/bench_cuda_clock.cu.o \
  $(call cuda_kernels_of,$(BENCH_CUDA_NORMALIZERS),$(1))
$(BUILD)/bench-cuda: $(BENCH_CUDA_OBJECTS) $(call bench_cuda_kernels_in,$(BUILD)) $(BUILD)/common.a
	$(LINK) $(CUDA_LIBS)
$(BUILD)/emulated/bench-cuda: $(BENCH_CUDA_OBJECTS) $(call bench_cuda_kernels_in,$(BUILD)/emulated) $(EMULATOR_OBJECTS) \
  $(BUILD)/common.a
	$(LINK)

# Objects stay, so that the next build is short.
.SECONDARY:

-include $(patsubst %.cpp,$(BUILD)/objects/%.d,$(COMMON) $(SHARED_MAINS) $(TESTS) $(DURABLE_TESTS) \
  $(BENCHMARK))
-include $(foreach name,$(NORMALIZERS),$(patsubst %.cpp,$(BUILD)/$(name)/objects/%.d,$(INSTANTIATIONS)) \
  $(patsubst %.cpp,$(BUILD)/$(name)-cuda/objects/%.d,$(MODEL)) $(BUILD)/$(name)-cuda/objects/kernels/cuda/attention.cu.d \
  $(BUILD)/emulated/$(name)-cuda/objects/kernels/cuda/attention.cu.d \
  $(foreach device,-cpu -cuda,$(foreach precision,fp32 bf16, \
    $(PER_PROGRAM:%.cpp=$(BUILD)/$(call variant,$(name),$(precision),$(device:-cpu=))/objects/%.d))))
-include $(FUZZ_TARGETS:%=$(BUILD)/objects/tests/fuzz/main-%.d)
-include $(CUDA_BENCHMARK:%.cpp=$(BUILD)/cuda/objects/%.d) $(foreach folder,$(BUILD) $(BUILD)/emulated, \
  $(folder)/cuda/objects/tests/bench_cuda_clock.cu.d)
-include $(ON_BACKEND:%.cpp=$(BUILD)/cuda/objects/%.d) $(EMULATOR_OBJECTS:.o=.d) \
  $(patsubst %,$(BUILD)/emulated/objects/%.d,$(EMULATOR_TESTS:.cpp=) $(EMULATOR_TEST_KERNELS:.cu=.cu)) \
  $(foreach folder,$(BUILD) $(BUILD)/emulated,$(CUDA_KERNELS:%.cu=$(folder)/cuda/objects/%.cu.d)) \
  $(foreach precision,fp32 bf16,$(CUDA_TESTS:%.cpp=$(BUILD)/cuda-$(precision)/objects/%.d))
