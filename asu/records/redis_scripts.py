"""The transitions of a build record: one Lua script each, so atomic and one round trip.

Fields of a record's hash:

    state step body fault        the answer to polls
    plan queued_body started_body    what a worker needs, and the bodies of a pending build
    attempt nonce tries begun    the fencing token, who began it, how often in this life, when last
    tried ended                  the attempts that ended; outcome and nonce of the last one
    due since order client       not to begin before; in line since; place in line; who put it there
    revivals used                how often it was revived; when it was last used

Times are seconds since 1970 by Redis' own clock, so machines cannot disagree about them. A script
whose first write needs no memory runs to its end in a full Redis (docs/decisions/0006).
"""

from .build_record import HISTORY, LOG_SECONDS, NEWEST_PART

# Subtracted from the score of a build that was begun before, so it stands before all that were not,
# in the old order. Redis keeps whole numbers exactly up to 9e15.
RETURNING = 1_000_000_000_000
PACE_SECONDS = 7 * 86_400  # The speed of a server that built nothing for a week is unknown.

# Redis checks its memory before the first write of a script only (tested with 7.0). What was
# accepted must be able to end; only CLAIM may be refused.
_WITHOUT_MEMORY = "redis.call('HDEL', KEYS[1], '')\n"

_NOW = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local function stamp(seconds) return string.format('%.6f', seconds) end
"""

# Writes into the record how the current attempt ended: JSON objects with commas between them. Other
# text there is replaced.
_NOTE = (
    _NOW
    + f"""
local function note(outcome, code)
  local found = redis.call('HMGET', KEYS[1], 'tried', 'tries', 'begun', 'step')
  local is_json, tried = pcall(cjson.decode, '[' .. (found[1] or '') .. ']')
  if not is_json then tried = {{}} end
  table.insert(tried, {{
    number = tonumber(found[2]) or 1, begun = tonumber(found[3]) or now, ended = now,
    outcome = outcome, code = code, step = found[4]
  }})
  while #tried > {HISTORY} do table.remove(tried, 1) end
  redis.call('HSET', KEYS[1], 'tried', string.sub(cjson.encode(tried), 2, -2))
end
"""
)

# A position counts only builds that were never begun, so one that comes back raises none.
LOOK = (
    _NOW
    + """
local found = redis.call('HMGET', KEYS[1],
                         'state', 'step', 'body', 'fault', 'tried', 'begun', 'due')
if not (found[1] and found[2] and found[3]) then return false end
local position, seconds = 0, 0
if found[1] == 'queued' then
  local rank = redis.call('ZRANK', KEYS[2], ARGV[1])
  if rank then position = math.max(0, rank - redis.call('ZCOUNT', KEYS[2], '-inf', '(0')) end
  seconds = math.max(0, tonumber(found[7] or 0) - now)
elseif found[1] == 'running' then
  seconds = now - tonumber(found[6] or now)
end
return {found[1], found[2], found[3], found[4] or '', found[5] or '', position, stamp(seconds)}
"""
)

# Its first write changes nothing, and a full Redis refuses it. A client's builds are a set of keys,
# which is checked when it seems full: no counter has to stay right.
CLAIM = f"""{_NOW}
local state = redis.call('HGET', KEYS[1], 'state')
if state then
  local retried = state == 'failed' and redis.call('HGET', KEYS[1], 'fault') ~= 'user'
  local renewed = state == 'done' and ARGV[4] == '1'
  if not retried and not renewed then return 'known' end
end
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[3]) then return 'full' end
redis.call('SETRANGE', KEYS[3], 0, '')
local holder, places = ARGV[7], tonumber(ARGV[8])
if holder ~= '' and redis.call('SCARD', KEYS[4]) >= places then
  for _, key in ipairs(redis.call('SMEMBERS', KEYS[4])) do
    local waits = redis.call('ZSCORE', KEYS[2], key)
    if not waits or redis.call('HGET', ARGV[9] .. key, 'client') ~= holder then
      redis.call('SREM', KEYS[4], key)
    end
  end
  if redis.call('SCARD', KEYS[4]) >= places then return 'share' end
end
local order = redis.call('INCR', KEYS[3])
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'state', 'queued', 'step', 'init', 'fault', '', 'attempt', 0,
           'tries', 0, 'plan', ARGV[1], 'body', ARGV[2], 'queued_body', ARGV[2],
           'started_body', ARGV[6], 'since', time[1], 'order', order)
redis.call('ZADD', KEYS[2], order, ARGV[5])
if holder ~= '' then
  redis.call('HSET', KEYS[1], 'client', holder)
  redis.call('SADD', KEYS[4], ARGV[5])
  redis.call('EXPIRE', KEYS[4], ARGV[10])
end
return 'new'
"""

REVIVE = """
local found = redis.call('HMGET', KEYS[1],
                         'state', 'plan', 'queued_body', 'started_body', 'revivals')
if found[1] ~= 'done' or not (found[2] and found[3] and found[4]) then return 'not-done' end
if tonumber(found[5] or 0) >= tonumber(ARGV[2]) then return 'too-often' end
redis.call('HDEL', KEYS[1], 'tried', 'due')
redis.call('HINCRBY', KEYS[1], 'revivals', 1)
local order = redis.call('INCR', KEYS[3])
redis.call('HSET', KEYS[1], 'state', 'queued', 'step', 'init', 'attempt', 0, 'tries', 0,
           'body', found[3], 'since', redis.call('TIME')[1], 'order', order)
redis.call('PERSIST', KEYS[1])
redis.call('ZADD', KEYS[2], order, ARGV[1])
return 'queued'
"""

# Of those that were never begun, if there are any.
LONGEST_WAIT = """
local first = redis.call('ZRANGEBYSCORE', KEYS[1], 0, '+inf', 'LIMIT', 0, 1)[1]
              or redis.call('ZRANGE', KEYS[1], 0, 0)[1]
local since = first and redis.call('HGET', ARGV[1] .. first, 'since')
return since and tonumber(redis.call('TIME')[1]) - tonumber(since) or 0
"""

# The waiting builds that may begin now, in their order; `most` bounds how many, -1 is all. Only the
# few that were begun before may have to wait until a time. Fields are read with `pcall`: a record
# that somebody overwrote must not stop the whole line.
_DUE = (
    _NOW
    + """
local function field(key, name)
  local found = redis.pcall('HGET', ARGV[1] .. key, name)
  return type(found) == 'string' and found or nil
end
local function due(most)
  local keys = {}
  for _, key in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(0')) do
    if (tonumber(field(key, 'due')) or 0) <= now then table.insert(keys, key) end
  end
  for _, key in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], 0, '+inf', 'LIMIT', 0, most)) do
    table.insert(keys, key)
  end
  return keys
end
"""
)

DUE = _DUE + "return due(-1)"

# Begins the first build that is due. A key whose record does not wait is removed: it would stop all
# others. Asked again with the nonce of an attempt that runs, it returns that attempt. The token is
# the greater of the counter and the clock in microseconds (docs/decisions/0007). Lua's numbers are
# exact up to 9e15, the year 2255; without a format they would be written as 1.7e+15.
START = (
    _DUE
    + """
local lease, seconds, nonce = ARGV[2], ARGV[3], ARGV[4]
for _, key in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  if field(key, 'state') == 'running' and field(key, 'nonce') == nonce then
    local attempt = field(key, 'attempt')
    redis.call('HDEL', ARGV[1] .. key, '')
    redis.call('SET', lease .. key, attempt, 'EX', seconds)
    return {key, attempt, field(key, 'tries'), field(key, 'plan')}
  end
end
local key = due(1)[1]
while key and field(key, 'state') ~= 'queued' do
  redis.call('ZREM', KEYS[1], key)
  key = due(1)[1]
end
if not key then return false end
local record = ARGV[1] .. key
redis.call('HDEL', record, 'client', 'ended')
local after = (tonumber(redis.call('GET', KEYS[3])) or 0) + 1
local attempt = string.format('%.0f', math.max(after, time[1] * 1000000 + time[2]))
redis.call('SET', KEYS[3], attempt)
local tries = (tonumber(field(key, 'tries')) or 0) + 1
redis.call('HSET', record, 'state', 'running', 'attempt', attempt, 'tries', tries, 'nonce', nonce,
           'begun', stamp(now), 'body', field(key, 'started_body') or '{}')
redis.call('ZREM', KEYS[1], key)
redis.call('SADD', KEYS[2], key)
redis.call('SET', lease .. key, attempt, 'EX', seconds)
return {key, attempt, tries, field(key, 'plan')}
"""
)

# Shared by all that an attempt does after its start: only the current one may do it.
_IF_CURRENT = f"""
local current = redis.call('HMGET', KEYS[1], 'state', 'attempt')
if current[1] ~= 'running' or current[2] ~= ARGV[1] then return 0 end
{_WITHOUT_MEMORY}"""


def _ended(outcome: str, nonce: str) -> str:
    """Return what ends an attempt once, and answers 1 again to the same nonce until the next start.

    Several sweeps may find an attempt abandoned at the same time; their nonces differ.
    """
    return f"""
local ended = {outcome} .. ':' .. {nonce}
if redis.call('HGET', KEYS[1], 'ended') == ended then return 1 end
{_IF_CURRENT}
redis.call('HSET', KEYS[1], 'ended', ended)
"""


RENEW = _IF_CURRENT + "redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2]) return 1"

PROGRESS = _IF_CURRENT + "redis.call('HSET', KEYS[1], 'step', ARGV[2], 'body', ARGV[3]) return 1"

# Without the write that would let it run in a full Redis: a log is the first that may be missing.
APPEND_LOG = f"""
local current = redis.call('HMGET', KEYS[1], 'state', 'attempt')
if current[1] ~= 'running' or current[2] ~= ARGV[1] then return 0 end
redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[3], '*', 'text', ARGV[2])
redis.call('EXPIRE', KEYS[2], {LOG_SECONDS})
return 1
"""

# A finished build keeps its plan, since its files may vanish before its record ends.
FINISH = f"""{_ended("ARGV[2]", "ARGV[9]")}{_NOTE}
note(ARGV[2], ARGV[8])
redis.call('HSET', KEYS[1], 'state', ARGV[2], 'step', ARGV[3], 'body', ARGV[4], 'fault', ARGV[5])
local begun = tonumber(redis.call('HGET', KEYS[1], 'begun') or now)
if ARGV[2] == 'done' then
  local mean = tonumber(redis.call('GET', KEYS[4]) or now - begun)
  mean = mean + {NEWEST_PART} * (now - begun - mean)
  redis.call('SET', KEYS[4], stamp(mean), 'EX', {PACE_SECONDS})
else
  redis.call('HDEL', KEYS[1], 'plan', 'queued_body', 'started_body')
end
redis.call('EXPIRE', KEYS[1], ARGV[6])
redis.call('SREM', KEYS[2], ARGV[7])
redis.call('DEL', KEYS[3])
return 1
"""

# A worker that stood still may have renewed its lease since the sweep looked.
GIVE_UP = "if redis.call('EXISTS', KEYS[3]) == 1 then return 0 end\n" + FINISH

# Counts in the same step, so a lost reply counts nothing twice.
_BACK_IN_LINE = f"""
redis.call('HINCRBY', KEYS[5], ARGV[3], 1)
redis.call('HSET', KEYS[1], 'state', 'queued', 'step', 'init', 'since', time[1],
           'body', redis.call('HGET', KEYS[1], 'queued_body'))
redis.call('SREM', KEYS[3], ARGV[2])
redis.call('ZADD', KEYS[4], redis.call('HGET', KEYS[1], 'order') - {RETURNING}, ARGV[2])
return 1
"""

RETRY = f"""{_ended("'queued'", "ARGV[5]")}{_NOTE}
note('failed', ARGV[3])
redis.call('HSET', KEYS[1], 'due', stamp(now + ARGV[4]))
redis.call('DEL', KEYS[2])
{_BACK_IN_LINE}"""

REQUEUE = f"""{_IF_CURRENT}{_NOTE}
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
note('lost', ARGV[3])
{_BACK_IN_LINE}"""

# A key may be noted as running while its record is gone or lives again.
ABANDONED = """
local found = redis.call('HMGET', KEYS[1], 'state', 'attempt', 'tries', 'plan', 'nonce', 'step')
if found[1] ~= 'running' then
  redis.call('SREM', KEYS[3], ARGV[1])
  return false
end
if redis.call('EXISTS', KEYS[2]) == 1 then return false end
return {found[2], found[3], found[4], found[5] or '', found[6] or ''}
"""

RESTORE = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], 'state', ARGV[1], 'step', ARGV[2], 'body', ARGV[3], 'fault', ARGV[4],
           'attempt', 0, 'tries', 0)
if #ARGV > 5 then
  redis.call('HSET', KEYS[1], 'plan', ARGV[6], 'queued_body', ARGV[7], 'started_body', ARGV[8])
end
redis.call('EXPIRE', KEYS[1], ARGV[5])
return 1
"""

NOTE_USE = f"""{_WITHOUT_MEMORY}
if redis.call('HGET', KEYS[1], 'state') == 'done' then
  redis.call('HSET', KEYS[1], 'used', redis.call('TIME')[1])
end
"""

FORGET = """
local found = redis.call('HMGET', KEYS[1], 'state', 'used')
if found[1] == 'queued' or found[1] == 'running' then return 0 end
if found[1] ~= 'done' then return 1 end
local idle = found[2] and tonumber(redis.call('TIME')[1]) - tonumber(found[2])
if idle and idle <= tonumber(ARGV[1]) then return 0 end
redis.call('DEL', KEYS[1])
return 1
"""
