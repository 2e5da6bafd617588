-- name: known
SELECT id, version, state FROM files WHERE id = ANY($1::text[]) FOR UPDATE;

-- name: upsert
INSERT INTO files (id, version, account_id, purpose, status, bytes, created_at, state)
SELECT * FROM unnest(
    $1::text[], $2::int[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::timestamptz[],
    $8::json[])
ON CONFLICT (id) DO UPDATE SET version = excluded.version, status = excluded.status, state = excluded.state
WHERE files.version < excluded.version;
