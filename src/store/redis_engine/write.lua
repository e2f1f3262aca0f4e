-- Writes a batch, if this node still has its lease; see the head of redis_engine.rs.
-- KEYS: owners, epoch. Returns 1: written; 0: another node has taken over; -1: the lease is unknown.
local prefix, token, node = ARGV[1], ARGV[2], ARGV[3]
local owner = redis.call('HGET', KEYS[1], token)
if owner ~= node then
    -- Of a server that has lost the last tokens, somebody else may have the same one.
    local is_known = tonumber(redis.call('GET', KEYS[2]) or 0) >= tonumber(token)
    return (owner == '' or not owner and is_known) and 0 or -1
end
local at = 3
local function nextarg()
    at = at + 1
    return ARGV[at]
end
local own = prefix .. 'of:' .. token
local taken = prefix .. 'taken:' .. node
-- Deletions first: an engine that is full takes nothing before them.
for _ = 1, tonumber(nextarg()) do
    local id = nextarg()
    if redis.call('ZREM', own, id) == 1 then
        redis.call('DEL', prefix .. 'msg:' .. id)
    end
end
local forgotten = nextarg()
if forgotten ~= '' then
    redis.call('ZREMRANGEBYSCORE', taken, '-inf', forgotten)
end
for _ = 1, tonumber(nextarg()) do
    local id, ended = nextarg(), nextarg()
    if redis.call('ZSCORE', own, id) then
        redis.call('HSET', prefix .. 'msg:' .. id, 'ended', ended)
    end
end
local accepted, known_until, known_s = nextarg(), nextarg(), nextarg()
for _ = 1, tonumber(nextarg()) do
    local id, version, expires = nextarg(), nextarg(), nextarg()
    local record, identity = nextarg(), nextarg()
    local content, bytes = nextarg(), nextarg()
    local name = prefix .. 'msg:' .. id
    redis.call('HSET', name, 'version', version, 'expires', expires, 'record', record)
    if content ~= '' then
        redis.call('HSET', name, 'content', content, 'bytes', bytes, 'node', node)
    end
    redis.call('ZADD', own, accepted, id)
    if identity ~= '' then
        redis.call('ZADD', taken, known_until, identity)
        redis.call('EXPIRE', taken, known_s)
    end
end
for _ = 1, tonumber(nextarg()) do
    local name, uri, ttl = nextarg(), nextarg(), nextarg()
    redis.call('SET', prefix .. 's:' .. name, uri, 'NX', 'EX', ttl)
end
return 1
