-- name: known
SELECT id, version, state FROM tunings WHERE id = ANY($1::text[]) FOR UPDATE;

-- name: upsert
-- What has ended waits no more.
WITH ended AS (
    DELETE FROM queue USING unnest($1::text[], $8::timestamptz[]) AS t (id, finished_at)
    WHERE queue.tuning_id = t.id AND t.finished_at IS NOT NULL
)
INSERT INTO tunings (id, version, account_id, status, model, created_at, started_at, finished_at, metadata, state)
SELECT * FROM unnest(
    $1::text[], $2::int[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::timestamptz[],
    $8::timestamptz[], $9::jsonb[], $10::json[])
ON CONFLICT (id) DO UPDATE SET
    version = excluded.version, status = excluded.status, started_at = excluded.started_at,
    finished_at = excluded.finished_at, metadata = excluded.metadata, state = excluded.state
WHERE tunings.version < excluded.version;

-- name: put_result_files
INSERT INTO result_files (id, tuning_id, account_id, name, bytes, sha256, key, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (id) DO NOTHING;

-- name: put_tuned_models
INSERT INTO tuned_models (id, account_id, tuning_id, base, created_at)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (id) DO NOTHING;
