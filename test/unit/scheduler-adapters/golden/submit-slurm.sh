#!/bin/sh
#SBATCH --job-name=airfoil
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --mem=8192M
#SBATCH --time=01:30:30
#SBATCH --partition=batch
#SBATCH --account=cfd
#SBATCH --output=out.txt
#SBATCH --error=err.txt
#SBATCH --mail-type=END,FAIL
#SBATCH --mail-user=user@example.org
cd '/home/user/my case' || exit 1
exec leet-mpirun -n 8 simpleFoam -parallel 'with blank' 'it'\''s'

# submitted by: sbatch
