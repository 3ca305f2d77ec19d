#!/usr/bin/env bash
# curl and raw requests against a running ringsock: what it answers to HTTP.
#
#     tests/clients/curl.sh 127.0.0.1:9000
#
# The server runs with its default limits.
set -euo pipefail

address=${1:-127.0.0.1:9000}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
source "${BASH_SOURCE%/*}/checks.sh"

# One request; the head goes to $work/head, the body to $work/body, the status to $status.
ask() {
  : >"$work/head"
  : >"$work/body"
  status=$(request --dump-header "$work/head" --output "$work/body" --write-out '%{http_code}' "$@" || true)
}

# The value of a header of the last answer.
header() {
  tr -d '\r' <"$work/head" | awk -v name="${1,,}:" 'tolower($1) == name { sub(/^[^:]*: */, ""); print }'
}

ask "http://$address/health"
check "GET /health answers 200" "$status" 200
check "GET /health says ok" "$(<"$work/body")" ok
check "no answer names the server's version" "$(header server | grep -c '[0-9]' || true)" 0

ask "http://$address/health?probe=1"
check "a query does not change the path" "$status" 200

ask "http://$address/readyz"
check "GET /readyz answers 200" "$status" 200
check "GET /readyz says ready" "$(<"$work/body")" ready

ask "http://$address/"
check "GET / answers 200" "$status" 200
check "GET / is the page" "$(grep -c '<title>ringsock</title>' "$work/body" || true)" 1
check "the page's type is HTML" "$(header content-type)" "text/html; charset=utf-8"
check "the page comes with a policy of what it may do" "$(header content-security-policy | grep -c "default-src 'none'" || true)" 1
check "the page's length is announced" "$(header content-length)" "$(stat -c %s "$work/body")"

for path in / /health /readyz; do
  ask "http://$address$path"
  length=$(header content-length)
  ask --head "http://$address$path"
  check "HEAD $path answers 200" "$status" 200
  check "HEAD $path announces the length of GET" "$(header content-length)" "$length"
done

# %{num_connects} is 1 for the transfer that opened the connection and 0 for those that used it again.
connects=$(request --output /dev/null --output /dev/null --output /dev/null --write-out '%{num_connects} ' \
  "http://$address/health" "http://$address/readyz" "http://$address/health")
check "three requests use one connection" "$connects" "1 0 0 "

# Bash's own TCP: requests written back to back before any answer is read.
pipelined() {
  local host=${address%:*} port=${address##*:} get='GET /health HTTP/1.1\r\nHost: pipelined\r\n'
  exec 3<>"/dev/tcp/$host/$port"
  # In one write, so that they come in one segment.
  printf '%b' "$get\r\n$get\r\n$get\r\n${get}Connection: close\r\n\r\n" >"$work/requests"
  cat "$work/requests" >&3
  timeout "$SECONDS_MAX" cat <&3 >"$work/answers" || echo "the connection stayed open"
  exec 3>&- 3<&-
}
check "Connection: close closes" "$(pipelined)" ""
check "four pipelined requests get four answers" "$(grep -ao 'HTTP/1.1 200 OK' "$work/answers" | wc -l)" 4

ask "http://$address/no-such-path"
check "an unknown path is 404" "$status" 404

ask --request POST --data '' "http://$address/health"
check "POST /health is 405" "$status" 405
check "405 of /health names what is allowed" "$(header allow)" "GET, HEAD, OPTIONS"
ask --request DELETE "http://$address/"
check "DELETE / is 405" "$status" 405
ask --request POST --data '' "http://$address/echo"
check "POST /echo is 405" "$status" 405
check "405 of /echo names what is allowed" "$(header allow)" "GET, HEAD, OPTIONS"

ask "http://$address/echo"
check "GET /echo without an upgrade is 426" "$status" 426
check "426 names the version" "$(header sec-websocket-version)" 13
check "426 names the protocol" "$(header upgrade)" websocket

key=dGhlIHNhbXBsZSBub25jZQ== # the example of RFC 6455, section 1.3, whose answer is known
upgrade=(--header 'Connection: Upgrade' --header 'Upgrade: websocket' --header "Sec-WebSocket-Key: $key")

ask "${upgrade[@]}" --header 'Sec-WebSocket-Version: 8' "http://$address/echo"
check "an old version is 426" "$status" 426
check "426 of an old version names ours" "$(header sec-websocket-version)" 13

ask "${upgrade[@]}" "http://$address/echo"
check "no version is 400" "$status" 400

ask --header 'Connection: Upgrade' --header 'Upgrade: websocket' --header 'Sec-WebSocket-Version: 13' "http://$address/echo"
check "no key is 400" "$status" 400

# After 101 the connection stays open, so Bash reads no further than the head.
upgraded() {
  local host=${address%:*} port=${address##*:} line
  exec 3<>"/dev/tcp/$host/$port"
  printf '%s\r\n' 'GET /echo HTTP/1.1' "Host: $address" 'Connection: Upgrade' 'Upgrade: websocket' \
    "Sec-WebSocket-Key: $key" 'Sec-WebSocket-Version: 13' '' >&3
  while IFS= read -r -t "$SECONDS_MAX" line <&3 && [[ $line != $'\r' ]]; do echo "$line"; done
  exec 3>&- 3<&-
}
upgraded >"$work/head"
check "an upgrade by hand is 101" "$(head -n 1 "$work/head" | cut -d ' ' -f 2)" 101
check "the accept key is the one of RFC 6455" "$(header sec-websocket-accept)" 's3pPLMBiTxaQ9kYGzzhZRbK+xOo='
check "101 names the protocol" "$(header upgrade)" websocket

large=$(head -c 20000 /dev/zero | tr '\0' x)
ask --header "X-Large: $large" "http://$address/health"
check "a head of 20,000 bytes is 431" "$status" 431
many=()
for number in {1..80}; do many+=(--header "X-$number: $number"); done
ask "${many[@]}" "http://$address/health"
check "80 headers are 431" "$status" 431
ask "http://$address/$(head -c 9000 /dev/zero | tr '\0' x)"
check "a target of 9,000 bytes is 414" "$status" 414

finish
