-- Renews a lease. KEYS: owners, epoch. Returns what write.lua does.
local prefix, token, node, lease_ms = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local owner = redis.call('HGET', KEYS[1], token)
if owner == node then
    local lease = prefix .. 'lease:' .. token
    -- A server that is full does not take the second one.
    if redis.call('PEXPIRE', lease, lease_ms) == 0 then
        redis.call('SET', lease, node, 'PX', lease_ms)
    end
    return 1
end
local is_known = tonumber(redis.call('GET', KEYS[2]) or 0) >= tonumber(token)
return (owner == '' or not owner and is_known) and 0 or -1
