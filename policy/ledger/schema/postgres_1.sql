-- Version 1, as in sqlite_1.sql. Texts are compared byte by byte, as there, and
-- JSON is text, since what is hashed has to come back as it was.

CREATE TABLE schema_version (
	one       INTEGER PRIMARY KEY CHECK (one = 1),
	version   INTEGER NOT NULL,
	probed_at BIGINT  NOT NULL DEFAULT 0
);
COMMENT ON TABLE schema_version IS 'vpsguard ledger';
INSERT INTO schema_version (one, version) VALUES (1, 1);

CREATE TABLE request (
	id          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	rev         BIGINT           NOT NULL,
	seq         BIGINT           NOT NULL UNIQUE,
	state       TEXT COLLATE "C" NOT NULL,
	account     TEXT COLLATE "C" NOT NULL,
	server_id   BIGINT           NOT NULL,
	server_name TEXT COLLATE "C" NOT NULL,
	actor       TEXT COLLATE "C" NOT NULL,
	purpose     TEXT COLLATE "C" NOT NULL,
	aim         TEXT COLLATE "C" NOT NULL,
	begun       BIGINT,
	due_at      BIGINT,
	ended_at    BIGINT,
	doc         TEXT COLLATE "C" NOT NULL
);

CREATE INDEX request_open ON request (account, actor, purpose)
	WHERE state IN ('held', 'approved', 'running', 'uncertain');
CREATE INDEX request_server ON request (server_id, seq)
	WHERE state IN ('held', 'approved', 'running', 'uncertain');
CREATE INDEX request_due ON request (account, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX request_begun ON request (server_id, begun) WHERE begun IS NOT NULL;
CREATE INDEX request_purpose ON request (purpose, ended_at);
CREATE INDEX request_aim ON request (aim, ended_at);
CREATE INDEX request_actor ON request (account, actor, seq) WHERE rev > 0;
CREATE INDEX request_list ON request (seq, state, account, server_id, server_name);

CREATE TABLE audit_record (
	seq  BIGINT           NOT NULL PRIMARY KEY,
	body TEXT COLLATE "C" NOT NULL,
	prev TEXT COLLATE "C" NOT NULL UNIQUE,
	hash TEXT COLLATE "C" NOT NULL
);

CREATE TABLE audit_head (
	one  INTEGER PRIMARY KEY CHECK (one = 1),
	seq  BIGINT           NOT NULL,
	hash TEXT COLLATE "C" NOT NULL
);
INSERT INTO audit_head (one, seq, hash) VALUES (1, 0, '');

CREATE TABLE setting (
	name  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	value TEXT COLLATE "C" NOT NULL
);

CREATE FUNCTION audit_is_kept() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the audit is append-only, and requests are kept'; END $$;

CREATE TRIGGER audit_record_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_record
	FOR EACH STATEMENT EXECUTE FUNCTION audit_is_kept();
CREATE TRIGGER audit_head_kept BEFORE DELETE OR TRUNCATE ON audit_head
	FOR EACH STATEMENT EXECUTE FUNCTION audit_is_kept();
CREATE TRIGGER request_kept BEFORE DELETE OR TRUNCATE ON request
	FOR EACH STATEMENT EXECUTE FUNCTION audit_is_kept();

-- A record comes behind all others.
CREATE FUNCTION audit_is_appended() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN
	IF EXISTS (SELECT 1 FROM audit_record WHERE seq >= NEW.seq) THEN
		RAISE EXCEPTION 'the audit is append-only';
	END IF;
	RETURN NEW;
END $$;
CREATE TRIGGER audit_record_appended BEFORE INSERT ON audit_record
	FOR EACH ROW EXECUTE FUNCTION audit_is_appended();
