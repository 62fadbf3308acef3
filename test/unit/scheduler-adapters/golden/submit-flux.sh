#!/bin/sh
#flux: --job-name=airfoil
#flux: --nodes=2
#flux: --nslots=8
#flux: --time-limit=5430s
#flux: --queue=batch
#flux: --bank=cfd
#flux: --output=out.txt
#flux: --error=err.txt
cd '/home/user/my case' || exit 1
exec leet-mpirun -n 8 simpleFoam -parallel 'with blank' 'it'\''s'

# submitted by: flux batch
