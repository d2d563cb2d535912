#!/bin/sh
# Prints the GPU architectures to compile for, as "80 90", and on standard error the reason: those of the GPUs in this
# machine, as nvidia-smi shows them; without a GPU, every architecture that the kernels are checked for. Exit 2 with one
# sentence where a GPU is too old. The Makefile runs it for `make cuda`, unless CUDA_ARCHITECTURES is given.
set -u
every="80 90 100 120" least=80

capabilities=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2> /dev/null | tr -d ' .' | grep -x '[0-9]*' | sort -nu)
if [ -z "$capabilities" ]; then
  echo "no GPU in this machine, so for sm_$(echo "$every" | sed 's/ /, sm_/g')" >&2
  echo "$every"
  exit
fi
for capability in $capabilities; do
  if [ "$capability" -lt $least ]; then
    echo "a GPU of this machine is of architecture sm_$capability; the kernels need sm_$least or later" >&2
    exit 2
  fi
done
echo "for the GPU of this machine: sm_$(echo $capabilities | sed 's/ /, sm_/g')" >&2
echo $capabilities
