-- Groups, messages, leases, dead letters.
--
-- A message lies once in queue_message, however many groups have it. In each group it is in
-- exactly one place: ready, waiting (behind the head of its ordering key), delayed, leased or
-- dead. The places are small rows in the order in which they are looked at, so that each look is
-- one step into an index. Times are microseconds; a larger priority has a smaller rank.

CREATE TABLE queue_group (
    -- Tokens and counters name it, so a number is never used again.
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    ns INTEGER NOT NULL,
    name TEXT NOT NULL,
    spec TEXT NOT NULL,
    paused INTEGER NOT NULL,
    UNIQUE (ns, name)
);

-- Groups that were deleted and whose rows are still to be removed.
CREATE TABLE queue_doomed (grp INTEGER PRIMARY KEY);

-- Each change of groups and listeners, so that every process can keep them in memory: the stamp
-- is random and tells a change from another one that had its number and was rolled back. The
-- subject is a group's id, or the negative of a listener's.
CREATE TABLE queue_change (
    n INTEGER PRIMARY KEY,
    stamp INTEGER NOT NULL,
    subject INTEGER NOT NULL
);

CREATE TABLE queue_message (
    seq INTEGER PRIMARY KEY,
    sent_at INTEGER NOT NULL,
    meta BLOB NOT NULL,
    payload BLOB NOT NULL
);

-- How many groups still have a message that went to several.
CREATE TABLE queue_share (
    seq INTEGER PRIMARY KEY,
    holders INTEGER NOT NULL
);

CREATE TABLE queue_ready (
    grp INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    due INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    key INTEGER,
    expires INTEGER,
    shared INTEGER NOT NULL,
    PRIMARY KEY (grp, rank, due, seq)
) WITHOUT ROWID;

-- The ordering keys that have a head: a message that is ready, delayed or leased.
CREATE TABLE queue_key (
    grp INTEGER NOT NULL,
    key INTEGER NOT NULL,
    PRIMARY KEY (grp, key)
) WITHOUT ROWID;

CREATE TABLE queue_waiting (
    grp INTEGER NOT NULL,
    key INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    due INTEGER NOT NULL,
    expires INTEGER,
    shared INTEGER NOT NULL,
    PRIMARY KEY (grp, key, seq)
) WITHOUT ROWID;
CREATE INDEX queue_waiting_due ON queue_waiting (grp, due, seq);

CREATE TABLE queue_delayed (
    grp INTEGER NOT NULL,
    until INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    due INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    key INTEGER,
    expires INTEGER,
    shared INTEGER NOT NULL,
    PRIMARY KEY (grp, until, seq)
) WITHOUT ROWID;

-- The batch is the receive that handed it out.
CREATE TABLE queue_leased (
    grp INTEGER NOT NULL,
    deadline INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    batch INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    due INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    key INTEGER,
    expires INTEGER,
    shared INTEGER NOT NULL,
    PRIMARY KEY (grp, deadline, seq)
) WITHOUT ROWID;

-- How the deliveries of each batch were settled: one byte each, 0 for not yet.
CREATE TABLE queue_settled (
    batch INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    actions BLOB NOT NULL
);

-- What expires where it is ready or waits. What is leased or delayed need not be here: it is looked
-- at when it comes back.
CREATE TABLE queue_expiry (
    grp INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    due INTEGER NOT NULL,
    key INTEGER,
    PRIMARY KEY (grp, expires, seq)
) WITHOUT ROWID;

-- Messages that can be taken back until they are due, and the groups that have them.
CREATE TABLE queue_scheduled (
    ns INTEGER NOT NULL,
    id BLOB NOT NULL,
    due INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    groups TEXT NOT NULL,
    PRIMARY KEY (ns, id)
) WITHOUT ROWID;
CREATE INDEX queue_scheduled_due ON queue_scheduled (due);

CREATE TABLE queue_dead (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    grp INTEGER NOT NULL,
    id BLOB NOT NULL,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    reason TEXT NOT NULL,
    rank INTEGER NOT NULL,
    due INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    key INTEGER,
    expires INTEGER,
    shared INTEGER NOT NULL
);
CREATE INDEX queue_dead_order ON queue_dead (grp, position);
CREATE INDEX queue_dead_id ON queue_dead (grp, id);

-- What went wrong in the last attempts of messages that are still there.
CREATE TABLE queue_error (
    grp INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    at INTEGER NOT NULL,
    error TEXT NOT NULL,
    PRIMARY KEY (grp, seq, attempt)
) WITHOUT ROWID;

-- Idempotency keys, in buckets of one window each: a whole bucket is forgotten at once. The id is
-- there when it is not the key itself.
CREATE TABLE queue_accepted (
    ns INTEGER NOT NULL,
    bucket INTEGER NOT NULL,
    key BLOB NOT NULL,
    at INTEGER NOT NULL,
    fingerprint INTEGER NOT NULL,
    routed INTEGER NOT NULL,
    id BLOB,
    PRIMARY KEY (ns, bucket, key)
) WITHOUT ROWID;

-- Subscriptions without a group, of all processes.
CREATE TABLE queue_listener (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    ns INTEGER NOT NULL,
    pattern TEXT NOT NULL,
    seen_at INTEGER NOT NULL
);

-- What they hear, for a short while.
CREATE TABLE queue_cast (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    ns INTEGER NOT NULL,
    sent_at INTEGER NOT NULL,
    due INTEGER NOT NULL,
    expires INTEGER,
    meta BLOB NOT NULL,
    payload BLOB NOT NULL
);

-- The last one that was removed, per namespace.
CREATE TABLE queue_cast_floor (
    ns INTEGER PRIMARY KEY,
    n INTEGER NOT NULL
);
