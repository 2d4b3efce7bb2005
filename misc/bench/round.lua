-- One round of wrk. With a file named after `--` its content is posted as JSON; without, the URL is
-- fetched. At the end everything is in one line of JSON, more exactly than wrk's own report:
-- times are in microseconds.

function init(args)
  if args[1] then
    local file = assert(io.open(args[1], "rb"))
    wrk.method = "POST"
    wrk.body = file:read("*a")
    wrk.headers["Content-Type"] = "application/json"
    file:close()
  end
end

function done(summary, latency, requests)
  local errors = summary.errors
  local line = '\nround: {"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, "refused": %d, "broken": %d}\n'
  local broken = errors.connect + errors.read + errors.write + errors.timeout
  io.write(line:format(summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), errors.status, broken))
end
