#!/bin/sh
#SBATCH --job-name=pitzDaily
#SBATCH --nodes=2 --ntasks-per-node=1
#SBATCH --time=30
export WM_PROJECT_DIR=/usr/share/openfoam
leet-mpirun simpleFoam -parallel >log.simpleFoam
