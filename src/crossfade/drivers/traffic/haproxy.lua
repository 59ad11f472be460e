-- The gate of Crossfade inside HAProxy, for one backend.  Written by `crossfade gate install` and
-- taken away by `crossfade gate remove`; do not edit.
--
-- The state file is the truth: Crossfade replaces it as a whole, and every HAProxy process, also an
-- old one that a reload left behind, reads it again within 50 ms.  A hold ends here without anybody:
-- its lease and its cap are kept by HAProxy's own clock, which setting the wall clock does not move.

local BACKEND = "@BACKEND@"
local STATE, STATE_INSIDE = "@STATE@", "@STATE_INSIDE@"      -- the second: below the chroot
local COUNTS, COUNTS_INSIDE = "@COUNTS@", "@COUNTS_INSIDE@"
local PACE = 32

local state = { held = false, side = "old", epoch = 0, drained = "-", serial = "0" }
local text = nil                 -- of the state file, as read last
local lease_ends, cap_ends = 0, 0
local over = {}                  -- holds that ended by themselves, by their names
local queue = setmetatable({}, { __mode = "v" })
local first, last = 1, 0         -- of the queue; between them are gaps
local waiting = 0
local pace = nil                 -- a number while a release is under way
local granted_at, stepped_at = 0, 0
local total, writes, failed_before, leaked_before, base = 0, 0, 0, 0, 0
local counted_in, counted = nil, 0   -- the epoch of the writes that were counted before our start
local saved, stopping, writable = "", false, false

local running = false

local function now()
  local t = core.now()
  return t.sec + t.usec / 1e6
end

local function slurp(path)
  local file = io.open(path, "r")
  if not file then return nil end
  local content = file:read("a")
  file:close()
  return content
end

local function server(name) return core.proxies[BACKEND].servers[name]:get_stats() end

local function sessions(side)    -- that HAProxy has ever sent to a side; a count of its own
  return server("crossfade_" .. side).stot + server("crossfade_" .. side .. "_ws").stot
end

local function leaked()
  if state.drained ~= "old" and state.drained ~= "new" then return leaked_before end
  return leaked_before + math.max(0, sessions(state.drained) - base)
end

-- Streams in the backend are waiting, tunnels, or in flight.  HAProxy counts a stream in before its
-- rules run, so a request between the look at the state and its server is among those in flight.
local function flight()
  local tunnels = server("crossfade_old_ws").scur + server("crossfade_new_ws").scur
  return math.max(0, core.proxies[BACKEND]:get_stats().scur - waiting - tunnels), tunnels
end

local function failed()
  local stats = core.proxies[BACKEND]:get_stats()
  return failed_before + stats.econ + stats.eresp
end

local function begin_pace(most)
  if waiting > 0 then pace = most end
end

local function become(side, epoch)     -- where traffic goes; the other side's tunnels are cut
  if epoch ~= state.epoch then writes = epoch == counted_in and counted or 0 end
  if side ~= state.side and running then
    local tunnels = core.proxies[BACKEND].servers["crossfade_" .. state.side .. "_ws"]
    if tunnels then tunnels:shut_sess() end
  end
  state.side, state.epoch = side, epoch
end

local function settle()                -- the lease or the cap may have run out
  if not state.held or now() < math.min(lease_ends, cap_ends) then return end
  over[state.hold] = true
  state.held = false
  if state.decided == "1" and state.commit_to ~= state.side then
    become(state.commit_to, state.epoch + 1)
  end
  if state.drained == state.side then state.drained = "-" end
  begin_pace(PACE)
end

local function plain(path)
  return (path:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

local function take(content, loading)
  if not content or content == text then return end
  local new = {}
  for key, value in content:gmatch("(%S+) (%S*)\n") do new[key] = value end
  if new["end"] ~= "1" then return end
  text = content
  -- Other addresses are given to the newest process only; with its own an old one goes on as it was.
  if stopping and (new.target_old ~= state.target_old or new.target_new ~= state.target_new) then
    return
  end
  new.epoch, new.held = tonumber(new.epoch), new.held == "1"
  if new.held and over[new.hold] then  -- it ended here already; whoever changes it is told so
    state.serial = new.serial
    return
  end
  local was_held, drained = state.held, state.drained
  if not loading then become(new.side, new.epoch) end
  local renewed = new.lease_until ~= state.lease_until or new.hold ~= state.hold
  state = new
  if state.drained ~= drained and state.drained ~= "-" then
    base = loading and 0 or sessions(state.drained)
  end
  if not state.held then
    if was_held then begin_pace(tonumber(state.pace)) end
    return
  end
  local clock, lease, cap = now(), tonumber(state.lease), tonumber(state.cap)
  if loading then                      -- the only time that the wall clock counts
    lease = math.min(lease, tonumber(state.lease_until) - clock)
    cap = math.min(cap, tonumber(state.cap_until) - clock)
    if slurp(plain(state.token)) then state.decided = "1" end
  end
  if renewed then lease_ends = clock + lease end
  if not was_held then cap_ends = clock + cap end
end

local function read() take(slurp(STATE) or slurp(STATE_INSIDE), false) end

local function save()                  -- in place, one short line: no rights on the directory
  local line = string.format("%15d %15d %15d %15d %15d\n", total, writes, state.epoch,
    failed(), leaked())
  if line == saved or stopping then return end
  local file = io.open(COUNTS, "r+") or io.open(COUNTS_INSIDE, "r+")
  writable = file ~= nil
  if not file then return end
  file:write(line)
  file:close()
  saved = line
end

local function step()                  -- let some of those that wait go
  settle()
  if state.held or not pace then return end
  local clock = now()
  if clock - stepped_at < 0.01 then return end
  stepped_at = clock
  local most = pace - flight()
  if most <= 0 and clock - granted_at > 1 then most = pace end   -- long answers do not stop it
  while most > 0 and first <= last do
    local entry = queue[first]
    queue[first] = nil
    first = first + 1
    if entry and not entry.done then
      entry.done, entry.go = true, true
      waiting = waiting - 1
      most = most - 1
      granted_at = clock
    end
  end
  if first > last then pace = nil end
end

-- A request whose client has gone is dropped by HAProxy without a word; its entry is then garbage.
local gone = { __gc = function(entry)
  if not entry.done then
    entry.done = true
    waiting = waiting - 1
  end
end }

core.register_action("crossfade." .. BACKEND, { "http-req" }, function(txn)
  total = total + 1
  step()
  if state.held or pace then
    local entry = setmetatable({ done = false, go = false }, gone)
    last = last + 1
    queue[last] = entry
    waiting = waiting + 1
    local place = last
    while not entry.go do
      core.msleep(math.min(500, math.max(10, (place - first) // 2)))  -- who is far back sleeps long
      if not state.held and not pace then begin_pace(PACE) end
      step()
    end
  end
  txn:set_var("txn.crossfade", state.side)
  txn:set_var("txn.crossfade_epoch", state.epoch)
end)

core.register_action("crossfade-wrote." .. BACKEND, { "http-res" }, function(txn)
  if txn:get_var("txn.crossfade_epoch") == state.epoch then
    writes = writes + 1
    if writes == 1 then save() end     -- that there are none is what a decision may hang on
  end
end)

core.register_cli({ "crossfade", BACKEND }, "crossfade " .. BACKEND .. " [status|exact]",
  function(applet, _, _, what)
    read()
    step()
    if what == "exact" then collectgarbage() collectgarbage() end
    local in_flight, tunnels = flight()
    local left = state.held and math.max(0, math.min(lease_ends, cap_ends) - now()) or 0
    local answer = {
      serial = state.serial, side = state.side, epoch = state.epoch, held = state.held and 1 or 0,
      drained = state.drained, in_flight = in_flight, waiting = waiting, tunnels = tunnels,
      total = total, failed = failed(), served_after_drain = leaked(),
      writes_since_switch = writes, lease_left = string.format("%.3f", left),
      hold = state.hold or "-", writable = writable and 1 or 0,
    }
    for _, side in ipairs({ "old", "new" }) do
      for _, kind in ipairs({ "", "_ws" }) do
        answer[side .. kind] = core.proxies[BACKEND].servers["crossfade_" .. side .. kind]:get_addr()
      end
    end
    local lines = {}
    for key, value in pairs(answer) do lines[#lines + 1] = key .. " " .. tostring(value) end
    applet:send(table.concat(lines, "\n") .. "\nend 1\n")
  end)

-- A process that a reload left behind cannot be asked any more.  While requests of it are in
-- flight it changes the second line of the file, and a drain waits until that stays.
local function leave_mark(ticks)
  stopping = tonumber(core.get_info().Stopping) ~= 0
  if not stopping or flight() == 0 then return end
  local file = io.open(COUNTS, "r+") or io.open(COUNTS_INSIDE, "r+")
  if not file then return end
  file:seek("set", 80)
  file:write(string.format("%15d\n", ticks))
  file:close()
end

core.register_task(function()
  local ticks, saved_at = 0, 0
  running = true
  while true do
    leave_mark(ticks)
    if now() - saved_at > 0.95 then
      save()
      saved_at = now()
    end
    ticks = ticks + 1
    read()
    step()
    core.msleep((state.held or pace or stopping) and 20 or 50)   -- it costs little when idle
  end
end)

-- Here we are still root and outside the chroot.
do
  local counts = {}
  for number in (slurp(COUNTS) or ""):gmatch("%d+") do counts[#counts + 1] = tonumber(number) end
  take(slurp(STATE), true)
  total, failed_before, leaked_before = counts[1] or 0, counts[4] or 0, counts[5] or 0
  counted_in, counted = counts[3], counts[2]
  if counted_in == state.epoch then writes = counted end
  settle()
end
