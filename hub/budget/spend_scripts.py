"""What Redis does with budgets, as its server's own steps (Lua): each script is one indivisible moment of Redis's clock, over every tier.

All keys have one hash tag, so that a cluster has them in one place: a tier that counts everybody could not be in the same step otherwise.
::

    meta    run: a name for this life of the counts; born: when it began; seq: rows of it so far; server: which run of Redis it is of
    held    by call: what it has set aside where, as JSON [[key, amount], …]
    sent    by call that was sent: what it has cost at least, as JSON {c: [[key, rolling, start, end, slot, amount], …], row: […], until: …}
    leases  calls by the time their lease ends
    rows    by call: its row of the ledger, as long as that is not durable there
    a count w: its window, or slot; s: spent in it and counted here; b: spent in it before, by the ledger; r: set aside;
            f: the first row counted here; l: whether b is known; u: the life it is of; of a rolling window also s<slot> and b<slot>

A life ends where Redis has lost anything, or may have: it was emptied, or started again. Then no count is what it was, each is loaded anew
from the ledger, and every process sets aside again what its calls have. Amounts are integers below 2^53, times microseconds since 1970.
"""

CLOCK = "redis.call('TIME')"
"""How the scripts read the time, for tests to put a clock of their own in its place."""

HEAD = """
local call, fmt = redis.call, string.format
local META, HELD, SENT, LEASES, ROWS = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local FIRST = 5
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function int(n) return fmt('%.0f', n) end

local function life(token)
  local got = call('HMGET', META, 'run', 'born', 'seq')
  if not got[1] then
    got = { int(now) .. token, now, 0 }
    call('HSET', META, 'run', got[1], 'born', int(now), 'seq', 0)
  end
  return got
end

local function make(key, start, run, seq)
  call('DEL', key)
  call('HSET', key, 'w', int(start), 's', 0, 'b', 0, 'r', 0, 'f', int(seq + 1), 'u', run)
end

-- The state of a count, turned to its window, or nil where there is none. Never back.
local function turned(key, run, rolling, start, slot)
  local got = call('HMGET', key, 'w', 's', 'b', 'r', 'l', 'f', 'u')
  if got[7] ~= run then return nil end
  local w, s, b = tonumber(got[1]), tonumber(got[2] or 0), tonumber(got[3] or 0)
  if w < start then
    if rolling then
      local all, oldest = call('HGETALL', key), start - 60 * slot
      s, b = 0, 0
      for i = 1, #all, 2 do
        local kind, at = string.match(all[i], '^([sb])(%d+)$')
        if at then
          if tonumber(at) < oldest then call('HDEL', key, all[i])
          elseif kind == 's' then s = s + all[i + 1]
          else b = b + all[i + 1] end
        end
      end
    else
      s, b = 0, 0
    end
    call('HSET', key, 'w', int(start), 's', int(s), 'b', int(b))
    w = start
  end
  return { w = w, s = s, b = b, r = tonumber(got[4] or 0), l = got[5], f = got[6] }
end

-- What may be spent at a moment: a number, or `amount@end,…,amount`, of which the first holds whose end is not past.
local function cap_at(caps, at)
  local plain = tonumber(caps)
  if plain then return plain end
  for cap, till in string.gmatch(caps, '(%d+)@(%d+)') do
    if at < tonumber(till) then return tonumber(cap) end
  end
  return tonumber(string.match(caps, '%d+$'))
end

-- How long until `need` more fits, by what may be spent then; -1 where it never will.
local function wait_of(key, c, rolling, over, slot, caps, need)
  local left, moments, freed = c.s + c.b, {}, {}
  if left + need <= cap_at(caps, now) then return 1000000 end
  local function free(at, amount)
    if not freed[at] then moments[#moments + 1] = at end
    freed[at] = (freed[at] or 0) + amount
  end
  for till in string.gmatch(caps, '@(%d+)') do
    if tonumber(till) > now then free(tonumber(till), 0) end
  end
  if rolling then
    local all = call('HGETALL', key)
    for i = 1, #all, 2 do
      local at = tonumber(string.match(all[i], '^[sb](%d+)$'))
      if at then free(at + 61 * slot, tonumber(all[i + 1])) end
    end
  elseif over <= 9000000000000000 then
    free(over, left)
  end
  table.sort(moments)
  for _, at in ipairs(moments) do
    left = left - freed[at]
    if left + need <= cap_at(caps, at) then return math.max(1, at - now) end
  end
  return -1
end
"""

RESERVE = (
    HEAD
    + """
-- ARGV: call (empty: only look), run, token, lease, settling time, whether any is hard, what is set aside as JSON;
--   then for each count: rolling, start, end, slot, cap (see `cap_at`), need, hard.
-- Returns {what, now, …}: 1 done (then the counts it does not fit but may pass), or looked (then spent, aside, window of each);
--   0 refused (then the count, spent, aside, window, wait); -1 a window is not of this moment; -2 to be loaded (count, f, …);
--   -3 another life of the counts (its name); -4 too early in it (microseconds to wait)
local id, run, lease = ARGV[1], ARGV[2], tonumber(ARGV[4])
local meta = life(ARGV[3])
if meta[1] ~= run then return { -3, now, meta[1] } end
local early = meta[2] + ARGV[5] - now
if early > 0 and ARGV[6] == '1' then return { -4, now, early } end
if id ~= '' and call('HEXISTS', HELD, id) == 1 then return { 1, now } end

local counts, missing = {}, { -2, now }
for i = 1, #KEYS - FIRST do
  local at, key = 7 + 7 * (i - 1), KEYS[FIRST + i]
  local rolling, start, over, slot = ARGV[at + 1] == '1', tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  if rolling then start = now - now % slot
  elseif now < start or now >= over then
    local w = tonumber(call('HGET', key, 'w') or 0)
    if w ~= start or now >= over then return { -1, now } end
  end
  local c = turned(key, run, rolling, start, slot)
  if not c then
    make(key, start, run, meta[3])
    c = { w = start, s = 0, b = 0, r = 0, f = meta[3] + 1 }
  end
  call('PEXPIRE', key, 172800000)
  if not c.l then
    missing[#missing + 1] = i
    missing[#missing + 1] = tonumber(c.f)
    missing[#missing + 1] = c.w
  end
  counts[i] = c
end
if #missing > 2 then return missing end

if id == '' then
  local seen = { 1, now }
  for i, c in ipairs(counts) do
    seen[#seen + 1] = c.s + c.b
    seen[#seen + 1] = c.r
    seen[#seen + 1] = c.w
  end
  return seen
end

local passed, worst, which = { 1, now }, 0, 0
for i, c in ipairs(counts) do
  local at = 7 + 7 * (i - 1)
  local caps, need = ARGV[at + 5], tonumber(ARGV[at + 6])
  if c.s + c.b + c.r + need > cap_at(caps, now) then
    if ARGV[at + 7] == '1' then
      local wait = wait_of(KEYS[FIRST + i], c, ARGV[at + 1] == '1', tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4]), caps, need)
      if which == 0 or (worst >= 0 and (wait < 0 or wait > worst)) then worst, which = wait, i end
    else
      passed[#passed + 1] = i
    end
  end
end
if which > 0 then
  local c = counts[which]
  return { 0, now, which, c.s + c.b, c.r, c.w, worst }
end
for i = 1, #counts do
  call('HINCRBY', KEYS[FIRST + i], 'r', ARGV[7 + 7 * (i - 1) + 6])
end
call('HSET', HELD, id, ARGV[7])
call('ZADD', LEASES, int(now + lease), id)
return passed
"""
)

LET_GO = """
local function let_go(id, run)
  local held = call('HGET', HELD, id)
  if not held then return false end
  for _, one in ipairs(cjson.decode(held)) do
    if call('HGET', one[1], 'u') == run then call('HINCRBY', one[1], 'r', int(-one[2])) end
  end
  call('HDEL', HELD, id)
  call('HDEL', SENT, id)
  call('ZREM', LEASES, id)
  return true
end
"""

SETTLE = (
    HEAD
    + LET_GO
    + """
-- ARGV: call, run, token, its row from `org` on as JSON without brackets; then for each count: rolling, start, end, slot, amount.
-- Returns {1, at, seq, spent, window, …}; {0, now} where it is settled already; {-1, now}; {-3, now, run}
local id, run = ARGV[1], ARGV[2]
local meta = life(ARGV[3])[1]
if meta ~= run then return { -3, now, meta } end
if call('HEXISTS', HELD, id) == 0 then return { 0, now } end
local at, counts = now, {}
for i = 1, #KEYS - FIRST do
  local a, key = 4 + 5 * (i - 1), KEYS[FIRST + i]
  local rolling, start, over, slot = ARGV[a + 1] == '1', tonumber(ARGV[a + 2]), tonumber(ARGV[a + 3]), tonumber(ARGV[a + 4])
  if rolling then start = now - now % slot
  elseif now < start or now >= over then
    local w = tonumber(call('HGET', key, 'w') or 0)
    if w ~= start or now >= over then return { -1, now } end
  end
  local c = turned(key, run, rolling, start, slot)
  if c and c.w > at then at = c.w end
  counts[i] = c or false
end
let_go(id, run)
local seq = call('HINCRBY', META, 'seq', 1)
local said = { 1, at, seq }
for i, c in ipairs(counts) do
  local a, key = 4 + 5 * (i - 1), KEYS[FIRST + i]
  if c then
    call('HINCRBY', key, 's', ARGV[a + 5])
    if ARGV[a + 1] == '1' then call('HINCRBY', key, 's' .. int(c.w), ARGV[a + 5]) end
    said[#said + 1] = c.s + c.b + ARGV[a + 5]
    said[#said + 1] = c.w
  else
    said[#said + 1] = -1
    said[#said + 1] = 0
  end
end
call('HSET', ROWS, id, '["' .. id .. '",' .. int(at) .. ',"' .. run .. '",' .. int(seq) .. ',' .. ARGV[4] .. ']')
return said
"""
)

REFUND = (
    HEAD
    + LET_GO
    + """
-- ARGV: call.
return let_go(ARGV[1], call('HGET', META, 'run')) and 1 or 0
"""
)

REAP = (
    HEAD
    + LET_GO
    + """
-- Calls whose leases have run out: what was sent is settled at what it cost at least, before its windows end; the rest is refunded.
-- One that outlives its process has another lease then, to when it ends.
-- ARGV: how many at most. Returns the calls that were ended.
local ended = call('ZRANGEBYSCORE', LEASES, '-inf', int(now), 'LIMIT', 0, ARGV[1])
local run = call('HGET', META, 'run') or ''
for _, id in ipairs(ended) do
  local sent = call('HGET', SENT, id)
  sent = sent and cjson.decode(sent)
  local ends = sent and sent['until'] or 0
  if ends > now then
    call('ZADD', LEASES, 'XX', int(ends), id)
  elseif let_go(id, run) and sent then
    local at = now
    for _, one in ipairs(sent.c) do
      if not one[2] and one[4] - 1 < at then at = one[4] - 1 end
    end
    for _, one in ipairs(sent.c) do
      local got = call('HMGET', one[1], 'w', 'u')
      local w = got[2] == run and tonumber(got[1])
      if w and one[2] then
        local slot = at - at % one[5]
        if slot >= w - 60 * one[5] then
          call('HINCRBY', one[1], 's' .. int(slot), int(one[6]))
          call('HINCRBY', one[1], 's', int(one[6]))
        end
      elseif w and w <= at then
        call('HINCRBY', one[1], 's', int(one[6]))
      end
    end
    local seq = call('HINCRBY', META, 'seq', 1)
    call('HSET', ROWS, id, '["' .. id .. '",' .. int(at) .. ',"' .. run .. '",' .. int(seq) .. ',' .. sent.row .. ']')
  end
  if ends <= now then call('ZREM', LEASES, id) end
end
return ended
"""
)

LOAD = (
    HEAD
    + """
-- What the ledger says of one count. ARGV: run, f, window, rolling; then the amount, or slot and amount again and again.
local key = KEYS[FIRST + 1]
local got = call('HMGET', key, 'f', 'l', 'w', 'u')
if call('HGET', META, 'run') ~= ARGV[1] or got[4] ~= ARGV[1] or got[1] ~= ARGV[2] or got[2] then return 0 end
call('HSET', key, 'l', 1)
if ARGV[4] == '1' then
  local sum = 0
  for i = 5, #ARGV, 2 do
    call('HSET', key, 'b' .. ARGV[i], ARGV[i + 1])
    sum = sum + ARGV[i + 1]
  end
  call('HSET', key, 'b', int(sum))
elseif got[3] == ARGV[3] then
  call('HSET', key, 'b', ARGV[5])
end
return 1
"""
)

ASIDE_AGAIN = """
-- Set aside again what a call has in a life of the counts that does not know of it; false where it does.
local function aside_again(id, run, record, sent, lease)
  if call('HSETNX', HELD, id, record) == 0 then return false end
  for _, one in ipairs(cjson.decode(record)) do
    if call('HGET', one[1], 'u') ~= run then
      make(one[1], 0, run, call('HGET', META, 'seq'))
      call('PEXPIRE', one[1], 172800000)
    end
    call('HINCRBY', one[1], 'r', int(one[2]))
  end
  call('ZADD', LEASES, int(now + lease), id)
  if sent ~= '' then call('HSET', SENT, id, sent) end
  return true
end
"""

RESTORE = (
    HEAD
    + LET_GO
    + ASIDE_AGAIN
    + """
-- Calls under way, to counts that have lost them, or (`again`) to others than before. ARGV: run, lease, again; then for each call:
-- its name, what it sets aside, what was sent or ''. Returns how many were there anew, or -1 where this is another life still.
if call('HGET', META, 'run') ~= ARGV[1] then return -1 end
local anew = 0
for i = 4, #ARGV, 3 do
  local id = ARGV[i]
  if ARGV[3] == '1' and not let_go(id, ARGV[1]) then
    id = nil -- it has ended meanwhile
  end
  if id and aside_again(id, ARGV[1], ARGV[i + 1], ARGV[i + 2], ARGV[2]) then anew = anew + 1 end
end
return anew
"""
)

ADOPT = (
    HEAD
    + ASIDE_AGAIN
    + """
-- A call of a process that may be dead, to be settled by this one. ARGV: run, token, lease, call, what it sets aside, what was sent.
-- Returns {1, now, 0} it is held; {1, now, 1} it was not, and is anew; {0, now} it is settled, and its row is here; {-3, now, run}
local run, id = ARGV[1], ARGV[4]
local meta = life(ARGV[2])[1]
if meta ~= run then return { -3, now, meta } end
if call('HEXISTS', ROWS, id) == 1 then return { 0, now } end
if aside_again(id, run, ARGV[5], ARGV[6], ARGV[3]) then return { 1, now, 1 } end
call('ZADD', LEASES, 'XX', int(now + ARGV[3]), id)
call('HSET', SENT, id, ARGV[6])
return { 1, now, 0 }
"""
)

RENEW = (
    HEAD
    + """
-- ARGV: run, lease, token, then calls. Returns the name of this life of the counts.
local run = life(ARGV[3])[1]
if run == ARGV[1] then
  for i = 4, #ARGV do call('ZADD', LEASES, 'XX', int(now + ARGV[2]), ARGV[i]) end
end
return run
"""
)

ANEW = (
    HEAD
    + """
-- Redis may be another run of the server, which lost the last moments of the one before: then another life begins. ARGV: token.
local server = string.match(call('INFO', 'server'), 'run_id:(%w+)')
if call('HGET', META, 'server') ~= server then
  call('DEL', META, HELD, SENT, LEASES)
  life(ARGV[1])
  call('HSET', META, 'server', server)
end
return life(ARGV[1])[1]
"""
)
