#!/bin/sh
# Gate a training run: compare its checkpoint with the baseline, keep the reports, and say what went wrong.
# Usage: gate.sh BASELINE CANDIDATE [RULE...]     BASELINE is a checkpoint or a saved report (.json)
set -eu

baseline=$1
candidate=$2
shift 2
[ $# -gt 0 ] || set -- 'change.within.excess > 0.02'
for rule; do
    set -- "$@" --fail-if "$rule"
    shift
done

status=0
gcx compare "$baseline" "$candidate" "$@" --format json --export gcx.md --export gcx.xml >gcx.json || status=$?
case $status in
0) echo "no gate was crossed" ;;
1) jq -r '.violations[] | "\(.layer // .model): \(.value) crosses \(.rule)"' gcx.json ;;
3) echo "inconclusive: nothing to compare, or a number is null everywhere" ;;
*) echo "gcx could not answer" ;;
esac
exit $status
