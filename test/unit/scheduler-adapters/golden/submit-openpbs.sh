#!/bin/sh
#PBS -N airfoil
#PBS -q batch
#PBS -A cfd
#PBS -o out.txt
#PBS -e err.txt
#PBS -l walltime=01:30:30
#PBS -m ae
#PBS -M user@example.org
#PBS -l select=2:ncpus=4:mpiprocs=4:mem=8192mb
#PBS -l place=scatter
cd '/home/user/my case' || exit 1
exec leet-mpirun -n 8 simpleFoam -parallel 'with blank' 'it'\''s'

# submitted by: qsub
