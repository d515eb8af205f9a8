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
