# Sourced by the tests that use curl: requests that reach the server itself, and checks that are counted.

# Far longer than an answer takes on a machine that is busy with other things.
SECONDS_MAX=20
failures=0

# curl, without a proxy of the environment.
request() {
  curl --silent --noproxy '*' --max-time "$SECONDS_MAX" "$@"
}

check() {
  local name=$1 found=$2 expected=$3
  if [[ $found == "$expected" ]]; then
    echo "ok $name"
  else
    echo "FAILED $name: found '$found', expected '$expected'"
    failures=$((failures + 1))
  fi
}

# Ends with 1 if a check has failed.
finish() {
  if ((failures > 0)); then
    echo "$failures checks failed"
    exit 1
  fi
}
