-- Version 2, as in sqlite_2.sql: notes of doors.

CREATE TABLE note (
	scope  TEXT COLLATE "C" NOT NULL,
	key    TEXT COLLATE "C" NOT NULL,
	rev    BIGINT           NOT NULL,
	due_at BIGINT,
	doc    TEXT COLLATE "C" NOT NULL,
	PRIMARY KEY (scope, key)
);

CREATE INDEX note_due ON note (scope, due_at, key) WHERE due_at IS NOT NULL;

UPDATE schema_version SET version = 2 WHERE one = 1;
