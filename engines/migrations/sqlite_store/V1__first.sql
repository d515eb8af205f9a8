-- As PostgreSQL's, with SQLite's types: ids are 16 bytes, instants microseconds since 1970.

PRAGMA application_id = 0x5472706B;

CREATE TABLE workspaces (
    id         BLOB PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    ended_at   INTEGER
) STRICT;

CREATE TABLE members (
    id           BLOB PRIMARY KEY,
    workspace_id BLOB NOT NULL REFERENCES workspaces,
    email        TEXT NOT NULL, -- folded once, in Rust
    role         TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
    created_at   INTEGER NOT NULL,
    ended_at     INTEGER,
    UNIQUE (workspace_id, email)
) STRICT;

CREATE TABLE projects (
    id           BLOB PRIMARY KEY,
    workspace_id BLOB NOT NULL REFERENCES workspaces,
    name         TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    ended_at     INTEGER,
    UNIQUE (workspace_id, name)
) STRICT;

CREATE TABLE webhooks (
    id                   BLOB PRIMARY KEY,
    project_id           BLOB NOT NULL REFERENCES projects,
    creator_id           BLOB NOT NULL REFERENCES members,
    name                 TEXT NOT NULL,
    public_id            TEXT NOT NULL UNIQUE,
    secret_hash          BLOB NOT NULL, -- SHA-256; the secret itself is stored nowhere
    previous_secret_hash BLOB,
    previous_valid_until INTEGER,
    created_at           INTEGER NOT NULL,
    revoked_at           INTEGER,
    revision             INTEGER NOT NULL
) STRICT;
CREATE INDEX webhooks_revision ON webhooks (revision);

CREATE TABLE directory_revision (
    only_row INTEGER PRIMARY KEY DEFAULT 1 CHECK (only_row = 1),
    revision INTEGER NOT NULL
) STRICT;
INSERT INTO directory_revision (revision) VALUES (0);

CREATE TABLE activities (
    id          BLOB PRIMARY KEY,
    content_id  BLOB NOT NULL, -- the activity whose content this is; differs once replaced
    replaces    INTEGER NOT NULL, -- whether that activity came with onDuplicate = replace
    webhook_id  BLOB NOT NULL,
    project_id  BLOB NOT NULL,
    member_id   BLOB NOT NULL,
    external_id TEXT,
    title       TEXT NOT NULL,
    description TEXT,
    start_time  INTEGER NOT NULL,
    end_time    INTEGER,
    "trigger"   TEXT,
    event       TEXT,
    metadata    TEXT,
    received_at INTEGER NOT NULL, -- of the content
    stored_at   INTEGER NOT NULL -- of the row
) STRICT;
CREATE UNIQUE INDEX activities_external_id ON activities (webhook_id, external_id)
    WHERE external_id IS NOT NULL;
CREATE INDEX activities_project_time ON activities (project_id, start_time DESC, id);
CREATE INDEX activities_member_time ON activities (member_id, start_time DESC, id);
-- Lists are read in pages of this order, so that no reader holds up a checkpoint.
CREATE INDEX activities_received_at ON activities (received_at DESC, id DESC);

CREATE TABLE dead_letters (
    id          BLOB PRIMARY KEY, -- the activity's
    webhook_id  BLOB, -- none: unreadable
    external_id TEXT,
    received_at INTEGER,
    traceparent TEXT,
    attempts    INTEGER NOT NULL,
    reason      TEXT NOT NULL,
    error       TEXT NOT NULL,
    payload     BLOB NOT NULL,
    dead_at     INTEGER NOT NULL,
    stored_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX dead_letters_dead_at ON dead_letters (dead_at DESC, id DESC);
