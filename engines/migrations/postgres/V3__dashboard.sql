-- Sign-in, traffic, and lists by the time of receipt.

ALTER TABLE members ADD COLUMN password_hash text; -- argon2id, as a PHC string

CREATE TABLE invitations (
    link_hash   bytea PRIMARY KEY, -- SHA-256; the link itself is stored nowhere
    member_id   uuid NOT NULL REFERENCES members,
    valid_until timestamptz NOT NULL
);
CREATE INDEX invitations_member ON invitations (member_id);

CREATE TABLE sessions (
    session_hash bytea PRIMARY KEY, -- SHA-256, as above
    member_id    uuid NOT NULL REFERENCES members,
    valid_until  timestamptz NOT NULL
);
CREATE INDEX sessions_member ON sessions (member_id);

CREATE TABLE webhook_traffic (
    webhook_id uuid NOT NULL,
    span       timestamptz NOT NULL, -- its beginning
    accepted   integer NOT NULL,
    refused    integer NOT NULL,
    stored     integer NOT NULL,
    dead       integer NOT NULL,
    PRIMARY KEY (webhook_id, span)
);

CREATE TABLE refused_requests (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    webhook_id uuid NOT NULL,
    at         timestamptz NOT NULL,
    problem    text NOT NULL -- what the sender was told; nothing of what it sent
);
CREATE INDEX refused_requests_webhook ON refused_requests (webhook_id, at DESC, id DESC);

-- People read lists by when a thing came; nobody read them by when it started.
DROP INDEX activities_project_time;
DROP INDEX activities_member_time;
CREATE INDEX activities_project_received ON activities (project_id, received_at DESC, id DESC);
CREATE INDEX activities_member_received ON activities (member_id, received_at DESC, id DESC);
CREATE INDEX activities_webhook_received ON activities (webhook_id, received_at DESC, id DESC);
