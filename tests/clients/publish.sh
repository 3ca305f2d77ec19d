#!/usr/bin/env bash
# Publishes in every way that curl and wget have of sending a body, to a running ringsock.
#
#     tests/clients/publish.sh 127.0.0.1:9000 KEY
#
# The server runs with its default limits and this --api-key.
set -euo pipefail

address=${1:-127.0.0.1:9000}
key=${2:-key}
url="http://$address/api/publish?topic=a"
source "${BASH_SOURCE%/*}/checks.sh"

# One request; its status.
publish() {
  request --output /dev/null --write-out '%{http_code}' --header "X-API-Key: $key" "$@" "$url" || true
}

check "curl -d" "$(publish --data hi)" 200
check "curl -T -" "$(printf hi | publish --request POST --upload-file -)" 200
check "curl -T - without Expect" "$(printf hi | publish --request POST --header Expect: --upload-file -)" 200
check "curl with chunks and -d" "$(publish --header 'Transfer-Encoding: chunked' --data hi)" 200
check "curl with Expect" "$(publish --header 'Expect: 100-continue' --data hi)" 200
check "curl with Expect and chunks" \
  "$(printf hi | publish --request POST --header 'Expect: 100-continue' --upload-file -)" 200
check "curl --http1.0" "$(publish --http1.0 --data hi)" 200
check "curl --http1.0 with Expect" "$(publish --http1.0 --header 'Expect: 100-continue' --data hi)" 200
check "curl --http2" "$(publish --http2 --data hi)" 200
check "a body of 60 kB" "$(head -c 60000 /dev/zero | publish --request POST --upload-file -)" 200
check "a body of 60 kB with -d" "$(head -c 60000 /dev/zero | tr '\0' x | publish --data-binary @-)" 200
check "a body of 10 MB is 413" "$(head -c 10000000 /dev/zero | publish --request POST --upload-file -)" 413
check "a wrong key is 401" "$(printf hi | key=wrong publish --request POST --upload-file -)" 401
if command -v wget >/dev/null; then
  said=$(wget --quiet --no-proxy --timeout 20 --tries 1 --header "X-API-Key: $key" --post-data hi \
    --output-document - "$url" || true)
  check "wget --post-data" "$said" '{"topic":"a","sent":"queued"}'
fi

finish
