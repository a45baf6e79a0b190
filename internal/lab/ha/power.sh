#!/bin/sh
# A power strip: leaves a request for the lab, and says what it answers.
#
# usage: power.sh VERB NODE
set -eu
at=$(dirname "$0")/power/$$.$2.$1
: >"$at.request"
while [ -e "$at.request" ]; do sleep 0.05; done
answer=$(cat "$at.answer")
rm "$at.answer"
echo "$answer"
[ "$answer" != failed ]
