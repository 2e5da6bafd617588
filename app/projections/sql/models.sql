-- name: known
SELECT id, version, state FROM models WHERE id = ANY($1::text[]) FOR UPDATE;

-- name: upsert
INSERT INTO models (id, version, created_at, archived, state)
SELECT * FROM unnest($1::text[], $2::int[], $3::timestamptz[], $4::boolean[], $5::json[])
ON CONFLICT (id) DO UPDATE SET version = excluded.version, archived = excluded.archived, state = excluded.state
WHERE models.version < excluded.version;
