-- What load balancers ask, again and again: wrk -s scripts/wrk/health.lua http://127.0.0.1:9000
local here = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
package.path = here .. "?.lua;" .. package.path
local check, kinds = require("check"), require("kinds")

check.run({ kinds.health() })
