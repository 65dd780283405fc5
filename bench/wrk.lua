-- The requests of a load for wrk: each thread sends its share of them in turn.
-- The argument is a file with whole HTTP requests, separated by NUL bytes.
-- See https://github.com/wg/wrk/blob/master/SCRIPTING

local threads = 0

function setup (thread)
  thread:set('index', threads)
  threads = threads + 1
end

function init (args)
  local file = assert(io.open(args[1], 'rb'))
  local all = {}
  for text in file:read('*a'):gmatch('[^%z]+') do all[#all + 1] = text end
  file:close()
  requests = {}
  for i = index + 1, #all, tonumber(args[2]) do requests[#requests + 1] = all[i] end
  -- With fewer requests than threads, some threads have no share.
  if #requests == 0 then requests = all end
  sent = 0
end

function request ()
  sent = sent + 1
  return requests[(sent - 1) % #requests + 1]
end

-- Times are in microseconds. `status` counts responses with a status of 400 or more.
function done (summary, latency)
  local errors = summary.errors
  io.write(string.format('{"answers":%d,"microseconds":%d,"p99":%d,"errors":{"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}}\n',
    summary.requests, summary.duration, latency:percentile(99), errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
