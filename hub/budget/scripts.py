"""What Redis does with counts, as its server's own steps (Lua): each script is one indivisible moment of Redis's clock.

The clock is read by `TIME` alone, so that no replica's clock matters. Times are integers of microseconds since 1970, exact in Lua's numbers
until the year 2255. A clock of Redis that is set back costs a rate its burst, and makes no wait longer than a burst's; one that is set
forward gives a rate one burst at most. Neither gives a day twice.
"""

CLOCK = "redis.call('TIME')"
"""How the scripts read the time, for tests to put a clock of their own in its place."""

TAKE = """
-- One call against every count it is held against, in two groups of which the second may be empty: first the counts of the caller, then
-- those of the target. All of a group count the call, or none. The second is looked at where the first lets the call through; where the
-- second refuses it, the first has counted it all the same, but for its place among the calls in flight, which it had for no time.
-- KEYS: the counts. ARGV: how many of them are the first group; for each its kind and two numbers; then, where any is of calls in flight,
-- a lease's length and name.
--   rate   burst, interval       the theoretical arrival time, see hub/budget/gcra.py
--   day    calls a day, 0        (day since 1970) * 2^32 + calls
--   flying calls in flight, 0    a sorted set of leases by the time they end
-- Returns 0, or the position of the count that takes longest to clear, of the group that refuses, and the microseconds until it does.
local call, ceil = redis.call, math.ceil
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local split, length, lease = tonumber(ARGV[1]), ARGV[3 * #KEYS + 2], ARGV[3 * #KEYS + 3]
local value, ends = {}, {}

local function wait_for(i)
  local key, kind, limit, wait = KEYS[i], ARGV[3 * i - 1], tonumber(ARGV[3 * i]), 0
  if kind == 'rate' then
    local interval, tat = tonumber(ARGV[3 * i + 1]), tonumber(call('GET', key) or now)
    if tat > now + limit * interval then
      tat = now + limit * interval
      call('SET', key, tat, 'PX', ceil((tat - now) / 1000) + 60000)
    end
    wait = tat - (limit - 1) * interval - now
    value[i] = (tat > now and tat or now) + interval
    ends[i] = ceil((value[i] - now) / 1000) + 60000
  elseif kind == 'day' then
    local today = now - now % 86400000000
    local held, first = tonumber(call('GET', key) or 0), today / 86400000000 * 4294967296
    if held < first then held = first else today = (held - held % 4294967296) / 4294967296 * 86400000000 end
    local left = today + 86400000000 - now
    if held % 4294967296 >= limit then wait = left end
    value[i] = held + 1
    ends[i] = ceil(left / 1000) + 86400000
  elseif call('ZCARD', key) >= limit then
    call('ZREMRANGEBYSCORE', key, '-inf', now)
    for _, one in ipairs(call('ZRANGE', key, string.format('(%.0f', now + length), '+inf', 'BYSCORE')) do
      call('ZADD', key, now + length, one)
    end
    if call('ZCARD', key) >= limit then wait = 1000000 end
  end
  return wait
end

local function refusal(from, to)
  local longest, which = 0, 0
  for i = from, to do
    local wait = wait_for(i)
    if wait > longest then longest, which = wait, i end
  end
  if which > 0 then return {which, longest} end
end

local function count(from, to, stays)
  for i = from, to do
    if value[i] then
      call('SET', KEYS[i], value[i], 'PX', ends[i])
    elseif stays then
      call('ZADD', KEYS[i], now + length, lease)
      call('PEXPIRE', KEYS[i], ceil(length / 1000) + 1000)
    end
  end
end

local refused = refusal(1, split)
if refused then return refused end
refused = refusal(split + 1, #KEYS)
count(1, split, not refused)
if refused then return refused end
count(split + 1, #KEYS, true)
return 0
"""

RENEW = """
-- Leases of calls that still run: from now on they last their whole length again, also those that had run out.
-- KEYS: where each lease stands. ARGV: the length, then the name of each.
local time = redis.call('TIME')
local till = time[1] * 1000000 + time[2] + ARGV[1]
for i, key in ipairs(KEYS) do
  redis.call('ZADD', key, till, ARGV[i + 1])
  redis.call('PEXPIRE', key, math.ceil(ARGV[1] / 1000) + 1000)
end
return #KEYS
"""
