#!/bin/sh
# Copies a case of Debian's package openfoam-examples, makes its mesh and divides it: `sh prepare.sh CASE RANKS DIRECTORY`.
# $ITERATIONS limits the length of the run. Prints the solver.
set -eu
case=${1:?pitzDaily or cavity}
ranks=${2:?a number of ranks}
directory=${3:?a directory}
examples=/usr/share/doc/openfoam-examples/examples/incompressible
export WM_PROJECT_DIR="${WM_PROJECT_DIR:-/usr/share/openfoam}"

case $case in
  pitzDaily) solver=simpleFoam source=$examples/simpleFoam/pitzDaily iterations=${ITERATIONS:-200} step=1 ;;
  cavity) solver=icoFoam source=$examples/icoFoam/cavity/cavity iterations=${ITERATIONS:-100} step=0.005 ;;
  *) echo "$0: pitzDaily or cavity, not $case" >&2; exit 2 ;;
esac

[ -d "$source" ] || { echo "$0: $source is not there: apt-get install openfoam-examples" >&2; exit 1; }
[ ! -e "$directory" ] || { echo "$0: $directory is there already: remove it, or name another directory" >&2; exit 1; }
cp -R "$source" "$directory"
cd "$directory"
set_entry() { foamDictionary system/controlDict -entry "$1" -set "$2" >>log.prepare; }
set_entry endTime "$(awk "BEGIN { print $iterations * $step }")"
set_entry writeControl timeStep
set_entry writeInterval "$iterations"
cat >system/decomposeParDict <<END
FoamFile { version 2.0; format ascii; class dictionary; object decomposeParDict; }
numberOfSubdomains $ranks;
method simple;
simpleCoeffs { n ($ranks 1 1); delta 0.001; }
END
blockMesh >log.blockMesh
decomposePar >log.decomposePar
echo "$solver"
