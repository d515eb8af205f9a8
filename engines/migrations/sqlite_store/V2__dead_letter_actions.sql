-- What people do to dead letters, and which member one waits for.

ALTER TABLE dead_letters ADD COLUMN member_email TEXT; -- folded; whom the activity names
ALTER TABLE dead_letters ADD COLUMN replayed_at INTEGER; -- the last replay; a death after it takes it back
ALTER TABLE dead_letters ADD COLUMN discarded_at INTEGER;
CREATE INDEX dead_letters_member_email ON dead_letters (member_email) WHERE member_email IS NOT NULL;

CREATE TABLE dead_letter_actions (
    dead_letter_id BLOB NOT NULL,
    action         TEXT NOT NULL CHECK (action IN ('replay', 'discard')),
    done_by        TEXT NOT NULL,
    done_at        INTEGER NOT NULL
) STRICT;
CREATE INDEX dead_letter_actions_id ON dead_letter_actions (dead_letter_id, done_at);

-- Settled: the activity is stored, from this copy or another.
CREATE VIEW dead_letter_states AS
SELECT d.*,
       EXISTS (SELECT 1 FROM activities a WHERE a.id = d.id)
       OR EXISTS (SELECT 1 FROM activities a
                  WHERE a.webhook_id = d.webhook_id AND a.external_id = d.external_id
                    AND (a.content_id = d.id OR a.received_at >= d.received_at)) AS settled
FROM dead_letters d;
