-- Whether a dead letter's activity may replace what is there, and indexes for what people ask.

ALTER TABLE dead_letters ADD COLUMN replaces INTEGER; -- none: kept by a version that did not say

-- Lists and counts of open ones do not walk over those that were dealt with.
CREATE INDEX dead_letters_open ON dead_letters (dead_at DESC, id DESC)
    WHERE replayed_at IS NULL AND discarded_at IS NULL;
-- Retention asks which of them an activity settles.
CREATE INDEX dead_letters_external_id ON dead_letters (webhook_id, external_id)
    WHERE external_id IS NOT NULL;

-- Settled: the activity is stored, from this copy or another, or a replay would change nothing. One
-- that does not replace leaves any row of its key as it is; one that does loses only to one that
-- replaces too and is newer (see the store's guarded UPDATE).
DROP VIEW dead_letter_states;
CREATE VIEW dead_letter_states AS
SELECT d.*,
       EXISTS (SELECT 1 FROM activities a WHERE a.id = d.id)
       OR EXISTS (SELECT 1 FROM activities a
                  WHERE a.webhook_id = d.webhook_id AND a.external_id = d.external_id
                    AND (a.content_id = d.id OR d.replaces IS FALSE
                         OR ((a.replaces OR d.replaces IS NULL)
                             AND (a.received_at, a.content_id) >= (d.received_at, d.id)))) AS settled
FROM dead_letters d;
