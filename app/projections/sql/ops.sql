-- Operational tables that are no projection: they stay when the read model is rebuilt.
CREATE SCHEMA IF NOT EXISTS ops;

CREATE TABLE IF NOT EXISTS ops.creates (
    account_id text NOT NULL,
    at timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS creates_by_account ON ops.creates (account_id, at);

CREATE TABLE IF NOT EXISTS ops.cursors (
    reactor text NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    next_offset bigint NOT NULL,
    PRIMARY KEY (reactor, topic, partition)
);

-- Files whose bytes wait to be freed.
CREATE TABLE IF NOT EXISTS ops.deleted_files (
    id text PRIMARY KEY,
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
