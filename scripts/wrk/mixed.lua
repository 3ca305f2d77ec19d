-- All that is served by HTTP, in such shares as a busy server sees: wrk -s scripts/wrk/mixed.lua http://127.0.0.1:9000

local here = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
package.path = here .. "?.lua;" .. package.path
local check, kinds = require("check"), require("kinds")

local function of(share, kind)
  kind.share = share
  return kind
end

check.run({
  of(8, kinds.health()),
  of(8, kinds.publish()),
  of(2, kinds.cores()),
  of(1, kinds.page()),
  of(1, kinds.no_upgrade()),
})
