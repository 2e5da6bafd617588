-- name: add_steps
INSERT INTO tuning_steps (tuning_id, step, attempt, at, metric)
SELECT * FROM unnest($1::text[], $2::int[], $3::int[], $4::timestamptz[], $5::json[])
ON CONFLICT (tuning_id, step) DO UPDATE SET
    attempt = excluded.attempt, at = excluded.at, metric = excluded.metric
WHERE tuning_steps.attempt <= excluded.attempt;

-- name: progress
INSERT INTO tuning_progress (tuning_id, attempt, phase, detail, last_step, updated_at)
SELECT * FROM unnest($1::text[], $2::int[], $3::text[], $4::text[], $5::json[], $6::timestamptz[])
ON CONFLICT (tuning_id) DO UPDATE SET
    attempt = excluded.attempt,
    phase = excluded.phase,
    detail = excluded.detail,
    last_step = CASE
        WHEN excluded.last_step IS NOT NULL THEN excluded.last_step
        WHEN tuning_progress.attempt = excluded.attempt THEN tuning_progress.last_step
    END,
    updated_at = excluded.updated_at
WHERE tuning_progress.attempt <= excluded.attempt;

-- name: place
INSERT INTO queue (tuning_id, position, estimated_start)
SELECT * FROM unnest($1::text[], $2::int[], $3::timestamptz[])
ON CONFLICT (tuning_id) DO UPDATE SET
    position = excluded.position, estimated_start = excluded.estimated_start;

-- name: leave_queue
DELETE FROM queue WHERE tuning_id = ANY($1::text[]);
