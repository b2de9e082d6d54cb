/**
 * What Redis runs. Each script touches keys of one slot and is atomic: when memory is full it fails at its
 * first write, before anything has changed. Each may be repeated: the same write again gives the same state.
 *
 * A partition is a sorted set of its keys (score 0, so ordered by bytes) and a hash of its values. In the hash
 * the field \255, which is no UTF-8, holds `<epoch> <generation> <number> <1 or 0>` of the last write: the owner's
 * epoch, which start of the node it was, the number of the write in it, and whether the partition has rows. So a write of an older owner, of
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
/** An owner with a higher epoch has written, and no process that started later. */
export const fencedOff = -1;
/** A process that started later has written under this node's name, or one that adopts what this one had. */
export const replaced = -2;

/** How long a partition without rows remembers who wrote last. */
const emptyRemembersMs = 24 * 3600 * 1000;

/**
 * Writes of one or more partitions whose keys one server has. Keys: rows, values, index of each. Arguments: generation, number, and
 * for each partition: how many there are, partition, epoch or "", and the operations: "p" key value, "d" key, "r" from to.
 * Reply: one number each. What nearly every write is, one put into a partition that has rows, takes three commands.
 */
export const writeScript = script(
  `local generation, number = ARGV[1], ARGV[2]
local tail = ' ' .. generation .. ' ' .. number .. ' '
local call, match = redis.call, string.match
local function apply(rows, values, i, last)
  local members, fields = {}, {}
  local function put()
    if #members == 0 then return end
    call('ZADD', rows, unpack(members))
    call('HSET', values, unpack(fields))
    members, fields = {}, {}
  end
  local filled, deleted = false, false
  while i <= last do
    local kind, key = ARGV[i], ARGV[i + 1]
    if kind == 'p' then
      local at = #members
      members[at + 1], members[at + 2] = 0, key
      fields[at + 1], fields[at + 2] = key, ARGV[i + 2]
      if at > 2000 then put() end
      filled = true
      i = i + 3
    elseif kind == 'd' then
      put()
      filled, deleted = false, true
      call('ZREM', rows, key)
      call('HDEL', values, key)
      i = i + 2
    else
      put()
      filled, deleted = false, true
      repeat
        local found = call('ZRANGEBYLEX', rows, '[' .. key, '(' .. ARGV[i + 2], 'LIMIT', 0, 1000)
        if #found > 0 then
          call('ZREM', rows, unpack(found))
          call('HDEL', values, unpack(found))
        end
      until #found < 1000
      i = i + 3
    end
  end
  put()
  return filled, deleted
end
local function write(rows, values, index, at, last)
  local epoch, existed = ARGV[at + 1], nil
  local stamp = call('HGET', values, '\\255')
  if stamp then
    local e, g, n, has = match(stamp, '^(%d+) (%d+) (%d+) ?(%d?)$')
    if epoch == '' then epoch = e end
    if g ~= generation and tonumber(generation) < tonumber(g) then return ${replaced} end
    if epoch ~= e then
      if tonumber(epoch) < tonumber(e) then return ${fencedOff} end
    elseif g == generation and tonumber(number) < tonumber(n) then return ${overtaken} end
    if has ~= '' then existed = has == '1' end
  end
  if epoch == '' then epoch = '0' end
  if existed == nil then existed = call('EXISTS', rows) == 1 end
  local first = at + 2
  if existed and last == first + 2 and ARGV[first] == 'p' then
    local key = ARGV[first + 1]
    call('ZADD', rows, 0, key)
    call('HSET', values, key, ARGV[last], '\\255', epoch .. tail .. '1')
    return ${wrote}
  end
  local filled, deleted = apply(rows, values, first, last)
  local exists = filled or (existed and not deleted) or call('EXISTS', rows) == 1
  call('HSET', values, '\\255', epoch .. tail .. (exists and '1' or '0'))
  if not exists then
    if existed then call('ZREM', index, ARGV[at]) end
    call('PEXPIRE', values, ${emptyRemembersMs})
  elseif not existed then
    call('ZADD', index, 0, ARGV[at])
    call('PERSIST', values)
  end
  return ${wrote}
end
local replies, at = {}, 3
for key = 1, #KEYS, 3 do
  local last = at + ARGV[at]
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

/**
 * The lease of a node, and the places of those who adopt what it left. Keys: lease, space. Arguments: verb, id of the data
 * directory, incarnation, lease time, who adopts or "", 1 or 0 (`insists`, or certainly dead). Each verb replies as
 * `LeaseBook` says (store/shared.ts): `take` the generation, or the names of those who adopt; `renew` 1, 0
 * (replaced) or -1 (adopted); `place` the generation or 0; `keep` 1 or 0.
 */
export const leaseScript = script(
  `local verb, id, incarnation, life = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local who, flag = ARGV[5], ARGV[6] == '1'
local call = redis.call
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function text(number) return string.format('%.0f', number) end
local kept = call('HMGET', KEYS[1], 'id', 'incarnation', 'until', 'adopted', 'generation', 'wanted', 'places')
local function number(at) return tonumber(kept[at] or '0') end
local function set(...) call('HSET', KEYS[1], ...) end
local holder, lapses, adopted, wanted = number(2), number(3), number(4), number(6)
local places = {}
for lapse, name in string.gmatch(kept[7] or '', '(%d+) (%S+)') do
  if tonumber(lapse) > now then places[#places + 1] = { lapse, name } end
end
local function without(name)
  local lines, found = {}, false
  for _, place in ipairs(places) do
    if place[2] == name then found = true else lines[#lines + 1] = place[1] .. ' ' .. place[2] end
  end
  return lines, found
end
local function give(name)
  local lines = without(name)
  lines[#lines + 1] = text(now + life) .. ' ' .. name
  set('places', table.concat(lines, ' '))
end
local function nextGeneration()
  local last = tonumber(call('HGET', KEYS[2], 'generation') or '0')
  local generation = text(math.max(last + 1, now))
  call('HSET', KEYS[2], 'generation', generation)
  return generation
end
if verb == 'take' then
  if #places > 0 then
    if flag then set('wanted', text(now + life)) end
    local names = {}
    for i, place in ipairs(places) do names[i] = place[2] end
    return names
  end
  set('id', id, 'incarnation', text(incarnation), 'until', text(now + life), 'wanted', '0', 'places', '')
  return nextGeneration()
elseif verb == 'renew' then
  if adopted >= incarnation then return -1 end
  if kept[1] and holder ~= incarnation then return 0 end
  set('id', id, 'incarnation', text(incarnation), 'until', text(now + life))
  return 1
elseif verb == 'release' then
  if holder == incarnation then set('until', '0') end
  return 1
elseif verb == 'place' then
  if kept[1] ~= id or wanted > now then return '0' end
  local generation, isLater = kept[5], holder > incarnation
  incarnation = math.max(holder, incarnation)
  if adopted < incarnation then
    if lapses > now and (isLater or not flag) then return '0' end
    generation = nextGeneration()
    set('adopted', text(incarnation), 'generation', generation)
  end
  give(who)
  return generation
elseif verb == 'keep' then
  local _, found = without(who)
  if not found or wanted > now or adopted < incarnation then return 0 end
  give(who)
  return 1
end
if adopted >= incarnation then set('places', table.concat((without(who)), ' ')) end
return 1`,
);

/** All that a server must know. */
export const scripts = [writeScript, readScript, namesScript, openScript, leaseScript];

function script(text: string): Script {
  return { text, sha: createHash("sha1").update(text, "utf8").digest("hex") };
}
