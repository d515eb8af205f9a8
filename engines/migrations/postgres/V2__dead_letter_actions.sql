-- What people do to dead letters, and which member one waits for.

ALTER TABLE dead_letters
    ADD COLUMN member_email text, -- folded; whom the activity names
    ADD COLUMN replayed_at  timestamptz, -- the last replay; a death after it takes it back
    ADD COLUMN discarded_at timestamptz;

-- Lists go by the time of death, the latest first, in pages.
DROP INDEX dead_letters_dead_at;
CREATE INDEX dead_letters_dead_at ON dead_letters (dead_at DESC, id DESC);
CREATE INDEX dead_letters_member_email ON dead_letters (member_email) WHERE member_email IS NOT NULL;

CREATE TABLE dead_letter_actions (
    dead_letter_id uuid NOT NULL,
    action         text NOT NULL CHECK (action IN ('replay', 'discard')),
    done_by        text NOT NULL,
    done_at        timestamptz NOT NULL
);
CREATE INDEX dead_letter_actions_id ON dead_letter_actions (dead_letter_id, done_at);

-- Settled: the activity is stored, from this copy or another.
CREATE VIEW dead_letter_states AS
SELECT d.*,
       EXISTS (SELECT 1 FROM activities a WHERE a.id = d.id)
       OR EXISTS (SELECT 1 FROM activities a
                  WHERE a.webhook_id = d.webhook_id AND a.external_id = d.external_id
                    AND (a.content_id = d.id OR a.received_at >= d.received_at)) AS settled
FROM dead_letters d;

-- For lists of what came last, and for retention.
CREATE INDEX activities_received_at ON activities (received_at, id);
