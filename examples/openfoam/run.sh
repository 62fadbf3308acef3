#!/bin/sh
# One OpenFOAM case from mesh to picture, with Debian's packages openfoam and openfoam-examples.
#
#   sh run.sh pitzDaily [RANKS [DIRECTORY]]      2-D flow over a step, simpleFoam
#   sh run.sh cavity [RANKS [DIRECTORY]]         2-D lid-driven cavity, icoFoam
#
# $MPIRUN starts the ranks: leet-mpirun unless told, perhaps with options (MPIRUN="leet-mpirun --guests 2").
set -eu
case=${1:?pitzDaily or cavity}
ranks=${2:-2}
directory=${3:-$PWD/$case}
here=$(cd "$(dirname "$0")" && pwd)
export WM_PROJECT_DIR="${WM_PROJECT_DIR:-/usr/share/openfoam}"

solver=$(sh "$here/prepare.sh" "$case" "$ranks" "$directory")
cd "$directory"
# Unquoted: it may have options.
${MPIRUN:-leet-mpirun} -n "$ranks" "$solver" -parallel >"log.$solver"
reconstructPar >log.reconstructPar
node "$here/picture.js" . U velocity.svg
echo "$directory/velocity.svg"
