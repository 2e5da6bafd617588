-- name: known
SELECT id, version, state FROM accounts WHERE id = ANY($1::text[]) FOR UPDATE;

-- name: upsert
INSERT INTO accounts (id, version, name, suspended, limits, created_at, state)
SELECT * FROM unnest(
    $1::text[], $2::int[], $3::text[], $4::boolean[], $5::json[], $6::timestamptz[], $7::json[])
ON CONFLICT (id) DO UPDATE SET
    version = excluded.version, name = excluded.name, suspended = excluded.suspended,
    limits = excluded.limits, state = excluded.state
WHERE accounts.version < excluded.version;

-- name: forget_api_keys
-- An account remembers so many of its old keys, and no more.
DELETE FROM api_keys WHERE account_id = ANY($1::text[]) AND id <> ALL($2::text[]);

-- name: put_api_keys
INSERT INTO api_keys (id, sha256, account_id, name, scopes, created_at, expires_at, revoked_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (id) DO UPDATE SET revoked_at = excluded.revoked_at, expires_at = excluded.expires_at;

-- name: put_webhooks
INSERT INTO webhooks (
    id, account_id, url, types, description, enabled, disabled_reason, generation, previous_until, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (id) DO UPDATE SET
    url = excluded.url, types = excluded.types, description = excluded.description, enabled = excluded.enabled,
    disabled_reason = excluded.disabled_reason, generation = excluded.generation,
    previous_until = excluded.previous_until, created_at = excluded.created_at;

-- name: forget_webhooks
DELETE FROM webhooks WHERE account_id = ANY($1::text[]) AND NOT id = ANY($2::text[]);
