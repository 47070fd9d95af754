-- Version 1. Times are milliseconds since 1970, JSON is text. The truth about a
-- request is doc; the other columns only find it, and the audit's check compares.

CREATE TABLE schema_version (
	one       INTEGER PRIMARY KEY CHECK (one = 1),
	version   INTEGER NOT NULL,
	probed_at INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO schema_version (one, version) VALUES (1, 1);

CREATE TABLE request (
	id          TEXT    NOT NULL PRIMARY KEY,
	rev         INTEGER NOT NULL,
	seq         INTEGER NOT NULL UNIQUE,
	state       TEXT    NOT NULL,
	account     TEXT    NOT NULL,
	server_id   INTEGER NOT NULL,
	server_name TEXT    NOT NULL,
	actor       TEXT    NOT NULL,
	purpose     TEXT    NOT NULL,
	aim         TEXT    NOT NULL,
	begun       INTEGER,
	due_at      INTEGER,
	ended_at    INTEGER,
	doc         TEXT    NOT NULL
) STRICT;

-- Only what is open is looked at before anything is asked, decided or started;
-- what is closed only grows.
CREATE INDEX request_open ON request (account, actor, purpose)
	WHERE state IN ('held', 'approved', 'running', 'uncertain');
CREATE INDEX request_server ON request (server_id, seq)
	WHERE state IN ('held', 'approved', 'running', 'uncertain');
CREATE INDEX request_due ON request (account, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX request_begun ON request (server_id, begun) WHERE begun IS NOT NULL;
CREATE INDEX request_purpose ON request (purpose, ended_at);
CREATE INDEX request_aim ON request (aim, ended_at);
-- Partial by what is always true, so that only the question that says so uses it
-- and the others keep to the index of what is open.
CREATE INDEX request_actor ON request (account, actor, seq) WHERE rev > 0;
-- Lists and totals are read from this one alone.
CREATE INDEX request_list ON request (seq, state, account, server_id, server_name);

CREATE TABLE audit_record (
	seq  INTEGER NOT NULL PRIMARY KEY,
	body TEXT    NOT NULL,
	prev TEXT    NOT NULL UNIQUE,
	hash TEXT    NOT NULL
) STRICT;

CREATE TABLE audit_head (
	one  INTEGER PRIMARY KEY CHECK (one = 1),
	seq  INTEGER NOT NULL,
	hash TEXT    NOT NULL
) STRICT;
INSERT INTO audit_head (one, seq, hash) VALUES (1, 0, '');

CREATE TABLE setting (
	name  TEXT NOT NULL PRIMARY KEY,
	value TEXT NOT NULL
) STRICT;

CREATE TRIGGER audit_record_update BEFORE UPDATE ON audit_record
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
CREATE TRIGGER audit_record_delete BEFORE DELETE ON audit_record
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
-- INSERT OR REPLACE deletes without the trigger above.
CREATE TRIGGER audit_record_replace BEFORE INSERT ON audit_record
WHEN EXISTS (SELECT 1 FROM audit_record WHERE seq >= NEW.seq OR prev = NEW.prev)
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
CREATE TRIGGER audit_head_delete BEFORE DELETE ON audit_head
BEGIN SELECT RAISE(ABORT, 'the audit has a head'); END;
CREATE TRIGGER request_delete BEFORE DELETE ON request
BEGIN SELECT RAISE(ABORT, 'requests are kept'); END;
