-- A lease for this node. KEYS: owners, epoch. Returns its token.
local prefix, node, lease_ms = ARGV[1], ARGV[2], ARGV[3]
local token = redis.call('INCR', KEYS[2])
redis.call('HSET', KEYS[1], token, node)
redis.call('SET', prefix .. 'lease:' .. token, node, 'PX', lease_ms)
return token
