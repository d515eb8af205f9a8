-- Failures are rows first: what waits for a retry is in the store, so that storing never waits for
-- the queue.

CREATE TABLE retries (
    id           BLOB PRIMARY KEY, -- the activity's
    webhook_id   BLOB NOT NULL,
    member_email TEXT, -- the member it waits for, if it names one
    reason       TEXT NOT NULL,
    error        TEXT NOT NULL,
    attempt      INTEGER NOT NULL, -- the number of the next attempt
    received_at  INTEGER NOT NULL,
    traceparent  TEXT,
    activity     TEXT NOT NULL, -- the sender's JSON
    failed_at    INTEGER NOT NULL,
    due_at       INTEGER NOT NULL,
    lost_claims  INTEGER NOT NULL DEFAULT 0 -- claims that were neither settled nor released
) STRICT;
CREATE INDEX retries_due_at ON retries (due_at);
CREATE INDEX retries_failed_at ON retries (failed_at);
CREATE INDEX retries_webhook_id ON retries (webhook_id);
CREATE INDEX retries_member_email ON retries (member_email) WHERE member_email IS NOT NULL;

-- A suspected activity is processed alone. The trial is recorded before it begins, so that a crash
-- during it is known.
CREATE TABLE trials (
    activity_id BLOB PRIMARY KEY,
    begun       INTEGER NOT NULL, -- trials that began and did not end
    begun_at    INTEGER NOT NULL
) STRICT;
