-- Tasks. Times are microseconds since the Unix epoch.

CREATE TABLE task_stack (
    stack INTEGER PRIMARY KEY,
    ns INTEGER NOT NULL,
    name TEXT NOT NULL,
    UNIQUE (ns, name)
);

-- One small row per task, which changes often; its payload, result and errors lie elsewhere. seq
-- is the namespace's number times 2^40, plus the place in the order of pushes, so that a
-- namespace's tasks are one range and the newest is last.
--
-- States: 0 ready, 1 delayed, 2 running, 3 suspended, 4 completed, 5 failed, 6 cancelled.
-- pending counts the children that have not ended; children says whether it ever had any. resumed
-- says that the next claim, or the running one, goes on with an attempt that its children had
-- interrupted. nonce is that of the lease; it stays after a complete and a cancel, and after a
-- release until the next claim. wake_at is the end of the delay or of the lease. backoff is NULL
-- for the default one.
CREATE TABLE task (
    seq INTEGER PRIMARY KEY,
    ns INTEGER NOT NULL,
    id TEXT NOT NULL,
    stack INTEGER NOT NULL,
    kind TEXT NOT NULL,
    content_type TEXT NOT NULL,
    state INTEGER NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0,
    max_attempts INTEGER NOT NULL,
    backoff TEXT,
    parent INTEGER,
    depth INTEGER NOT NULL,
    children INTEGER NOT NULL DEFAULT 0,
    pending INTEGER NOT NULL DEFAULT 0,
    resumed INTEGER NOT NULL DEFAULT 0,
    nonce INTEGER,
    wake_at INTEGER,
    worker TEXT,
    created_at INTEGER NOT NULL,
    created_by INTEGER NOT NULL,
    finished_at INTEGER
);
CREATE UNIQUE INDEX task_by_id ON task (ns, id);
CREATE INDEX task_by_state ON task (stack, state);
CREATE INDEX task_timer ON task (wake_at) WHERE wake_at IS NOT NULL;
CREATE INDEX task_child ON task (parent) WHERE parent IS NOT NULL;
CREATE INDEX task_finished_root ON task (finished_at)
    WHERE finished_at IS NOT NULL AND parent IS NULL;

CREATE TABLE task_payload (
    seq INTEGER PRIMARY KEY,
    payload BLOB NOT NULL
);

CREATE TABLE task_result (
    seq INTEGER PRIMARY KEY,
    content_type TEXT NOT NULL,
    result BLOB NOT NULL
);

-- One row per failed attempt. The nonce is that of the lease that said so, for repeats; the text
-- of old ones is dropped.
CREATE TABLE task_error (
    seq INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    nonce INTEGER,
    at INTEGER NOT NULL,
    error TEXT,
    PRIMARY KEY (seq, attempt)
) WITHOUT ROWID;

-- The first result of each op_id: the ids that were pushed, as a JSON list, and for each whether
-- it was there before, as a digit. Rows are added in the order of time.
CREATE TABLE task_op (
    seq INTEGER PRIMARY KEY,
    ns INTEGER NOT NULL,
    op_id TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    at INTEGER NOT NULL,
    ids TEXT NOT NULL,
    duplicates TEXT NOT NULL,
    UNIQUE (ns, op_id)
);
