#!/bin/sh
#PBS -N pitzDaily
#PBS -l nodes=2:ppn=1
#PBS -l walltime=00:30:00
cd "$PBS_O_WORKDIR"
export WM_PROJECT_DIR=/usr/share/openfoam
leet-mpirun simpleFoam -parallel >log.simpleFoam
