-- name: next_offset
SELECT next_offset FROM checkpoints WHERE topic = $1 AND partition = $2;

-- name: begin
INSERT INTO checkpoints (topic, partition, next_offset) VALUES ($1, $2, 0) ON CONFLICT DO NOTHING;

-- name: advance
UPDATE checkpoints SET next_offset = $4 WHERE topic = $1 AND partition = $2 AND next_offset = $3;

-- name: hold
LOCK TABLE read.checkpoints IN ACCESS EXCLUSIVE MODE;

-- name: held
SELECT topic, partition, next_offset FROM read.checkpoints;
