#!/bin/sh
# Compiles the CUDA kernels with NVIDIA's compiler, for GPUs that need not be there, and holds them to what makes them
# fast: no warning, no spilled register, no local memory; no more registers and shared memory, and in the attention
# kernels for bf16 no fewer instructions of tensor cores, than tests/cuda_budget.txt states.
#
#   tests/cuda_check.sh ci     every kernel and every normalizer for the oldest architecture, every kernel and four
#                              normalizers for all of them
#   tests/cuda_check.sh all    every kernel and every normalizer for all of them; `make cuda-check` calls it
#
# WRITE_BUDGET=1 makes what is found the budget. JOBS compilers run at a time. Prints a line "ok ..." or "FAIL ..." for
# each check, and "N passed, N failed" at the end.
set -u
: "${NVCC:=$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}" "${JOBS:=$(getconf _NPROCESSORS_ONLN)}"
export NVCC
budget=tests/cuda_budget.txt

# --- one file for some architectures ----------------------------------------------------------------------------------

# compile FOLDER FILE "ARCHITECTURES" [OPTION...]: leaves what the compiler prints, and the PTX, in the folder.
compile() {
  folder=$1 file=$2 targets=
  for architecture in $3; do targets="$targets -gencode arch=compute_$architecture,code=sm_$architecture"; done
  shift 3
  mkdir -p "$folder"
  # Unquoted: NVCC may be several words.
  $NVCC -std=c++20 -O3 -I. -Werror all-warnings -Xptxas -v,--warn-on-spills,--warn-on-local-memory-usage,-Werror \
    $targets "$@" --keep --keep-dir "$folder" -fatbin -o "$folder/fatbin" "$file" > "$folder/output" 2>&1
}

# kernels_in FOLDER NORMALIZER: a line "KERNEL|NORMALIZER|registers|shared bytes|mma|ldmatrix|cp.async" for each kernel
# and architecture. NORMALIZER, if it is not "-", is the first template argument; it becomes a column instead.
kernels_in() {
  awk '
    FILENAME ~ /ptx$/ {
      if ($1 == ".target") { target = $2; sub(/,/, "", target) }
      if (match($0, /\.entry [A-Za-z0-9_$]+/)) name = substr($0, RSTART + 7, RLENGTH - 7)
      count[target, name, 1] += /^[\t ]*mma\.sync/
      count[target, name, 2] += /^[\t ]*ldmatrix/
      count[target, name, 3] += /^[\t ]*cp\.async\.c[ag]/
      next
    }
    /Compiling entry function/ { split($0, quoted, "\047"); name = quoted[2]; target = quoted[4] }
    /Used [0-9]+ registers/ {
      registers = $0; sub(/.*Used /, "", registers)
      shared = 0
      if (match($0, /[0-9]+ bytes smem/)) shared = substr($0, RSTART) + 0
      print name, registers + 0, shared, count[target, name, 1] + 0, count[target, name, 2] + 0, \
        count[target, name, 3] + 0
    }' $(ls "$1"/*.ptx 2> /dev/null) "$1/output" | c++filt | awk -v normalizer="$2" '
    # "void cuda::tile::forward_kernel<SelfAdjust<(Kind)0>, bf16, 64>(bf16*, ...) 96 0 48 32 12"
    {
      numbers = $(NF - 4) "|" $(NF - 3) "|" $(NF - 2) "|" $(NF - 1) "|" $NF
      gsub(/\(anonymous namespace\)::/, "")
      sub(/^void /, "")
      sub(/^cuda::/, "")
      # up to the first parenthesis outside of the template arguments, the first of which ends at `second`
      depth = second = 0
      for (end = 1; end <= length($0); end++) {
        character = substr($0, end, 1)
        if (character == "(" && depth == 0) break
        depth += (character == "<") - (character == ">")
        if (second == 0 && depth == 1 && character == ",") second = end + 2
        if (second == 0 && depth == 0 && character == ">") second = end
      }
      kernel = substr($0, 1, end - 1)
      if (second == 0) sub(/ [0-9 ]*$/, "", kernel)
      if (normalizer != "-") kernel = substr(kernel, 1, index(kernel, "<")) substr(kernel, second)
      print kernel "|" normalizer "|" numbers
    }'
}

# The kernels of one unit, as a check: "unit FOLDER FILE NORMALIZER ARCHITECTURES...", for xargs below.
if [ "${1-}" = unit ]; then
  folder=$2 file=$3 normalizer=$4
  shift 4
  name=$(basename "$file" .cu) option=
  [ "$normalizer" = - ] || name="$name of $normalizer" option=-DATTNORM_NORMALIZER=$normalizer
  name="$name for sm_$(echo "$*" | sed 's/ /, sm_/g')"
  start=$(date +%s)
  if compile "$folder" "$file" "$*" $option; then
    kernels_in "$folder" "$normalizer" > "$folder/kernels"
    kernels=$(wc -l < "$folder/kernels")
    echo "ok   $name: $kernels kernels, no spills ($(($(date +%s) - start)) s)" | tee "$folder/verdict"
  else
    echo "FAIL $name" | tee "$folder/verdict"
    grep -v 'ptxas info\|bytes stack frame' "$folder/output" | c++filt | sed 's/^/       /'
  fi
  rm -f "$folder"/*.ii "$folder"/*.cubin "$folder"/*.gpu "$folder"/*.c "$folder"/*.cpp "$folder"/fatbin "$folder"/*.ptx
  exit 0
fi

# --- the checks -------------------------------------------------------------------------------------------------------

. tests/checks.sh
# The list EVERY_NORMALIZER, as in the Makefile, and the architectures that `make cuda` knows.
normalizers=$(sed -n '/define EVERY_NORMALIZER/,/[^\\]$/s/^ *X.\([a-z0-9_]*\),.*/\1/p' kernels/normalizer/normalizer.h)
architectures=$(sed -n 's/^every="\([0-9 ]*\)".*/\1/p' train/cuda_architectures.sh)
oldest=${architectures%% *}
case ${1-} in
  ci) everywhere="softmax ssmax sa_softmax norm_sirenmax" ;;
  all) everywhere=$normalizers ;;
  *) echo "usage: tests/cuda_check.sh ci|all" >&2; exit 2 ;;
esac
if ! $NVCC --version > "$temp/version" 2>&1; then
  echo "tests/cuda_check.sh needs the CUDA compiler nvcc: '$NVCC' does not run; give NVCC=..." >&2
  exit 2
fi
compiler=$(sed -n 's/.*release \([0-9.]*\),.*/\1/p' "$temp/version")

# The compiler itself: what must be refused is refused, and what is counted is counted.
cat > "$temp/local.cu" <<'END'
__global__ void local_kernel(float* x, int i) {
  float of_thread[32] = {};
  for (int k = 0; k < i; k++) of_thread[int(x[k]) % 32] += x[k];
  for (int k = 0; k < 32; k++) x[k] = of_thread[k];
}
END
cat > "$temp/spills.cu" <<'END'
__global__ void __launch_bounds__(1024, 2) spills_kernel(float* x) {
  float of_thread[64];
#pragma unroll
  for (int k = 0; k < 64; k++) of_thread[k] = x[k * 1024 + threadIdx.x];
  __syncthreads();
#pragma unroll
  for (int k = 0; k < 64; k++) x[(63 - k) * 1024 + threadIdx.x] = of_thread[k] * of_thread[(k * 7 + 5) % 64];
}
END
cat > "$temp/counted.cu" <<'END'
template <class N, class S>
__global__ void counted_kernel(S* x) {
  __shared__ __align__(16) S tile[256];
  float d[4] = {};
  unsigned a[4], at = unsigned(__cvta_generic_to_shared(tile + threadIdx.x));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(at), "l"(x) : "memory");
  asm volatile("cp.async.wait_all;" ::: "memory");
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3]) : "r"(at));
  for (int i = 0; i < 4; i += 2)
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(a[i]), "r"(a[i + 1]));
  x[threadIdx.x] = d[0] + d[1] + d[2] + d[3];
}
enum Kind { kZero };
template <Kind> struct Of;
template __global__ void counted_kernel<Of<kZero>, float>(float*);
END
refused() {  # FILE TEXT
  compile "$temp/canary" "$1" "$oldest" && { echo "it was compiled"; return 1; }
  cat "$temp/canary/output"
  grep -q "$2" "$temp/canary/output"
}
counted() {
  compile "$temp/counted" "$temp/counted.cu" "$oldest" || { cat "$temp/counted/output"; return 1; }
  kernels_in "$temp/counted" of_zero > "$temp/kernels"
  cat "$temp/kernels"
  grep -qx 'counted_kernel<float>|of_zero|[0-9]*|1024|2|1|1' "$temp/kernels"
}
check "an array indexed at run time, so in local memory, is refused" refused "$temp/local.cu" "Local memory used"
check "a kernel that spills registers is refused" refused "$temp/spills.cu" "Registers are spilled"
check "registers, shared memory, mma, ldmatrix and cp.async of a kernel are counted" counted

# Units that take long come first, so that none is left over at the end.
{
  for normalizer in $everywhere; do echo "kernels/cuda/attention.cu $normalizer $architectures"; done
  for normalizer in $normalizers; do
    case " $(echo $everywhere) " in
      *" $normalizer "*) ;;
      *) echo "kernels/cuda/attention.cu $normalizer $oldest" ;;
    esac
  done
  for file in kernels/cuda/*.cu; do [ "$file" = kernels/cuda/attention.cu ] || echo "$file - $architectures"; done
} | awk -v temp="$temp" '{ print temp "/unit-" NR, $0 }' > "$temp/units"
xargs -P "$JOBS" -L 1 sh "$0" unit < "$temp/units"
compiled() {
  missing=$(($(wc -l < "$temp/units") - $(cat "$temp"/unit-*/verdict | wc -l)))
  [ $missing -eq 0 ] || { echo "$missing of them ended without a verdict"; return 1; }
}
passed=$((passed + $(cat "$temp"/unit-*/verdict | grep -c ^ok)))
failed=$((failed + $(cat "$temp"/unit-*/verdict | grep -c ^FAIL)))
check "every file was compiled or refused" compiled

# The most registers and shared memory of each kernel over architectures, the fewest instructions; for attention, those
# of softmax and those of any normalizer.
cat "$temp"/unit-*/kernels "/dev/null" | awk -F '|' -v OFS='|' '
  function take(key) {
    if (!(key in most)) { most[key] = $3; shared[key] = $4; for (i = 5; i <= 7; i++) least[key, i] = $i }
    if ($3 + 0 > most[key] + 0) most[key] = $3
    if ($4 + 0 > shared[key] + 0) shared[key] = $4
    for (i = 5; i <= 7; i++) if ($i + 0 < least[key, i] + 0) least[key, i] = $i
  }
  { if ($2 == "-" || $2 == "softmax") take($1 OFS $2); if ($2 != "-") take($1 OFS "any") }
  END { for (key in most) print key, most[key], shared[key], least[key, 5], least[key, 6], least[key, 7] }' |
  sort > "$temp/found"
if [ -n "${WRITE_BUDGET-}" ]; then
  {
    echo "# What kernels may take, at most, on any architecture: registers of a thread, static shared memory of a block"
    echo "# in bytes. And how many instructions mma.sync, ldmatrix and cp.async their PTX has, at least. The check is"
    echo "# tests/cuda_check.sh; make cuda-check WRITE_BUDGET=1 rewrites this file."
    echo "# nvcc $compiler"
    awk -F '|' '
      BEGIN {
        format = "%-50s%-10s%11s%8s%5s%10s%10s\n"
        printf format, "# kernel", "normalizer", "registers", "shared", "mma", "ldmatrix", "cp.async"
      }
      { printf format, $1, $2, $3, $4, $5, $6, $7 }' "$temp/found"
  } > "$budget"
  echo "written: $budget, $(grep -vc '^#' "$budget") lines"
fi
# The kernel has no spaces as a field: they separate columns, and stand after commas in its template arguments.
sed '/^#/d; s/, /,/g; s/  */|/g; s/,/, /g' "$budget" 2> /dev/null | sort > "$temp/budget"

# within FIELD SIGN: no kernel's FIELD is larger (SIGN 1), or smaller (-1), than in the budget
within() {
  awk -F '|' -v field="$1" -v sign="$2" '
    NR == FNR { stated[$1 "|" $2] = $field; next }
    ($1 "|" $2) in stated && sign * ($field - stated[$1 "|" $2]) > 0 {
      print $1 ", " $2 ": " $field ", the budget is " stated[$1 "|" $2]; worse++
    }
    END { exit worse > 0 }' "$temp/budget" "$temp/found"
}
same_kernels() {
  [ -s "$temp/found" ] || { echo "no kernel was found"; return 1; }
  cut -d '|' -f 1-2 "$temp/budget" > "$temp/stated"
  cut -d '|' -f 1-2 "$temp/found" | comm -3 - "$temp/stated" |
    sed 's/^\t/only in the budget: /; t; s/^/not in the budget: /' > "$temp/other"
  cat "$temp/other"
  [ ! -s "$temp/other" ]
}
# The bf16 attention kernels are the ones in the namespace tile; they are nothing without tensor cores.
on_tensor_cores() {
  awk -F '|' '/^tile::.*bf16/ { kernels++; if ($5 == 0 || $6 == 0 || $7 == 0) { print; none++ } }
    END { if (kernels == 0) print "there is none"; exit kernels == 0 || none > 0 }' "$temp/found"
}
check "every tiled attention kernel for bf16 has mma.sync, ldmatrix and cp.async" on_tensor_cores
check "the budget has a line for each kernel, and no other" same_kernels
stated=$(sed -n 's/^# nvcc //p' "$budget")
if [ "$stated" = "$compiler" ]; then
  check "no kernel has more registers than its budget" within 3 1
else
  echo "registers are not judged: the budget is of nvcc $stated, this is $compiler"
fi
check "no kernel has more shared memory than its budget" within 4 1
check "no kernel has fewer mma.sync than stated" within 5 -1
check "no kernel has fewer ldmatrix than stated" within 6 -1
check "no kernel has fewer cp.async than stated" within 7 -1

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
