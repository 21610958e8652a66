"""What Redis does with counts, as its server's own steps (Lua): each script is one indivisible moment of Redis's clock.

The clock is read by `TIME` alone, so that no replica's clock matters. Times are integers of microseconds since 1970, exact in Lua's numbers
until the year 2255. A clock of Redis that is set back costs a rate its burst, and makes no wait longer than a burst's; one that is set
forward gives a rate one burst at most. Neither gives a day twice.
"""

CLOCK = "redis.call('TIME')"
"""How the scripts read the time, for tests to put a clock of their own in its place."""

TAKE = """
-- One call against every count it is held against: all of them count it, or none.
-- KEYS: the counts. ARGV: for each its kind and two numbers; then, where any is of calls in flight, a lease's length and name.
--   rate   burst, interval       the theoretical arrival time, see hub/budget/gcra.py
--   day    calls a day, 0        (day since 1970) * 2^32 + calls
--   flying calls in flight, 0    a sorted set of leases by the time they end
-- Returns 0, or the position of the count that takes longest to clear and the microseconds until it does.
local call, ceil = redis.call, math.ceil
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local length, lease = ARGV[3 * #KEYS + 1], ARGV[3 * #KEYS + 2]
local longest, which, value, ends = 0, 0, {}, {}

for i = 1, #KEYS do
  local key, kind, limit, wait = KEYS[i], ARGV[3 * i - 2], tonumber(ARGV[3 * i - 1]), 0
  if kind == 'rate' then
    local interval, tat = tonumber(ARGV[3 * i]), tonumber(call('GET', key) or now)
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
  if wait > longest then longest, which = wait, i end
end
if which > 0 then return {which, longest} end

for i = 1, #KEYS do
  if value[i] then
    call('SET', KEYS[i], value[i], 'PX', ends[i])
  else
    call('ZADD', KEYS[i], now + length, lease)
    call('PEXPIRE', KEYS[i], ceil(length / 1000) + 1000)
  end
end
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
