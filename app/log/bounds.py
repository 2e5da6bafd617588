"""The bounds and settings of the writer's protocol, all of them, and what holds between them.

    HEARTBEAT < SESSION                  a member is missed only after several heartbeats
    COMMIT_WITHIN < TRANSACTION_TIMEOUT  a writer gives up a transaction before the broker aborts it under it
    REQUEST_TIMEOUT < COMMIT_WITHIN      a request that got no answer leaves time to notice
    LARGEST_RECORD + headers < the brokers' message.max.bytes (infra/kafka/server.properties)
    TRANSACTION_TIMEOUT < the brokers' transaction.max.timeout.ms

Readers of committed records wait at most TRANSACTION_TIMEOUT for a writer that hangs; a partition whose
owner was killed is taken after SESSION.
"""

from __future__ import annotations

# Who owns which partition.
SESSION_TIMEOUT_MS = 6_000
HEARTBEAT_INTERVAL_MS = 200  # a member that leaves or comes is noticed after this long
REBALANCE_TIMEOUT_MS = 10_000
MEMBER_POLL_SECONDS = 0.5
HEARD_WITHIN = 1.0  # who was fenced because of a new assignment hears of that a little later

# One batch, one transaction.
LARGEST_BATCH = 500  # commands
TURN = 50  # commands, some 2 ms, after which the event loop has its turn
STATES_A_TRANSACTION = 500  # when they are folded anew
TRANSACTION_TIMEOUT_MS = 10_000
COMMIT_WITHIN = 8.0
# The wait after CONCURRENT_TRANSACTIONS is a constant in aiokafka; its 20 ms would cap commits at 40/s.
CONCURRENT_TRANSACTIONS_BACKOFF = 0.002
LARGEST_RECORD_BYTES = 900_000  # a record's value
ROOM_BESIDE = 100_000  # headers, the commands that a state remembers, what a reply says beside the state
REMEMBERED_COMMANDS = 64  # of each aggregate: a repeat of one of them gets its first reply

# After an error: from the fence on again.
FIRST_BACKOFF = 0.1
LONGEST_BACKOFF = 5.0
FAILURES_BEFORE_EXIT = 8  # in a row

# What no Kafka client bounds by itself.
REQUEST_TIMEOUT_MS = 5_000
RETRY_BACKOFF_MS = 20
ANSWER_WITHIN = 10.0  # start, fence, send, ask
CLOSE_WITHIN = 5.0

# Reading. A reader that follows is answered when something comes, or after this long.
FETCH_WAIT_MS = 500
POLL_SECONDS = 0.5
LARGEST_FETCH = 5_000  # records
FETCH_BYTES = 4_000_000  # of one partition at once

# Telling lag monitors; nothing of ours reads it.
PUBLISH_SECONDS = 5.0
PUBLISH_WITHIN = 2.0
