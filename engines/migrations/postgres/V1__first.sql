-- Workspaces, projects, webhooks, members; activities; dead letters.
-- Nothing is ever hard-deleted here: what ends gets an end, because activities that were accepted
-- before it are still stored.

CREATE TABLE workspaces (
    id         uuid PRIMARY KEY,
    name       text NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    ended_at   timestamptz
);

CREATE TABLE members (
    id           uuid PRIMARY KEY,
    workspace_id uuid NOT NULL REFERENCES workspaces,
    email        text NOT NULL, -- folded once, in Rust
    role         text NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
    created_at   timestamptz NOT NULL DEFAULT now(),
    ended_at     timestamptz,
    UNIQUE (workspace_id, email)
);

CREATE TABLE projects (
    id           uuid PRIMARY KEY,
    workspace_id uuid NOT NULL REFERENCES workspaces,
    name         text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    ended_at     timestamptz,
    UNIQUE (workspace_id, name)
);

CREATE TABLE webhooks (
    id                   uuid PRIMARY KEY,
    project_id           uuid NOT NULL REFERENCES projects,
    creator_id           uuid NOT NULL REFERENCES members,
    name                 text NOT NULL,
    public_id            text NOT NULL UNIQUE,
    secret_hash          bytea NOT NULL, -- SHA-256; the secret itself is stored nowhere
    previous_secret_hash bytea,
    previous_valid_until timestamptz,
    created_at           timestamptz NOT NULL DEFAULT now(),
    revoked_at           timestamptz,
    revision             bigint NOT NULL
);
CREATE INDEX webhooks_revision ON webhooks (revision);

-- Each change of a webhook takes the next value in its own transaction. A row, not a sequence: its
-- lock makes the order of values the order of commits, so a gateway that has seen n misses nothing
-- below n.
CREATE TABLE directory_revision (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    revision bigint NOT NULL
);
INSERT INTO directory_revision (revision) VALUES (0);

-- No foreign keys: nothing is hard-deleted, the worker has just looked the ids up, and a check for
-- each row would cost more than the insert.
CREATE TABLE activities (
    id          uuid PRIMARY KEY,
    content_id  uuid NOT NULL, -- the activity whose content this is; differs once replaced
    replaces    boolean NOT NULL, -- whether that activity came with onDuplicate = replace
    webhook_id  uuid NOT NULL,
    project_id  uuid NOT NULL,
    member_id   uuid NOT NULL,
    external_id text,
    title       text NOT NULL,
    description text,
    start_time  timestamptz NOT NULL,
    end_time    timestamptz,
    "trigger"   text,
    event       text,
    metadata    jsonb,
    received_at timestamptz NOT NULL, -- of the content
    stored_at   timestamptz NOT NULL DEFAULT now() -- of the row
);
CREATE UNIQUE INDEX activities_external_id ON activities (webhook_id, external_id)
    WHERE external_id IS NOT NULL;
CREATE INDEX activities_project_time ON activities (project_id, start_time DESC, id);
CREATE INDEX activities_member_time ON activities (member_id, start_time DESC, id);

CREATE TABLE dead_letters (
    id          uuid PRIMARY KEY, -- the activity's
    webhook_id  uuid, -- none: unreadable
    external_id text,
    received_at timestamptz,
    traceparent text,
    attempts    integer NOT NULL,
    reason      text NOT NULL,
    error       text NOT NULL,
    payload     bytea NOT NULL,
    dead_at     timestamptz NOT NULL,
    stored_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX dead_letters_dead_at ON dead_letters (dead_at DESC, id);
