#!/bin/sh
#BSUB -J airfoil
#BSUB -n 8
#BSUB -R "span[ptile=4]"
#BSUB -R "rusage[mem=8192MB]"
#BSUB -W 01:31
#BSUB -q batch
#BSUB -P cfd
#BSUB -o out.txt
#BSUB -e err.txt
#BSUB -N -u user@example.org
cd '/home/user/my case' || exit 1
exec leet-mpirun -n 8 simpleFoam -parallel 'with blank' 'it'\''s'

# submitted by: bsub
