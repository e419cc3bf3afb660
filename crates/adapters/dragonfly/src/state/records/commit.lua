-- Commits: versions with their changes, under one number. KEYS 1 to 4 are the namespace's counters,
-- the change log, the expiries and the kinds.
local META, CHANGES, EXPIRY, KINDS = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

-- The most bytes of content that are stored twice.
local SMALL = 4096

-- The time of this call in microseconds, and as it is stored, in nanoseconds.
local NOW = now()
local AT = text(NOW) .. '000'

-- What is counted in the namespace: commits, changes, and the version above which new keys start.
local function counters()
  local counted = call('HMGET', META, 'commit', 'head', 'floor')
  return {
    commit = tonumber(counted[1] or '0'),
    head = tonumber(counted[2] or '0'),
    floor = counted[3] or '0',
  }
end

-- Begins with what is counted; no commit is made yet.
local function begin(counted)
  return {
    last = counted.commit, commit = text(counted.commit), began = counted.head,
    head = counted.head, floor = counted.floor,
  }
end

-- The next commit, by `by`, of the transaction `op_id` if it has one.
local function next_commit(commit, by, op_id)
  commit.last = commit.last + 1
  commit.commit, commit.by, commit.op_id, commit.made = text(commit.last), by, op_id, true
end

-- Writes down what was counted, when a commit was made.
local function finish(commit)
  if commit.head > commit.began then
    -- The time of the last change tells the log from one that was rewound and has gone on.
    call('HSET', META, 'commit', commit.commit, 'head', text(commit.head), 'stamp', AT)
    call('PUBLISH', CHANGES, '')
  elseif commit.made then
    call('HSET', META, 'commit', commit.commit)
  end
end
