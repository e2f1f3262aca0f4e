-- Leaves messages to the nodes that have accepted them, for so many seconds beyond their expiry. Those
-- that this node has accepted stay. KEYS: owners, epoch. Returns the numbers of those left.
local prefix, token, node, beyond = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local given = {}
if redis.call('HGET', KEYS[1], token) ~= node then
    return given
end
local own = prefix .. 'of:' .. token
for i = 5, #ARGV do
    local id = ARGV[i]
    local name = prefix .. 'msg:' .. id
    local accepted = redis.call('ZSCORE', own, id)
    local fields = redis.call('HMGET', name, 'node', 'expires')
    if accepted and fields[1] and fields[1] ~= node then
        local back = prefix .. 'back:' .. fields[1]
        local until_s = (tonumber(fields[2]) or 0) + tonumber(beyond)
        redis.call('ZREM', own, id)
        redis.call('ZADD', back, accepted, id)
        redis.call('EXPIREAT', name, until_s)
        given[#given + 1] = id
    end
end
return given
