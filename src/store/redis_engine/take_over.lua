-- Takes over messages of an owner whose lease is over, the earliest first, and with the first of them
-- closes its account: from then on nothing that it writes is taken. With `at_once` the lease does not
-- count. KEYS: owners, epoch. Returns the messages' numbers; fewer than `most`: these were the last.
local prefix, token, node, old, most, at_once = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
if redis.call('HGET', KEYS[1], token) ~= node then
    return {}
end
if redis.call('HEXISTS', KEYS[1], old) == 0 then
    return {}
end
local lease = prefix .. 'lease:' .. old
if at_once ~= '1' and redis.call('EXISTS', lease) == 1 then
    return {}
end
redis.call('DEL', lease)
redis.call('HSET', KEYS[1], old, '')
local found = redis.call('ZPOPMIN', prefix .. 'of:' .. old, most)
local ids = {}
for i = 1, #found, 2 do
    redis.call('ZADD', prefix .. 'of:' .. token, found[i + 1], found[i])
    ids[#ids + 1] = found[i]
end
if #ids < tonumber(most) then
    redis.call('HDEL', KEYS[1], old)
end
return ids
