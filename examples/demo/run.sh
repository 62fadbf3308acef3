#!/bin/sh
# The demonstration: compiles an MPI program on the spot and runs it with four ranks in two guests,
# with Open MPI and with MPICH. Installs what is missing first.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
sh "$root/test/setup.sh" guests mpi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
for mpi in openmpi mpich; do
  echo
  echo "== $mpi: mpicc.$mpi ring.c, then leet-mpirun -n 4 --guests 2 ./ring"
  "mpicc.$mpi" -O2 -o ring "$root/examples/programs/ring.c"
  "$root/launcher/bin/leet-mpirun" -n 4 --guests 2 --timings ./ring
done
