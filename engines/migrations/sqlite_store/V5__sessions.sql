-- A session that a one-time link began may set a password without the current one: who has the link
-- may have forgotten it.
ALTER TABLE sessions ADD COLUMN by_link INTEGER NOT NULL DEFAULT 0;
