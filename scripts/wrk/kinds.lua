-- What ringsock serves by HTTP, and how its right answers are told from anything else.

local kinds = {}

function kinds.health()
  return {
    name = "GET /health", share = 1, method = "GET", path = "/health",
    is_answer = function(status, _, body) return status == 200 and body == "ok" end,
  }
end

-- Publishes to the topic "wrk", with the key that the server has.
function kinds.publish()
  local key = os.getenv("RINGSOCK_API_KEY")
  assert(key, "RINGSOCK_API_KEY has to be the key that the server was started with.")
  return {
    name = "POST /api/publish", share = 1, method = "POST", path = "/api/publish?topic=wrk",
    headers = { ["X-API-Key"] = key, ["Content-Type"] = "application/json" },
    body = '{"symbol":"EUR","price":7919,"change":-0.17,"from":"scripts/wrk"}',
    is_answer = function(status, _, body) return status == 200 and body == '{"topic":"wrk","sent":"queued"}' end,
  }
end

function kinds.cores()
  return {
    name = "GET /api/cores", share = 1, method = "GET", path = "/api/cores",
    is_answer = function(status, _, body) return status == 200 and body:find('"connections":', 1, true) ~= nil end,
  }
end

function kinds.page()
  return {
    name = "GET /", share = 1, method = "GET", path = "/",
    is_answer = function(status, _, body) return status == 200 and body:find("</html>", -20, true) ~= nil end,
  }
end

-- A WebSocket's path without the wish for one: wrk speaks no WebSocket.
function kinds.no_upgrade()
  return {
    name = "GET /echo", share = 1, method = "GET", path = "/echo",
    is_answer = function(status) return status == 426 end,
  }
end

return kinds
