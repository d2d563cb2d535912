# attnorm is built, tested and run from here: `make help` lists what there is. GNU Make 3.81 and a POSIX shell are enough.

NORMALIZER ?= softmax
ifeq ($(origin CXX),default)
CXX := g++
endif

# The processor to build for: this one (native), the same for everyone (PORTABLE=1), or any name that -march= takes.
ifdef PORTABLE
MARCH ?= $(if $(filter x86_64 amd64,$(shell uname -m)),x86-64-v3,native)
endif
MARCH ?= native

# A build folder for every combination of options, so that two builds never mix.
COMPILER := $(lastword $(notdir $(CXX)))
BUILD ?= build$(if $(filter-out g++ c++,$(COMPILER)),-$(COMPILER))$(if $(PORTABLE),-portable,$(if $(filter-out \
  native,$(MARCH)),-$(MARCH)))$(if $(SANITIZE),-sanitize)
export CXX MARCH BUILD

# Every core, unless -j says otherwise; a make started by this one shares its jobs.
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(shell getconf _NPROCESSORS_ONLN 2> /dev/null || echo 1)
endif
MAKEFLAGS += --no-print-directory

# --- sources ----------------------------------------------------------------------------------------------------------

# The names of all normalizers: the first column of the list EVERY_NORMALIZER.
NORMALIZERS := $(shell sed -n '/define EVERY_NORMALIZER/,/[^\\]$$/s/^ *X.\([a-z0-9_]*\),.*/\1/p' \
  kernels/normalizer/normalizer.h)
UNKNOWN := $(filter-out $(NORMALIZERS),$(NORMALIZER))
ifneq ($(UNKNOWN),)
$(error NORMALIZER=$(UNKNOWN) is unknown: it is one of $(NORMALIZERS))
endif

# Compiled once for each normalizer, with ATTNORM_NORMALIZER set to its name: what instantiates templates for it, and the
# programs. The tests take the former for all normalizers. Everything else is compiled once, into a library.
INSTANTIATIONS := $(wildcard kernels/cpu/attention.cpp model/forward.cpp model/backward.cpp)
PER_NORMALIZER := $(INSTANTIATIONS) $(wildcard train/loop.cpp)
PROGRAMS := train evaluate sample
SHARED_MAINS := data/prepare.cpp train/compare.cpp
COMMON := $(filter-out $(PER_NORMALIZER) $(PROGRAMS:%=train/%.cpp) $(SHARED_MAINS), \
  $(wildcard kernels/*.cpp kernels/*/*.cpp model/*.cpp data/*.cpp train/*.cpp))
TESTS := $(wildcard tests/*.cpp)

programs_of = $(foreach name,$(1),$(PROGRAMS:%=$(BUILD)/$(name)/%)) $(BUILD)/prepare $(BUILD)/compare
instantiations_of = $(foreach name,$(1),$(INSTANTIATIONS:%.cpp=$(BUILD)/$(name)/objects/%.o))

# --- what to make -----------------------------------------------------------------------------------------------------

.PHONY: all all-normalizers
all: $(call programs_of,$(NORMALIZER))
all-normalizers: $(call programs_of,$(NORMALIZERS))

.PHONY: test core
test core: deps
	@$(MAKE) $(BUILD)/tests/all $(call programs_of,softmax ssmax)
	@sh tests/run.sh $@

.PHONY: deps
deps:
	@sh train/system.sh deps

.PHONY: clean
clean:
	rm -rf $(BUILD)

# --- how it is built --------------------------------------------------------------------------------------------------

# The machine is looked at only where something is compiled; the goals named here start another make for that.
ifneq ($(filter-out help deps test core clean,$(or $(MAKECMDGOALS),all)),)
-include $(BUILD)/system.mk
$(BUILD)/system.mk: FORCE
	@sh train/system.sh check
endif

ifdef SANITIZE
OPTIMIZE := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
else
OPTIMIZE := -O3
endif
FLAGS = -std=c++20 $(OPTIMIZE) $(MARCH_FLAGS) -ffp-contract=off $(OPENMP_FLAGS) -Wall -Wextra -I. $(SEARCH_FLAGS) \
  $(CPPFLAGS) $(CXXFLAGS)
LIBS = $(LDFLAGS) -lcrypto $(OPENMP_LIBS)
COMPILE = $(CXX) $(FLAGS) -MMD -MP -c -o $@ $<
LINK = $(CXX) $(FLAGS) -o $@ $(filter %.o %.a,$^) $(LIBS)

# $(call remember,TEXT) writes TEXT to the target only where it is something else, so that what depends on it is remade
# when TEXT changes.
remember = @mkdir -p $(@D) && printf '%s\n' $(1) > $@.new && if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

.PHONY: FORCE
$(BUILD)/flags: FORCE
	$(if $(PROBLEM),$(error $(PROBLEM)))
	$(call remember,'$(subst ','\'',$(CXX) $(FLAGS) $(LIBS))' "$$($(CXX) --version | head -n 1)")
$(BUILD)/commit: FORCE
	$(call remember,"$$(git describe --always --dirty --exclude '*' 2> /dev/null || echo unknown)")
$(BUILD)/folder: FORCE
	$(call remember,'$(CURDIR)')

$(BUILD)/objects/train/build_info.o: $(BUILD)/commit
$(BUILD)/objects/train/build_info.o: EXTRA = -DATTNORM_GIT='"'$$(cat $(BUILD)/commit)'"'
$(BUILD)/objects/data/prepare.o: $(BUILD)/folder
$(BUILD)/objects/data/prepare.o: EXTRA = -DATTNORM_SOURCE_DIR='"$(CURDIR)"'

$(BUILD)/objects/%.o: %.cpp $(BUILD)/flags
	@mkdir -p $(@D)
	$(COMPILE) $(EXTRA)

$(BUILD)/common.a: $(COMMON:%.cpp=$(BUILD)/objects/%.o)
	@rm -f $@
	ar rcs $@ $^

$(BUILD)/prepare: $(BUILD)/objects/data/prepare.o $(BUILD)/common.a
	$(LINK)
$(BUILD)/compare: $(BUILD)/objects/train/compare.o $(BUILD)/common.a
	$(LINK)

define normalizer_rules
$(BUILD)/$(1)/objects/%.o: %.cpp $(BUILD)/flags
	@mkdir -p $$(@D)
	$$(COMPILE) -DATTNORM_NORMALIZER=$(1)
$(PROGRAMS:%=$(BUILD)/$(1)/%): $(BUILD)/$(1)/%: $(BUILD)/$(1)/objects/train/%.o \
  $(PER_NORMALIZER:%.cpp=$(BUILD)/$(1)/objects/%.o) $(BUILD)/common.a
	$$(LINK)
endef
$(foreach name,$(NORMALIZERS),$(eval $(call normalizer_rules,$(name))))

$(BUILD)/tests/all: $(TESTS:%.cpp=$(BUILD)/objects/%.o) $(call instantiations_of,$(NORMALIZERS)) $(BUILD)/common.a
	@mkdir -p $(@D)
	$(LINK) $(CATCH_LIBS)

# Objects stay, so that the next build is short.
.SECONDARY:

-include $(patsubst %.cpp,$(BUILD)/objects/%.d,$(COMMON) $(SHARED_MAINS) $(TESTS))
-include $(foreach name,$(NORMALIZERS),$(patsubst %.cpp,$(BUILD)/$(name)/objects/%.d,$(PER_NORMALIZER) \
  $(PROGRAMS:%=train/%.cpp)))
