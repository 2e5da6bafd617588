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

-- Tunings whose checkpoints in the store are to be looked through, and when. Of one that has ended all go.
CREATE TABLE IF NOT EXISTS ops.checkpoints_to_free (
    tuning_id text PRIMARY KEY,
    ended boolean NOT NULL,
    looked boolean NOT NULL DEFAULT false,
    due_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What was let through by a quota and may not be seen in the read model yet.
CREATE TABLE IF NOT EXISTS ops.reserved (
    id text PRIMARY KEY,
    account_id text NOT NULL,
    kind text NOT NULL,
    amount bigint NOT NULL,
    at timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS reserved_by_account ON ops.reserved (account_id, kind);

-- Answers by the account's Idempotency-Key. Without a status the first request is under way: whoever holds
-- `claim` answers it, until `claimed_until` at least.
CREATE TABLE IF NOT EXISTS ops.idempotency (
    account_id text NOT NULL,
    key text NOT NULL,
    request_hash text NOT NULL,
    claim text NOT NULL,
    claimed_until timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    status smallint,
    headers json,
    body bytea,
    PRIMARY KEY (account_id, key)
);
CREATE INDEX IF NOT EXISTS idempotency_expired ON ops.idempotency (expires_at);

-- What was refused and what was done; a row stands for `count` that are alike within a minute.
CREATE TABLE IF NOT EXISTS ops.audit (
    id text PRIMARY KEY,
    at timestamptz NOT NULL,
    account_id text,
    actor text,
    action text NOT NULL,
    outcome text NOT NULL,
    status smallint NOT NULL,
    code text,
    target text,
    request_id text NOT NULL,
    address text,
    count integer NOT NULL
);
CREATE INDEX IF NOT EXISTS audit_newest ON ops.audit (at DESC, id DESC);
CREATE INDEX IF NOT EXISTS audit_by_account ON ops.audit (account_id, at DESC, id DESC);

-- What webhooks are told: a row for each endpoint, event and type. `taken_until`: a reactor is at it.
CREATE TABLE IF NOT EXISTS ops.deliveries (
    id text PRIMARY KEY,
    webhook_id text NOT NULL,
    event_id text NOT NULL,
    type text NOT NULL,
    payload text NOT NULL,
    status text NOT NULL DEFAULT 'pending',
    queued_at timestamptz NOT NULL DEFAULT now(),
    next_at timestamptz NOT NULL DEFAULT now(),
    taken_until timestamptz,
    begun_at timestamptz,
    ended_at timestamptz,
    tries integer NOT NULL DEFAULT 0,
    attempts integer NOT NULL DEFAULT 0,
    UNIQUE (webhook_id, event_id, type)
);
CREATE INDEX IF NOT EXISTS deliveries_waiting ON ops.deliveries (webhook_id, next_at) WHERE status = 'pending';
CREATE INDEX IF NOT EXISTS deliveries_newest ON ops.deliveries (webhook_id, queued_at DESC, id DESC);
CREATE INDEX IF NOT EXISTS deliveries_oldest ON ops.deliveries (queued_at);

CREATE TABLE IF NOT EXISTS ops.delivery_attempts (
    delivery_id text NOT NULL REFERENCES ops.deliveries ON DELETE CASCADE,
    number integer NOT NULL,
    at timestamptz NOT NULL,
    seconds double precision NOT NULL,
    request json NOT NULL,
    answer json,
    error text,
    PRIMARY KEY (delivery_id, number)
);

-- Uploads in parts: what was announced, and once it is complete where the whole lies.
CREATE TABLE IF NOT EXISTS ops.uploads (
    id text PRIMARY KEY,
    account_id text NOT NULL,
    request_hash text NOT NULL,
    filename text NOT NULL,
    purpose text NOT NULL,
    mime_type text NOT NULL,
    bytes bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    status text NOT NULL DEFAULT 'pending',
    part_ids text[],
    file_id text NOT NULL,
    key text,
    sha256 text
);
CREATE INDEX IF NOT EXISTS uploads_by_expiry ON ops.uploads (expires_at);

CREATE TABLE IF NOT EXISTS ops.upload_parts (
    id text PRIMARY KEY,
    upload_id text NOT NULL REFERENCES ops.uploads (id),
    bytes bigint NOT NULL,
    sha256 text NOT NULL,
    key text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX IF NOT EXISTS parts_by_upload ON ops.upload_parts (upload_id, created_at);
