-- name: known
SELECT id, version, state FROM tunings WHERE id = ANY($1::text[]) FOR UPDATE;

-- name: upsert
INSERT INTO tunings (id, version, account_id, status, model, created_at, started_at, finished_at, metadata, state)
SELECT * FROM unnest(
    $1::text[], $2::int[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::timestamptz[],
    $8::timestamptz[], $9::jsonb[], $10::json[])
ON CONFLICT (id) DO UPDATE SET
    version = excluded.version, status = excluded.status, started_at = excluded.started_at,
    finished_at = excluded.finished_at, metadata = excluded.metadata, state = excluded.state
WHERE tunings.version < excluded.version;

-- name: add_result_files
INSERT INTO result_files (id, tuning_id, account_id, name, bytes, sha256, key, created_at)
SELECT * FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[], $8::timestamptz[])
ON CONFLICT (id) DO NOTHING;

-- name: add_tuned_models
INSERT INTO tuned_models (id, account_id, tuning_id, base, created_at)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[])
ON CONFLICT (id) DO NOTHING;

-- name: leave_queue
DELETE FROM queue WHERE tuning_id = ANY($1::text[]);
