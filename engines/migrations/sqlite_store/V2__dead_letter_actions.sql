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
