/**
 * What Redis runs. Each script touches keys of one slot and is atomic: when memory is full it fails at its
 * first write, before anything has changed. Each may be repeated: the same write again gives the same state.
 *
 * A partition is a sorted set of its keys (score 0, so ordered by bytes) and a hash of its values. In the hash
 * the field \255, which is no UTF-8, holds `<epoch> <generation> <number>` of the last write: the owner's
 * epoch, which start of the node it was, and the number of the write in it. So a write of an older owner, of
 * an earlier process, or one that was given up, tried again and then arrives after all, changes nothing.
 */
import { createHash } from "node:crypto";

export interface Script {
  readonly text: string;
  readonly sha: string;
}

/** Numbers in replies of the write script. */
export const wrote = 1;
/** A later write of this process has happened: this one is void. */
export const overtaken = 0;
/** An owner with a higher epoch has written. */
export const fencedOff = -1;
/** A process that started later has written under this node's name. */
export const replaced = -2;

/** How long a partition without rows remembers who wrote last. */
const emptyRemembersMs = 24 * 3600 * 1000;

/**
 * Writes of one or more partitions whose keys one server has. Keys: rows, values, index of each. Arguments, for each: how many
 * there are, partition, epoch or "", generation, number, and the operations: "p" key value, "d" key, "r" from to.
 * Reply: one number each.
 */
export const writeScript = script(
  `local function write(rows, values, index, at, last)
local epoch, generation, number = ARGV[at + 1], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
local stamp = redis.call('HGET', values, '\\255')
if stamp then
  local e, g, n = string.match(stamp, '^(%d+) (%d+) (%d+)$')
  if epoch == '' then epoch = e end
  if tonumber(epoch) < tonumber(e) then return ${fencedOff} end
  if tonumber(epoch) == tonumber(e) then
    if generation < tonumber(g) then return ${replaced} end
    if generation == tonumber(g) and number < tonumber(n) then return ${overtaken} end
  end
end
if epoch == '' then epoch = '0' end
local existed = redis.call('EXISTS', rows)
local members, fields = {}, {}
local function put()
  if #members == 0 then return end
  redis.call('ZADD', rows, unpack(members))
  redis.call('HSET', values, unpack(fields))
  members, fields = {}, {}
end
local i, deleted = at + 4, false
while i <= last do
  local kind, key = ARGV[i], ARGV[i + 1]
  if kind == 'p' then
    local at = #members
    members[at + 1], members[at + 2] = 0, key
    fields[at + 1], fields[at + 2] = key, ARGV[i + 2]
    if at > 2000 then put() end
    i = i + 3
  elseif kind == 'd' then
    put()
    deleted = true
    redis.call('ZREM', rows, key)
    redis.call('HDEL', values, key)
    i = i + 2
  else
    put()
    deleted = true
    repeat
      local found = redis.call('ZRANGEBYLEX', rows, '[' .. key, '(' .. ARGV[i + 2], 'LIMIT', 0, 1000)
      if #found > 0 then
        redis.call('ZREM', rows, unpack(found))
        redis.call('HDEL', values, unpack(found))
      end
    until #found < 1000
    i = i + 3
  end
end
local filled = #members > 0
if filled then redis.call('ZADD', rows, unpack(members)) end
fields[#fields + 1] = '\\255'
fields[#fields + 1] = epoch .. ' ' .. ARGV[at + 2] .. ' ' .. ARGV[at + 3]
redis.call('HSET', values, unpack(fields))
if existed == 1 and (filled or not deleted) then return ${wrote} end
if redis.call('EXISTS', rows) == 0 then
  if existed == 1 then redis.call('ZREM', index, ARGV[at]) end
  redis.call('PEXPIRE', values, ${emptyRemembersMs})
elseif existed == 0 then
  redis.call('ZADD', index, 0, ARGV[at])
  redis.call('PERSIST', values)
end
return ${wrote}
end
local replies, at = {}, 1
for key = 1, #KEYS, 3 do
  local last = at + tonumber(ARGV[at])
  replies[#replies + 1] = write(KEYS[key], KEYS[key + 1], KEYS[key + 2], at + 1, last)
  at = last + 1
end
return replies`,
);

/**
 * Keys: rows, values. Arguments: lower bound, most rows, bytes after which to stop. Reply: 1 when there may be
 * more, then key, value, key, value ... A key without a value comes with nil.
 */
export const readScript = script(
  `local keys = redis.call('ZRANGEBYLEX', KEYS[1], ARGV[1], '+', 'LIMIT', 0, ARGV[2])
local reply, bytes, most = { 1 }, 0, tonumber(ARGV[3])
for first = 1, #keys, 50 do
  local last = math.min(first + 49, #keys)
  local values = redis.call('HMGET', KEYS[2], unpack(keys, first, last))
  for i = first, last do
    local value = values[i - first + 1]
    reply[#reply + 1] = keys[i]
    reply[#reply + 1] = value
    if value then bytes = bytes + #value end
    if bytes >= most then return reply end
  end
end
if #keys < tonumber(ARGV[2]) then reply[1] = 0 end
return reply`,
);

/** Keys: index. Arguments: lower bound, upper bound, most names. Reply: names of partitions in order. */
export const namesScript = script(
  "return redis.call('ZRANGEBYLEX', KEYS[1], ARGV[1], ARGV[2], 'LIMIT', 0, ARGV[3])",
);

/**
 * Keys: space. Arguments: version of the layout, wall-clock milliseconds. Reply: the generation of this start, or 0 when the
 * space has another version. Like an incarnation it is no lower than the clock, so that it grows even when Redis's own
 * fail-over has lost the last one.
 */
export const openScript = script(
  `local version, last = unpack(redis.call('HMGET', KEYS[1], 'layout', 'generation'))
if version and version ~= ARGV[1] then return '0' end
local generation = string.format('%.0f', math.max((tonumber(last) or 0) + 1, tonumber(ARGV[2])))
redis.call('HSET', KEYS[1], 'layout', ARGV[1], 'generation', generation)
return generation`,
);

/** All that a server must know. */
export const scripts = [writeScript, readScript, namesScript, openScript];

function script(text: string): Script {
  return { text, sha: createHash("sha1").update(text, "utf8").digest("hex") };
}
