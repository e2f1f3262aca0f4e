-- Takes back messages that others have left to this node, the earliest first. KEYS: owners, epoch.
-- Returns the messages' numbers; fewer than `most`: these were the last.
local prefix, token, node, most = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local ids = {}
if redis.call('HGET', KEYS[1], token) ~= node then
    return ids
end
local found = redis.call('ZPOPMIN', prefix .. 'back:' .. node, most)
for i = 1, #found, 2 do
    redis.call('PERSIST', prefix .. 'msg:' .. found[i])
    redis.call('ZADD', prefix .. 'of:' .. token, found[i + 1], found[i])
    ids[#ids + 1] = found[i]
end
return ids
