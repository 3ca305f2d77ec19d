#!/usr/bin/env bash
# wrk against a running ringsock: every answer arrives, and every one is a success. Measures nothing.
#
#     tests/clients/wrk.sh 127.0.0.1:9000
set -euo pipefail

report=$(wrk -t1 -c64 -d2s "http://${1:-127.0.0.1:9000}/health")
requests=$(awk '/requests in/ { print $1 }' <<<"$report")
# wrk prints these lines only if there is something to tell.
if grep -E 'Socket errors|Non-2xx' <<<"$report" || ((${requests:-0} == 0)); then
  echo "FAILED wrk"
  echo "$report"
  exit 1
fi
echo "ok wrk: $requests requests on 64 connections, every one answered with success"
