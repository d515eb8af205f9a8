-- Failures are rows first: what waits for a retry is in the store, so that storing never waits for
-- the broker.

CREATE TABLE retries (
    id           uuid PRIMARY KEY, -- the activity's
    webhook_id   uuid NOT NULL,
    member_email text, -- the member it waits for, if it names one
    reason       text NOT NULL,
    error        text NOT NULL,
    attempt      integer NOT NULL, -- the number of the next attempt
    received_at  timestamptz NOT NULL,
    traceparent  text,
    activity     bytea NOT NULL, -- the sender's JSON
    failed_at    timestamptz NOT NULL,
    due_at       timestamptz NOT NULL,
    lost_claims  integer NOT NULL DEFAULT 0 -- claims that were neither settled nor released
);
CREATE INDEX retries_due_at ON retries (due_at);
CREATE INDEX retries_failed_at ON retries (failed_at);
CREATE INDEX retries_webhook_id ON retries (webhook_id);
CREATE INDEX retries_member_email ON retries (member_email) WHERE member_email IS NOT NULL;

-- A suspected activity is processed alone. The trial is recorded before it begins, so that a crash
-- during it is known.
CREATE TABLE trials (
    activity_id uuid PRIMARY KEY,
    begun       integer NOT NULL, -- trials that began and did not end
    begun_at    timestamptz NOT NULL
);

-- Stores a batch row by row, for a batch of which the store refuses something: one call, and no
-- refused row takes its neighbours with it. The columns are those of the insert in the code.
CREATE FUNCTION insert_activities_one_by_one(
    ids uuid[], content_ids uuid[], replacing boolean[], webhook_ids uuid[], project_ids uuid[],
    member_ids uuid[], external_ids text[], titles text[], descriptions text[],
    start_times timestamptz[], end_times timestamptz[], triggers text[], events text[],
    metadata_texts text[], received_ats timestamptz[]
) RETURNS TABLE (ordinal integer, outcome text, code text, refused_by text)
LANGUAGE plpgsql AS $$
DECLARE
    changed integer;
BEGIN
    FOR ordinal IN 1 .. cardinality(ids) LOOP
        code := NULL;
        refused_by := NULL;
        BEGIN
            INSERT INTO activities (id, content_id, replaces, webhook_id, project_id, member_id,
                                    external_id, title, description, start_time, end_time,
                                    "trigger", event, metadata, received_at)
            SELECT ids[ordinal], content_ids[ordinal], replacing[ordinal], webhook_ids[ordinal],
                   project_ids[ordinal], member_ids[ordinal], external_ids[ordinal],
                   titles[ordinal], descriptions[ordinal], start_times[ordinal],
                   end_times[ordinal], triggers[ordinal], events[ordinal],
                   metadata_texts[ordinal]::jsonb, received_ats[ordinal]
            WHERE NOT EXISTS (SELECT FROM activities a WHERE a.id = ids[ordinal])
            ON CONFLICT (webhook_id, external_id) WHERE external_id IS NOT NULL DO NOTHING;
            GET DIAGNOSTICS changed = ROW_COUNT;
            outcome := CASE changed WHEN 0 THEN 'duplicate' ELSE 'stored' END;
            IF changed = 0 AND replacing[ordinal] AND external_ids[ordinal] IS NOT NULL THEN
                UPDATE activities a
                SET content_id = content_ids[ordinal], replaces = true,
                    project_id = project_ids[ordinal], member_id = member_ids[ordinal],
                    title = titles[ordinal], description = descriptions[ordinal],
                    start_time = start_times[ordinal], end_time = end_times[ordinal],
                    "trigger" = triggers[ordinal], event = events[ordinal],
                    metadata = metadata_texts[ordinal]::jsonb, received_at = received_ats[ordinal]
                WHERE a.webhook_id = webhook_ids[ordinal] AND a.external_id = external_ids[ordinal]
                  AND content_ids[ordinal] NOT IN (a.id, a.content_id)
                  AND (NOT a.replaces OR (a.received_at, a.content_id)
                                         < (received_ats[ordinal], content_ids[ordinal]))
                  AND NOT EXISTS (SELECT FROM activities o WHERE o.id = content_ids[ordinal]);
                GET DIAGNOSTICS changed = ROW_COUNT;
                IF changed > 0 THEN
                    outcome := 'replaced';
                END IF;
            END IF;
        EXCEPTION WHEN OTHERS THEN
            -- Not the message: it may quote the row.
            GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, refused_by = CONSTRAINT_NAME;
            outcome := 'refused';
        END;
        RETURN NEXT;
    END LOOP;
END
$$;
