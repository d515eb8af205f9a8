-- Sign-in, traffic, and lists by the time of receipt.

ALTER TABLE members ADD COLUMN password_hash TEXT; -- argon2id, as a PHC string

CREATE TABLE invitations (
    link_hash   BLOB PRIMARY KEY, -- SHA-256; the link itself is stored nowhere
    member_id   BLOB NOT NULL REFERENCES members,
    valid_until INTEGER NOT NULL
) STRICT;
CREATE INDEX invitations_member ON invitations (member_id);

CREATE TABLE sessions (
    session_hash BLOB PRIMARY KEY, -- SHA-256, as above
    member_id    BLOB NOT NULL REFERENCES members,
    valid_until  INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_member ON sessions (member_id);

CREATE TABLE webhook_traffic (
    webhook_id BLOB NOT NULL,
    span       INTEGER NOT NULL, -- its beginning
    accepted   INTEGER NOT NULL,
    refused    INTEGER NOT NULL,
    stored     INTEGER NOT NULL,
    dead       INTEGER NOT NULL,
    PRIMARY KEY (webhook_id, span)
) STRICT, WITHOUT ROWID;

CREATE TABLE refused_requests (
    id         INTEGER PRIMARY KEY,
    webhook_id BLOB NOT NULL,
    at         INTEGER NOT NULL,
    problem    TEXT NOT NULL -- what the sender was told; nothing of what it sent
) STRICT;
CREATE INDEX refused_requests_webhook ON refused_requests (webhook_id, at DESC, id DESC);

-- People read lists by when a thing came; nobody read them by when it started.
DROP INDEX activities_project_time;
DROP INDEX activities_member_time;
CREATE INDEX activities_project_received ON activities (project_id, received_at DESC, id DESC);
CREATE INDEX activities_member_received ON activities (member_id, received_at DESC, id DESC);
CREATE INDEX activities_webhook_received ON activities (webhook_id, received_at DESC, id DESC);
