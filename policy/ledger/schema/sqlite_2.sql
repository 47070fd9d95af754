-- Version 2: notes of doors. Nothing is decided from them, and the audit knows
-- nothing of them, so that they may be changed and deleted.

CREATE TABLE note (
	scope  TEXT    NOT NULL,
	key    TEXT    NOT NULL,
	rev    INTEGER NOT NULL,
	due_at INTEGER,
	doc    TEXT    NOT NULL,
	PRIMARY KEY (scope, key)
) STRICT;

-- In the order in which they are given; what is never due is not in it.
CREATE INDEX note_due ON note (scope, due_at, key) WHERE due_at IS NOT NULL;

UPDATE schema_version SET version = 2 WHERE one = 1;
