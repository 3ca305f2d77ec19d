-- What the scripts of wrk have in common: they ask in turn for what a list says, and look at every answer.
--
-- An answer does not say which request it belongs to, so each kind of request has an answer that no other has. What is
-- no right answer to anything is wrong. In the end a line tells it all to scripts/wrk/run.

local check = {}

local threads = {}
local kinds = {}

-- Sends requests of these kinds, each `share` times in a round. A kind is { name, share, method, path, headers, body,
-- is_answer = function(status, headers, body) }.
function check.run(of)
  kinds = of
  asked, answered = {}, {}
  wrong, example = 0, ""
  for number = 1, #kinds do
    asked[number], answered[number] = 0, 0
  end
end

-- Called by wrk, once for each thread and in the program's own state.
function setup(thread)
  table.insert(threads, thread)
end

-- Called by wrk in each thread, which has a state of its own.
function init()
  round = {}
  for number, kind in ipairs(kinds) do
    local text = wrk.format(kind.method, kind.path, kind.headers, kind.body)
    for _ = 1, kind.share do
      table.insert(round, { number = number, text = text })
    end
  end
  at = 0
end

function request()
  at = at % #round + 1
  local number = round[at].number
  asked[number] = asked[number] + 1
  return round[at].text
end

function response(status, headers, body)
  for number, kind in ipairs(kinds) do
    if kind.is_answer(status, headers, body) then
      answered[number] = answered[number] + 1
      return
    end
  end
  wrong = wrong + 1
  if example == "" then
    example = status .. " " .. body:sub(1, 100)
  end
end

local function quoted(text)
  local escaped = text:gsub('[%c"\\\128-\255]', function(byte)
    return string.format("\\u%04x", byte:byte())
  end)
  return '"' .. escaped .. '"'
end

-- Called by wrk when all is over. Times are in microseconds.
function done(summary, latency)
  local wrong, example, told = 0, "", {}
  for number, kind in ipairs(kinds) do
    local asked, answered = 0, 0
    for _, thread in ipairs(threads) do
      asked = asked + thread:get("asked")[number]
      answered = answered + thread:get("answered")[number]
    end
    table.insert(told, string.format('{"name":%s,"asked":%d,"answered":%d}', quoted(kind.name), asked, answered))
  end
  for _, thread in ipairs(threads) do
    wrong = wrong + thread:get("wrong")
    example = example == "" and thread:get("example") or example
  end
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"requests":%d,"bytes":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,"wrong":%d,"example":%s,'
      .. '"socket_errors":%d,"timeouts":%d,"kinds":[%s]}\n',
    summary.requests, summary.bytes, summary.duration, latency:percentile(50), latency:percentile(99), wrong,
    quoted(example), errors.connect + errors.read + errors.write, errors.timeout, table.concat(told, ",")
  ))
end

return check
