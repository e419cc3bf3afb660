-- Large content. Times are microseconds since the Unix epoch.

-- One row per content of a namespace. holders counts the rows of ref_holder, expired ones
-- included until they are swept. used_at is the last use of cache content, and for other content
-- when its last holder went.
CREATE TABLE ref_content (
    entry INTEGER PRIMARY KEY,
    ns INTEGER NOT NULL,
    id BLOB NOT NULL,
    kind INTEGER NOT NULL,
    content_type TEXT NOT NULL,
    compression INTEGER NOT NULL,
    size INTEGER NOT NULL,
    stored INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    cache INTEGER NOT NULL,
    holders INTEGER NOT NULL DEFAULT 0,
    used_at INTEGER NOT NULL
);
CREATE UNIQUE INDEX ref_content_by_id ON ref_content (ns, id);
CREATE INDEX ref_content_expiring ON ref_content (ns, expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX ref_content_unheld ON ref_content (ns, cache, used_at) WHERE holders = 0;

CREATE TABLE ref_holder (
    ns INTEGER NOT NULL,
    holder TEXT NOT NULL,
    id BLOB NOT NULL,
    entry INTEGER NOT NULL,
    expires_at INTEGER,
    PRIMARY KEY (ns, holder, id)
) WITHOUT ROWID;
CREATE INDEX ref_holder_of ON ref_holder (entry, expires_at);
CREATE INDEX ref_holder_expiring ON ref_holder (expires_at) WHERE expires_at IS NOT NULL;

-- Chunk n of an entry lies at entry times 2^20, plus n.
CREATE TABLE ref_chunk (
    pos INTEGER PRIMARY KEY,
    plain INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    stored BLOB NOT NULL
);

-- Entries whose chunks belong to no content: being written, or removed. They go after `until`.
CREATE TABLE ref_loose (
    entry INTEGER PRIMARY KEY,
    until INTEGER NOT NULL
);
CREATE INDEX ref_loose_by_time ON ref_loose (until);
