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

from .build_record import LOG_SECONDS, NEWEST_PART
from .lua_parts import DUE_KEYS, NEXT, NOTE, NOW, READABLE

# Subtracted from the score of a build that was begun before, so it stands before all that were not,
# in the old order. Redis keeps whole numbers exactly up to 9e15.
RETURNING = 1_000_000_000_000
PACE_SECONDS = 7 * 86_400  # The speed of a server that built nothing for a week is unknown.

# Redis checks its memory before the first write of a script only (tested with 7.0). What was
# accepted must be able to end; only CLAIM may be refused.
_WITHOUT_MEMORY = "redis.call('HDEL', KEYS[1], '')\n"

# A position counts only builds that were never begun, so one that comes back raises none. A build
# that waits and is not in line, since somebody has removed the line, comes back into it.
LOOK = (
    NOW
    + READABLE
    + """
local found = read('HMGET', KEYS[1],
                   'state', 'step', 'body', 'fault', 'tried', 'begun', 'due', 'order')
if not (found and is_readable(found[1], found[2], found[3], found[4])) then return false end
local position, seconds = 0, 0
if found[1] == 'queued' then
  local rank = read('ZRANK', KEYS[2], ARGV[1])
  if rank then
    position = math.max(0, rank - redis.call('ZCOUNT', KEYS[2], '-inf', '(0'))
  else
    redis.pcall('ZADD', KEYS[2], num(found[8], 0), ARGV[1])
  end
  seconds = math.max(0, num(found[7], 0) - now)
elseif found[1] == 'running' then
  seconds = now - num(found[6], now)
end
return {found[1], found[2], found[3], found[4] or '', found[5] or '', position, stamp(seconds)}
"""
)

# Its first write changes nothing, and a full Redis refuses it. A client's builds are a set of keys,
# which is checked when it seems full: no counter has to stay right.
CLAIM = f"""{NOW}{READABLE}{NEXT}
local known = read('HMGET', KEYS[1], 'state', 'step', 'body', 'fault') or {{}}
local state = is_readable(known[1], known[2], known[3], known[4]) and known[1]
local retried = state == 'failed' and known[4] ~= 'user'
local renewed = state == 'done' and ARGV[4] == '1'
if state and not retried and not renewed then return 'known' end
if (read('ZCARD', KEYS[2]) or 0) >= tonumber(ARGV[3]) then return 'full' end
local memory = redis.pcall('SETRANGE', KEYS[3], 0, '')
if type(memory) == 'table' and not string.find(memory.err, 'WRONGTYPE') then return memory end
expect('zset', KEYS[2])
expect('set', KEYS[4])
local holder, places = ARGV[7], tonumber(ARGV[8])
if holder ~= '' and redis.call('SCARD', KEYS[4]) >= places then
  for _, key in ipairs(redis.call('SMEMBERS', KEYS[4])) do
    local waits = redis.call('ZSCORE', KEYS[2], key)
    if not waits or read('HGET', ARGV[9] .. key, 'client') ~= holder then
      redis.call('SREM', KEYS[4], key)
    end
  end
  if redis.call('SCARD', KEYS[4]) >= places then return 'share' end
end
local order = next_order()
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

REVIVE = f"""{NOW}{NEXT}
local found = read('HMGET', KEYS[1],
                   'state', 'plan', 'queued_body', 'started_body', 'revivals') or {{}}
if found[1] ~= 'done' or not (found[2] and found[3] and found[4]) then return 'not-done' end
local revivals = num(found[5], 0)
if revivals >= tonumber(ARGV[2]) then return 'too-often' end
redis.call('HDEL', KEYS[1], 'tried', 'due')
expect('zset', KEYS[2])
local order = next_order()
redis.call('HSET', KEYS[1], 'state', 'queued', 'step', 'init', 'attempt', 0, 'tries', 0,
           'body', found[3], 'since', time[1], 'order', order, 'revivals', revivals + 1)
redis.call('PERSIST', KEYS[1])
redis.call('ZADD', KEYS[2], order, ARGV[1])
return 'queued'
"""

# Of those that were never begun, if there are any.
LONGEST_WAIT = f"""{NOW}
local first = (read('ZRANGEBYSCORE', KEYS[1], 0, '+inf', 'LIMIT', 0, 1) or {{}})[1]
              or (read('ZRANGE', KEYS[1], 0, 0) or {{}})[1]
local since = first and read('HGET', ARGV[1] .. first, 'since')
return math.floor(math.max(0, now - num(since, now)))
"""

DUE = DUE_KEYS + "return due(-1)"

# Begins the first build that is due. A key whose record does not wait is removed: it would stop all
# others. Asked again with the nonce of an attempt that runs, it returns that attempt. The token is
# the greater of the counter and the clock in microseconds (docs/decisions/0007). Lua's numbers are
# exact up to 9e15, the year 2255; without a format they would be written as 1.7e+15.
START = (
    DUE_KEYS
    + """
local lease, seconds, nonce = ARGV[2], ARGV[3], ARGV[4]
expect('set', KEYS[2])
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
local after = num(read('GET', KEYS[3]), 0) + 1
local attempt = string.format('%.0f', math.max(after, time[1] * 1000000 + time[2]))
redis.call('SET', KEYS[3], attempt)
local tries = num(field(key, 'tries'), 0) + 1
redis.call('HSET', record, 'state', 'running', 'attempt', attempt, 'tries', tries, 'nonce', nonce,
           'begun', stamp(now), 'body', field(key, 'started_body') or '{}')
redis.call('ZREM', KEYS[1], key)
redis.call('SADD', KEYS[2], key)
redis.call('SET', lease .. key, attempt, 'EX', seconds)
return {key, attempt, tries, field(key, 'plan')}
"""
)

# Shared by all that an attempt does after its start: only the current one may do it.
_IF_CURRENT = f"""{NOW}
local current = read('HMGET', KEYS[1], 'state', 'attempt') or {{}}
if current[1] ~= 'running' or current[2] ~= ARGV[1] then return 0 end
{_WITHOUT_MEMORY}"""


def _ended(outcome: str, nonce: str) -> str:
    """Return what ends an attempt once, and answers 1 again to the same nonce until the next start.

    Several sweeps may find an attempt abandoned at the same time; their nonces differ.
    """
    return f"""
local ended = {outcome} .. ':' .. {nonce}
local last = redis.pcall('HGET', KEYS[1], 'ended')
if last == ended then return 1 end
{_IF_CURRENT}
redis.call('HSET', KEYS[1], 'ended', ended)
"""


RENEW = f"""{_IF_CURRENT}
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2])
expect('set', KEYS[3])
redis.call('SADD', KEYS[3], ARGV[3])
return 1
"""

PROGRESS = _IF_CURRENT + "redis.call('HSET', KEYS[1], 'step', ARGV[2], 'body', ARGV[3]) return 1"

# Without the write that would let it run in a full Redis: a log is the first that may be missing.
APPEND_LOG = f"""{NOW}
local current = read('HMGET', KEYS[1], 'state', 'attempt') or {{}}
if current[1] ~= 'running' or current[2] ~= ARGV[1] then return 0 end
expect('stream', KEYS[2])
redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[3], '*', 'text', ARGV[2])
redis.call('EXPIRE', KEYS[2], {LOG_SECONDS})
return 1
"""

# A finished build keeps its plan, since its files may vanish before its record ends.
FINISH = f"""{_ended("ARGV[2]", "ARGV[9]")}{NOTE}
note(ARGV[2], ARGV[8])
redis.call('HSET', KEYS[1], 'state', ARGV[2], 'step', ARGV[3], 'body', ARGV[4], 'fault', ARGV[5])
local begun = num(redis.call('HGET', KEYS[1], 'begun'), now)
if ARGV[2] == 'done' then
  local mean = num(read('GET', KEYS[4]), now - begun)
  mean = mean + {NEWEST_PART} * (now - begun - mean)
  redis.call('SET', KEYS[4], stamp(mean), 'EX', {PACE_SECONDS})
else
  redis.call('HDEL', KEYS[1], 'plan', 'queued_body', 'started_body')
end
redis.call('EXPIRE', KEYS[1], ARGV[6])
redis.pcall('SREM', KEYS[2], ARGV[7])
redis.call('DEL', KEYS[3])
return 1
"""

# A worker that stood still may have renewed its lease since the sweep looked.
GIVE_UP = "if redis.call('EXISTS', KEYS[3]) == 1 then return 0 end\n" + FINISH

# Counts in the same step, so a lost reply counts nothing twice.
_BACK_IN_LINE = f"""
redis.pcall('HINCRBY', KEYS[5], ARGV[3], 1)
redis.call('HSET', KEYS[1], 'state', 'queued', 'step', 'init', 'since', time[1],
           'body', redis.call('HGET', KEYS[1], 'queued_body') or '{{}}')
redis.pcall('SREM', KEYS[3], ARGV[2])
expect('zset', KEYS[4])
local order = num(redis.call('HGET', KEYS[1], 'order'), 0)
redis.call('ZADD', KEYS[4], order - {RETURNING}, ARGV[2])
return 1
"""

RETRY = f"""{_ended("'queued'", "ARGV[5]")}{NOTE}
note('failed', ARGV[3])
redis.call('HSET', KEYS[1], 'due', stamp(now + ARGV[4]))
redis.call('DEL', KEYS[2])
{_BACK_IN_LINE}"""

REQUEUE = f"""{_IF_CURRENT}{NOTE}
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
note('lost', ARGV[3])
{_BACK_IN_LINE}"""

# A key may be noted as running while its record is gone or lives again.
ABANDONED = f"""{NOW}
local found = read('HMGET', KEYS[1], 'state', 'attempt', 'tries', 'plan', 'nonce', 'step')
if not found or found[1] ~= 'running' then
  redis.pcall('SREM', KEYS[3], ARGV[1])
  return false
end
if redis.call('EXISTS', KEYS[2]) == 1 then return false end
if not string.find(found[2] or '', '^%d+$') then
  found[2] = '0'
  redis.call('HSET', KEYS[1], 'attempt', found[2])
end
return {{found[2], num(found[3], 0), found[4], found[5] or '', found[6] or ''}}
"""

# Of a set; nothing where the key holds something else.
MEMBERS = f"{NOW} return read('SMEMBERS', KEYS[1]) or {{}}"

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

NOTE_USE = f"""{NOW}
if read('HGET', KEYS[1], 'state') == 'done' then
  {_WITHOUT_MEMORY}
  redis.call('HSET', KEYS[1], 'used', time[1])
end
"""

FORGET = f"""{NOW}
local found = read('HMGET', KEYS[1], 'state', 'used') or {{}}
if found[1] == 'queued' or found[1] == 'running' then return 0 end
if found[1] ~= 'done' then return 1 end
local idle = found[2] and now - num(found[2], 0)
if idle and idle <= tonumber(ARGV[1]) then return 0 end
redis.call('DEL', KEYS[1])
return 1
"""
