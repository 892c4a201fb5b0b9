#!/bin/sh
# The first command of stage `machine`, before anything is written: is the .venv there whose Python runs every stage?
# A copy that `dvc exp run --temp` or a queue's worker makes of the checkout has none: it gets the checkout's own.
checkout=${PWD%%/.dvc/tmp/exps/*}
for each in .venv .venvs; do
    [ -e "$each" ] || [ ! -e "$checkout/$each" ] || ln -s "$checkout/$each" "$each"
done
[ ! -x .venv/bin/python ] || [ -e .venv/harness.stamp.half ] || exit 0
if [ -e .venv ]; then what=".venv is not whole"; else what="there is no .venv"; fi
echo "faceoff: $what, whose Python runs every stage: \`make repro\` sets it up and runs; nothing was written" >&2
exit 1
