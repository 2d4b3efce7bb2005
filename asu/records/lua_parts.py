"""The parts of Lua that several transitions of a build record share (`redis_scripts.py`).

Somebody may have written anything into Redis, and a script that raises after its first write leaves
the record half changed. So scripts read with `read` and `num`, remove keys of another type with
`expect`, and do with `redis.pcall` what may fail and matters less.
"""

from .build_record import HISTORY

NOW = """
local function num(text, other)
  local found = tonumber(text)
  return found and found > -9e15 and found < 9e15 and found or other
end
local function read(...)
  local found = redis.pcall(...)
  return not (type(found) == 'table' and found.err) and found or nil
end
local function expect(kind, key)
  local found = redis.call('TYPE', key).ok
  if found ~= kind and found ~= 'none' then redis.call('DEL', key) end
end
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local function stamp(seconds) return string.format('%.6f', seconds) end
"""

# Writes into the record how the current attempt ended: JSON objects with commas between them. Other
# text there is replaced.
NOTE = f"""
local function note(outcome, code)
  local found = read('HMGET', KEYS[1], 'tried', 'tries', 'begun', 'step')
  local is_json, tried = pcall(cjson.decode, '[' .. (found[1] or '') .. ']')
  if not is_json then tried = {{}} end
  table.insert(tried, {{
    number = num(found[2], 1), begun = num(found[3], now), ended = now,
    outcome = outcome, code = code, step = string.match(found[4] or '', '^[ -~]*$') or ''
  }})
  while #tried > {HISTORY} do table.remove(tried, 1) end
  local is_text, text = pcall(cjson.encode, tried)
  if not is_text then text = cjson.encode({{tried[#tried]}}) end
  redis.call('HSET', KEYS[1], 'tried', string.sub(text, 2, -2))
end
"""

# Whether an answer can be made of these fields of a record; what nobody can read is unknown.
READABLE = """
local states = {queued = true, running = true, done = true, failed = true}
local function is_readable(state, step, body, fault)
  return states[state] and step and body
         and string.sub(body, 1, 1) == '{' and string.sub(body, -1) == '}'
         and not string.find(step .. (fault or ''), '[^ -~]')
end
"""

# The order is a counter that continues behind the line where somebody has overwritten it.
NEXT = """
local function next_order()
  local order = redis.pcall('INCR', KEYS[3])
  if type(order) == 'table' then
    local last = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')
    order = math.max(num(last[2], 0), 0) + 1
    redis.call('SET', KEYS[3], order)
  end
  return order
end
"""

# The waiting builds that may begin now, in their order; `most` bounds how many, -1 is all. Only the
# few that were begun before may have to wait until a time.
DUE_KEYS = f"""{NOW}
local function field(key, name)
  return read('HGET', ARGV[1] .. key, name) or nil
end
expect('zset', KEYS[1])
local function due(most)
  local keys = {{}}
  for _, key in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(0')) do
    if num(field(key, 'due'), 0) <= now then table.insert(keys, key) end
  end
  for _, key in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], 0, '+inf', 'LIMIT', 0, most)) do
    table.insert(keys, key)
  end
  return keys
end
"""
