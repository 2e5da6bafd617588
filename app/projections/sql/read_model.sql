-- The read model, made in the schema that search_path names. `state` is the fold of the aggregate's events,
-- json and not jsonb: it is never looked into here, and jsonb would refuse a NUL that somebody's text holds.
CREATE TABLE meta (
    fingerprint text NOT NULL
);

CREATE TABLE checkpoints (
    topic text NOT NULL,
    partition integer NOT NULL,
    next_offset bigint NOT NULL,
    PRIMARY KEY (topic, partition)
);

CREATE TABLE tunings (
    id text PRIMARY KEY,
    version integer NOT NULL,
    account_id text NOT NULL,
    status text NOT NULL,
    model text NOT NULL,
    created_at timestamptz NOT NULL,
    started_at timestamptz,
    finished_at timestamptz,
    metadata jsonb NOT NULL,
    state json NOT NULL
);
CREATE INDEX tunings_newest ON tunings (account_id, created_at DESC, id DESC);
CREATE INDEX tunings_by_status ON tunings (account_id, status, created_at DESC, id DESC);
CREATE INDEX tunings_live ON tunings (id) WHERE status IN ('pending', 'running', 'paused');

-- Every event of every tuning, in the form that this version of the code gives it.
CREATE TABLE tuning_events (
    tuning_id text NOT NULL,
    version integer NOT NULL,
    type text NOT NULL,
    at timestamptz NOT NULL,
    actor text NOT NULL,
    body json NOT NULL,
    PRIMARY KEY (tuning_id, version)
);
CREATE INDEX tuning_losses ON tuning_events ((body ->> 'reason'))
    WHERE type = 'tunesmith.tuning.attempt_lost.v1';

CREATE TABLE files (
    id text PRIMARY KEY,
    version integer NOT NULL,
    account_id text NOT NULL,
    purpose text NOT NULL,
    status text NOT NULL,
    bytes bigint NOT NULL,
    created_at timestamptz NOT NULL,
    state json NOT NULL
);
CREATE INDEX files_newest ON files (account_id, created_at DESC, id DESC);

-- Files that tunings made. They come and go with their tuning.
CREATE TABLE result_files (
    id text PRIMARY KEY,
    tuning_id text NOT NULL,
    account_id text NOT NULL,
    name text NOT NULL,
    bytes bigint NOT NULL,
    sha256 text NOT NULL,
    key text NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE TABLE models (
    id text PRIMARY KEY,
    version integer NOT NULL,
    created_at timestamptz NOT NULL,
    archived boolean NOT NULL,
    state json NOT NULL
);

CREATE TABLE tuned_models (
    id text PRIMARY KEY,
    account_id text NOT NULL,
    tuning_id text NOT NULL,
    base text NOT NULL,
    created_at timestamptz NOT NULL
);

-- Those that were not deleted: a deletion is an event of the stream of models.
CREATE VIEW live_tuned_models AS
SELECT * FROM tuned_models t WHERE NOT EXISTS (SELECT FROM models m WHERE m.id = t.id);

CREATE TABLE accounts (
    id text PRIMARY KEY,
    version integer NOT NULL,
    name text NOT NULL,
    suspended boolean NOT NULL,
    limits json NOT NULL,
    created_at timestamptz NOT NULL,
    state json NOT NULL
);
CREATE INDEX accounts_newest ON accounts (created_at DESC, id DESC);

CREATE TABLE api_keys (
    id text PRIMARY KEY,
    sha256 text NOT NULL UNIQUE,
    account_id text NOT NULL,
    name text NOT NULL,
    scopes text[] NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz
);
CREATE INDEX api_keys_newest ON api_keys (account_id, created_at DESC, id DESC);

-- Those that there are; a deleted one has no row.
CREATE TABLE webhooks (
    id text PRIMARY KEY,
    account_id text NOT NULL,
    url text NOT NULL,
    types text[] NOT NULL,
    description text NOT NULL,
    enabled boolean NOT NULL,
    disabled_reason text,
    generation integer NOT NULL,
    previous_until timestamptz,
    created_at timestamptz NOT NULL
);
CREATE INDEX webhooks_newest ON webhooks (account_id, created_at DESC, id DESC);

CREATE TABLE tuning_steps (
    tuning_id text NOT NULL,
    step integer NOT NULL,
    attempt integer NOT NULL,
    at timestamptz NOT NULL,
    metric json NOT NULL,
    PRIMARY KEY (tuning_id, step)
);

CREATE TABLE tuning_progress (
    tuning_id text PRIMARY KEY,
    attempt integer NOT NULL,
    phase text NOT NULL,
    detail text NOT NULL,
    last_step json,
    updated_at timestamptz NOT NULL
);

CREATE TABLE queue (
    tuning_id text PRIMARY KEY,
    position integer NOT NULL,
    estimated_start timestamptz
);
