-- Messages on their way. Bodies have a table of their own, so that taking a message does not
-- write its body again.

PRAGMA application_id = 0x54727071;

CREATE TABLE messages (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    queue      INTEGER NOT NULL, -- 0: activities, 1: dead letters
    due_at     INTEGER NOT NULL, -- microseconds since 1970; 0: at once
    kind       TEXT NOT NULL,
    deliveries INTEGER NOT NULL DEFAULT 0, -- takes that did not end in a word from the worker
    taken_by   INTEGER -- the subscription that has it in hand
) STRICT;
-- What is due of the retries comes before what is new, or a backlog would starve it.
CREATE INDEX messages_waiting ON messages (queue, due_at DESC, id) WHERE taken_by IS NULL;
CREATE INDEX messages_taken ON messages (taken_by) WHERE taken_by IS NOT NULL;

CREATE TABLE bodies (
    id   INTEGER PRIMARY KEY, -- the message's
    body BLOB NOT NULL
) STRICT;
