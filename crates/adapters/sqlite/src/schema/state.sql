-- Records, their versions, the change log, its followers, the outbox. Times are nanoseconds since
-- the Unix epoch.

-- One small row per key: what a write has to know. Lives: 0 live, 1 deleted, 2 expired, and
-- 3 forgotten: only the change log still names it, and a new key may have the same name.
CREATE TABLE state_key (
    key INTEGER PRIMARY KEY,
    ns INTEGER NOT NULL,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    first INTEGER NOT NULL,
    version INTEGER NOT NULL,
    pos INTEGER NOT NULL,
    life INTEGER NOT NULL,
    expires_at INTEGER,
    created_at INTEGER NOT NULL,
    created_by INTEGER NOT NULL
);
CREATE UNIQUE INDEX state_key_by_name ON state_key (ns, kind, id) WHERE life < 3;
CREATE INDEX state_key_by_expiry ON state_key (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX state_key_forgotten ON state_key (ns) WHERE life = 3;

-- One row per version, which is also one row of the change log: pos is the namespace's number
-- times 2^40, plus the place in its log, so that writes append and a namespace's log is one range.
--
-- The content of a version is the data of the versions from base on, up to its own. A pruned
-- version cannot be read any more; its data stays while a later version is built on it, and its
-- row while the change log names it.
CREATE TABLE state_version (
    pos INTEGER PRIMARY KEY,
    key INTEGER NOT NULL,
    version INTEGER NOT NULL,
    operation INTEGER NOT NULL,
    tombstone INTEGER NOT NULL,
    pruned INTEGER NOT NULL DEFAULT 0,
    commit_id INTEGER NOT NULL,
    at INTEGER NOT NULL,
    by INTEGER NOT NULL,
    op_id TEXT,
    created_at INTEGER NOT NULL,
    created_by INTEGER NOT NULL,
    expires_at INTEGER,
    base INTEGER NOT NULL,
    size INTEGER NOT NULL,
    content_type TEXT NOT NULL,
    schema TEXT,
    data BLOB
);
CREATE UNIQUE INDEX state_version_by_key ON state_version (key, version);

-- The first result of each op_id. Rows are added in the order of time, so the old ones are first.
CREATE TABLE state_op (
    seq INTEGER PRIMARY KEY,
    ns INTEGER NOT NULL,
    op_id TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    commit_id INTEGER NOT NULL,
    at INTEGER NOT NULL,
    versions TEXT NOT NULL,
    UNIQUE (ns, op_id)
);

-- This log, as told from that of another file.
CREATE TABLE state_incarnation (id TEXT NOT NULL);
INSERT INTO state_incarnation (id) VALUES (lower(hex(randomblob(8))));

-- Up to where each namespace's log is trimmed; no row: not at all.
CREATE TABLE state_trimmed (
    ns INTEGER PRIMARY KEY,
    place INTEGER NOT NULL
);

CREATE TABLE state_follower (
    ns INTEGER NOT NULL,
    name TEXT NOT NULL,
    place INTEGER NOT NULL,
    max_lag INTEGER,
    lost INTEGER NOT NULL DEFAULT 0,
    advanced_at INTEGER NOT NULL,
    PRIMARY KEY (ns, name)
) WITHOUT ROWID;

-- pos as in state_version, with a count of its own.
CREATE TABLE state_outbox (
    pos INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    ordering_key TEXT,
    parked TEXT,
    properties TEXT NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX state_outbox_parked ON state_outbox (ordering_key, pos) WHERE parked IS NOT NULL;
CREATE INDEX state_outbox_parked_in_order ON state_outbox (pos) WHERE parked IS NOT NULL;

-- Who relays a namespace's outbox. The fence counts the leases ever given.
CREATE TABLE state_outbox_lease (
    ns INTEGER PRIMARY KEY,
    owner TEXT NOT NULL,
    fence INTEGER NOT NULL,
    until INTEGER NOT NULL
);
