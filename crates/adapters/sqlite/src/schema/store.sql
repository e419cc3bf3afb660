-- What all roles share.

-- Namespaces get small numbers: they lead the keys of every role.
CREATE TABLE namespace (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);

-- Who acts, as a number: it stands in every version of every record.
CREATE TABLE principal (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);
