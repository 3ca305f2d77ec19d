-- Other programs publish: RINGSOCK_API_KEY=… wrk -s scripts/wrk/publish.lua http://127.0.0.1:9000
local here = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
package.path = here .. "?.lua;" .. package.path
local check, kinds = require("check"), require("kinds")

check.run({ kinds.publish() })
