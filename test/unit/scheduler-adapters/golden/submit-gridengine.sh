#!/bin/sh
#$ -N airfoil
#$ -S /bin/sh
#$ -cwd
#$ -notify
#$ -pe mpi 8
#$ -l h_vmem=2048M
#$ -l h_rt=01:30:30
#$ -q batch
#$ -P cfd
#$ -o out.txt
#$ -e err.txt
#$ -m ae
#$ -M user@example.org
cd '/home/user/my case' || exit 1
exec leet-mpirun -n 8 simpleFoam -parallel 'with blank' 'it'\''s'

# submitted by: qsub
