#!/bin/sh
# The programs for a GPU as a user meets them, on the emulator: the same options, files and results as on the CPU, runs
# that move between the two, and machines on which they cannot run. From the repository's root, after
# `make NORMALIZER='softmax ssmax' PRECISION='fp32 bf16' all emulated`; prints a line "ok ..." or "FAIL ..." for each check,
# and "N passed, N failed" at the end. With ON_GPU=1 the programs of `make cuda` run instead, on the GPU of this machine.
set -u
unset OMP_NUM_THREADS ATTNORM_EMULATOR
export OMP_WAIT_POLICY=passive
build=$(cd "${BUILD:=build}" && pwd) || exit 2
on_gpu=${ON_GPU:-}
where=emulated/
[ -z "$on_gpu" ] || where=
gpu=${where}softmax-cuda gpu_ssmax=${where}ssmax-cuda gpu_bf16=${where}softmax-cuda-bf16
. tests/checks.sh
. tests/programs.sh
mkdir "$temp/a folder" && cd "$temp/a folder" || exit 2

# near TOLERANCE A B: two files of as many numbers, of which no two differ by more than the tolerance, relative
near() {
  paste "$2" "$3" | awk -v tolerance="$1" '
    function size(x) { return x < 0 ? -x : x }
    NF != 2 { print "line " NR " has no partner: " $0; exit wrong = 1 }
    { error = size($1 - $2) / size($1); if (error > worst) worst = error; lines++ }
    END { print lines + 0 " numbers, largest relative difference " worst + 0
          exit wrong || lines == 0 || worst > tolerance }'
}
# near_losses TOLERANCE A B: the losses of every update and evaluation of two runs
near_losses() {
  for run in "$2" "$3"; do measured "$run" | sed -n 's/.*"loss":\([^,]*\).*/\1/p' > "$temp/losses.$run"; done
  near "$1" "$temp/losses.$2" "$temp/losses.$3"
}
# The same arithmetic in another order, 20 updates long: 1e-7 grows to some 1e-6.
close=1e-5

write_text
run "$build/prepare" --input text.txt --out data
check "prepare" ended 0
train softmax cpu 20 --checkpoint-every 10 --keep 0 --eval-every 10 --attention-every 10
train "$gpu" gpu 20 --checkpoint-every 10 --keep 0 --eval-every 10 --attention-every 10
check "train names the device, and the next command" ended 0 "device " "next: build/softmax-cuda/sample --checkpoint gpu"
check "... and records it" grep -q '"event":"start".*"precision":"fp32","tf32":false' gpu/metrics.jsonl
check "20 updates have the losses of the CPU" near_losses $close cpu gpu
attention_of() { grep '"event":"attention"' "$1/metrics.jsonl" | sed 's/.*"score_std":\([^,]*\).*"entropy":\([^,]*\).*"jacobian":\([^,}]*\).*/\1\n\2\n\3/'; }
near_attention() { for run in cpu gpu; do attention_of $run > "$temp/attention.$run"; done; near 1e-3 "$temp/attention.cpu" "$temp/attention.gpu"; }
check "... and the attention records" near_attention
train "$gpu" again 20 --checkpoint-every 10 --keep 0 --eval-every 10 --attention-every 10
check "a second run has the same bits" same_run gpu again
if [ -z "$on_gpu" ]; then
  export ATTNORM_EMULATOR="schedule=random seed=7"
  train "$gpu" random 20 --checkpoint-every 10 --keep 0 --eval-every 10 --attention-every 10
  unset ATTNORM_EMULATOR
  check "... and so has one whose threads run in another order" same_run gpu random
fi
run "$build/compare" cpu gpu
check "compare says that the devices differ" ended 0 "device"

# --- from one device to the other -------------------------------------------------------------------------------------

half() { cp -r "$1" "$2" && rm -r "$2/checkpoints/step-00000020"; }
half cpu cpu_then_gpu
run "$build/$gpu/train" --out cpu_then_gpu --resume
check "a run of the CPU goes on on the GPU" ended 0
check "... with the losses it would have had" near_losses $close cpu cpu_then_gpu
half gpu gpu_then_cpu
run "$build/softmax/train" --out gpu_then_cpu --resume
check "a run of the GPU goes on on the CPU" ended 0
check "... with the losses it would have had" near_losses $close cpu gpu_then_cpu
half gpu gpu_then_gpu
run "$build/$gpu/train" --out gpu_then_gpu --resume
check "a run of the GPU goes on there to the same bits" same_run gpu gpu_then_gpu

loss_of() { sed -n 's/^loss *\([0-9.]*\) nats.*/\1/p' "$temp/out"; }
run "$build/softmax/evaluate" --checkpoint cpu --data data
loss_of > "$temp/loss.cpu"
run "$build/$gpu/evaluate" --checkpoint cpu --data data
loss_of > "$temp/loss.gpu"
check "evaluate finds the loss of a CPU's checkpoint" near $close "$temp/loss.cpu" "$temp/loss.gpu"
needle_scores() {  # needle_scores PROGRAM TABLE
  run "$build/$1/evaluate" --needle --checkpoint cpu --data data --lengths 32 --depths 0,1 --trials 3 --heads-csv "$2.csv"
  sed '1d; s/.*,//' "$2.csv" > "$temp/scores.$2"
}
needle_scores softmax cpu-heads
needle_scores "$gpu" gpu-heads
check "evaluate --needle finds the CPU's scores" near 1e-4 "$temp/scores.cpu-heads" "$temp/scores.gpu-heads"
run "$build/softmax/sample" --checkpoint cpu --prompt "the king " --tokens 20 --temperature 0
cp "$temp/out" "$temp/text.cpu"
run "$build/$gpu/sample" --checkpoint cpu --prompt "the king " --tokens 20 --temperature 0
check "sample writes the CPU's likeliest text" cmp "$temp/out" "$temp/text.cpu"

# --- another normalizer, another precision ----------------------------------------------------------------------------

train ssmax cpu_ssmax 20
train "$gpu_ssmax" gpu_ssmax 20
check "ssmax, with its learned scalars, has the losses of the CPU" near_losses $close cpu_ssmax gpu_ssmax

train "$gpu_bf16" bf16 20 --checkpoint-every 10 --keep 0 --eval-every 10 --attention-every 10
check "bf16 stays near" near_losses 0.02 cpu bf16
check "... and is not fp32" differ gpu bf16
train "$gpu_bf16" bf16_again 20 --checkpoint-every 10 --keep 0 --eval-every 10 --attention-every 10
check "... with the same bits every time" same_run bf16 bf16_again
half bf16 bf16_resumed
run "$build/$gpu_bf16/train" --out bf16_resumed --resume
check "... also where it was resumed" same_run bf16 bf16_resumed
# Heads of 32 channels, which the tiled attention takes; two tiles of keys.
for run in "softmax cpu_tiled" "$gpu gpu_tiled" "$gpu_bf16 bf16_tiled"; do
  train $run 6 --warmup-steps 1 --heads 1 --seq-len 70
done
check "tiled attention has the losses of the CPU" near_losses $close cpu_tiled gpu_tiled
check "... and stays near in bf16" near_losses 0.02 cpu_tiled bf16_tiled

refused "fp32 does not go on with a run in bf16" "bf16|build/softmax-cuda-bf16/train" "$build/$gpu/train" --out bf16 --resume

refused "--tf32 is refused on the CPU" "--tf32|build/softmax-cuda/train" \
  "$build/softmax/train" --preset tiny --data data --out x --tf32
refused "... and in bf16" "--tf32|build/softmax-cuda/train" "$build/$gpu_bf16/train" --preset tiny --data data --out x --tf32
train "$gpu" tf32 2 --warmup-steps 1 --tf32
check "... and recorded where it is used" grep -q '"event":"start".*"tf32":true' tf32/metrics.jsonl

# --- machines on which they cannot run --------------------------------------------------------------------------------

# on_machine FAULT NAME TEXTS: every program refuses it in one sentence
on_machine() {
  export ATTNORM_EMULATOR="$1"
  refused "train: $2" "$3" "$build/$gpu/train" --preset tiny --data data --out x
  refused "evaluate: $2" "$3" "$build/$gpu/evaluate" --checkpoint cpu --data data
  refused "sample: $2" "$3" "$build/$gpu/sample" --checkpoint cpu
  unset ATTNORM_EMULATOR
}
if [ -z "$on_gpu" ]; then
  on_machine fault=no-driver "there is no driver" "NVIDIA driver|install"
  on_machine fault=old-driver "the driver is too old" "NVIDIA driver|too old|newer"
  on_machine fault=no-device "there is no GPU" "GPU"
  on_machine fault=no-image "the GPU is of another architecture" "sm_|make cuda CUDA_ARCHITECTURES="
  export ATTNORM_EMULATOR="memory=48MiB"
  refused "too little memory names a batch that fits" "--batch-size 512|free|fits" \
    "$build/$gpu/train" --preset tiny --data data --out x --batch-size 512
  unset ATTNORM_EMULATOR
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
