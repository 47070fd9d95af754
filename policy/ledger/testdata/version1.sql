-- A whole ledger of version 1, as the build before version 2 made it: seven records,
-- the last with the hash d0429e2ad7b610c4b684a3d169ddae5c4e2aa440d9f15ed1df747ab7010474b6.

PRAGMA application_id = 1987081063;

CREATE TABLE schema_version (
	one       INTEGER PRIMARY KEY CHECK (one = 1),
	version   INTEGER NOT NULL,
	probed_at INTEGER NOT NULL DEFAULT 0
) STRICT;

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

CREATE TABLE setting (
	name  TEXT NOT NULL PRIMARY KEY,
	value TEXT NOT NULL
) STRICT;

CREATE TABLE river_leader (
    elected_at timestamp NOT NULL,
    expires_at timestamp NOT NULL,
    leader_id text NOT NULL,
    name text PRIMARY KEY NOT NULL DEFAULT 'default' CHECK (name = 'default'),
    CONSTRAINT name_length CHECK (length(name) > 0 AND length(name) < 128),
    CONSTRAINT leader_id_length CHECK (length(leader_id) > 0 AND length(leader_id) < 128)
);

CREATE TABLE river_migration (
    line text NOT NULL,
    version integer NOT NULL,
    created_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT line_length CHECK (length(line) > 0 AND length(line) < 128),
    CONSTRAINT version_gte_1 CHECK (version >= 1),
    PRIMARY KEY (line, version)
);

CREATE TABLE river_notification (
    id integer PRIMARY KEY AUTOINCREMENT,
    created_at timestamp NOT NULL DEFAULT (datetime('now', 'subsec')),
    payload text NOT NULL,
    topic text NOT NULL,
    CONSTRAINT topic_length CHECK (length(topic) > 0 AND length(topic) < 128)
);

CREATE TABLE river_job (
    id integer PRIMARY KEY, -- SQLite makes this autoincrementing automatically
    args blob NOT NULL DEFAULT (jsonb('{}')),
    attempt integer NOT NULL DEFAULT 0,
    attempted_at timestamp,
    attempted_by blob, -- json
    created_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
    errors blob, -- json
    finalized_at timestamp,
    kind text NOT NULL,
    metadata blob NOT NULL DEFAULT (jsonb('{}')),
    priority integer NOT NULL DEFAULT 1,
    queue text NOT NULL DEFAULT 'default',
    state text NOT NULL DEFAULT 'available',
    scheduled_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
    tags blob NOT NULL DEFAULT (jsonb('[]')),
    unique_key blob,
    unique_states integer, max_attempts integer NOT NULL DEFAULT 25,
    CONSTRAINT finalized_or_finalized_at_null CHECK (
        (finalized_at IS NULL AND state NOT IN ('cancelled', 'completed', 'discarded')) OR
        (finalized_at IS NOT NULL AND state IN ('cancelled', 'completed', 'discarded'))
    ),
    CONSTRAINT priority_in_range CHECK (priority >= 1 AND priority <= 4),
    CONSTRAINT queue_length CHECK (length(queue) > 0 AND length(queue) < 128),
    CONSTRAINT kind_length CHECK (length(kind) > 0 AND length(kind) < 128),
    CONSTRAINT state_valid CHECK (state IN ('available', 'cancelled', 'completed', 'discarded', 'pending', 'retryable', 'running', 'scheduled'))
);

CREATE TABLE river_queue (
    name text PRIMARY KEY NOT NULL,
    created_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
    metadata blob NOT NULL DEFAULT (jsonb('{}')),
    paused_at timestamp,
    updated_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP
);

INSERT INTO schema_version VALUES (1, 1, 0);
INSERT INTO request VALUES ('rq_222222', 1, 1, 'held', '{"url":"https://api.vps.test/v1","owner":"ops@example.test"}', 12345, 'web-12345', 'mcp:agent', 'purpose of rq_222222', 'aim of rq_222222', NULL, 1737154864250, NULL, '{"id":"rq_222222","rev":1,"seq":1,"actor":{"door":"mcp","subject":"agent","name":"agent","client":"example-client 1.0","vouched":"test"},"account":{"url":"https://api.vps.test/v1","owner":"ops@example.test"},"operation":"restore_snapshot","effect":"overwrite","arguments":{"server":"web-12345","snapshot_id":801,"reason":"roll back"},"reason":"roll back","plan":{"summary":"restore snapshot 801 \"nightly-801\" over web-12345 (12345)","server":{"id":12345,"name":"web-12345","ip":"192.0.2.10","status":"active","alone":true},"target":{"kind":"snapshot","id":801,"name":"nightly-801","created_at":"2025-01-15T18:31:04Z","size_mb":2048,"status":"completed"},"last_good":false,"safety_copy":"snapshot","losses":["everything written to web-12345 since 2025-01-15 18:31 UTC"],"steps":[{"name":"safety_copy","effect":"create","within":1800000000000},{"name":"restore_snapshot","effect":"overwrite","within":3600000000000}],"made_at":"2025-01-17T22:31:04.25Z","account":{"url":"https://api.vps.test/v1","owner":"ops@example.test"},"operation":"restore_snapshot","effect":"overwrite","digest":"42c796735bc88808c4615c86de643952e9284bad69e78ecdc18121b94349d276"},"planned":0,"mark":"m2345678","conditions":{"approvals":1,"ways":["slack","terminal"]},"state":"held","steps":[{"name":"safety_copy","effect":"create","within":1800000000000,"state":"waiting"},{"name":"restore_snapshot","effect":"overwrite","within":3600000000000,"state":"waiting"}],"fence":0,"purpose":"purpose of rq_222222","aim":"aim of rq_222222","filed_at":"2025-01-17T22:31:04.25Z","approve_by":"2025-01-17T23:01:04.25Z","due_at":"2025-01-17T23:01:04.25Z"}');
INSERT INTO request VALUES ('rq_333333', 2, 2, 'done', '{"url":"https://api.vps.test/v1","owner":"ops@example.test"}', 12345, 'web-12345', 'mcp:agent', 'purpose of rq_333333', 'aim of rq_333333', 4, 1737154864250, 1737153064250, '{"id":"rq_333333","rev":2,"seq":2,"actor":{"door":"mcp","subject":"agent","name":"agent","client":"example-client 1.0","vouched":"test"},"account":{"url":"https://api.vps.test/v1","owner":"ops@example.test"},"operation":"restore_snapshot","effect":"overwrite","arguments":{"server":"web-12345","snapshot_id":801,"reason":"roll back"},"reason":"roll back","plan":{"summary":"restore snapshot 801 \"nightly-801\" over web-12345 (12345)","server":{"id":12345,"name":"web-12345","ip":"192.0.2.10","status":"active","alone":true},"target":{"kind":"snapshot","id":801,"name":"nightly-801","created_at":"2025-01-15T18:31:04Z","size_mb":2048,"status":"completed"},"last_good":false,"safety_copy":"snapshot","losses":["everything written to web-12345 since 2025-01-15 18:31 UTC"],"steps":[{"name":"safety_copy","effect":"create","within":1800000000000},{"name":"restore_snapshot","effect":"overwrite","within":3600000000000}],"made_at":"2025-01-17T22:31:04.25Z","account":{"url":"https://api.vps.test/v1","owner":"ops@example.test"},"operation":"restore_snapshot","effect":"overwrite","digest":"42c796735bc88808c4615c86de643952e9284bad69e78ecdc18121b94349d276"},"planned":0,"mark":"m2345678","conditions":{"approvals":1,"ways":["slack","terminal"]},"state":"done","steps":[{"name":"safety_copy","effect":"create","within":1800000000000,"state":"waiting"},{"name":"restore_snapshot","effect":"overwrite","within":3600000000000,"state":"waiting"}],"begun":4,"fence":0,"purpose":"purpose of rq_333333","aim":"aim of rq_333333","filed_at":"2025-01-17T22:31:04.25Z","approve_by":"2025-01-17T23:01:04.25Z","due_at":"2025-01-17T23:01:04.25Z","ended_at":"2025-01-17T22:31:04.25Z"}');
INSERT INTO request VALUES ('rq_444444', 1, 3, 'held', '{"url":"https://api.vps.test/v1","owner":"ops@example.test"}', 12345, 'web-12345', 'mcp:agent', 'purpose of rq_444444', 'aim of rq_444444', NULL, 1737154864250, NULL, '{"id":"rq_444444","rev":1,"seq":3,"actor":{"door":"mcp","subject":"agent","name":"agent","client":"example-client 1.0","vouched":"test"},"account":{"url":"https://api.vps.test/v1","owner":"ops@example.test"},"operation":"restore_snapshot","effect":"overwrite","arguments":{"server":"web-12345","snapshot_id":801,"reason":"roll back"},"reason":"roll back","plan":{"summary":"restore snapshot 801 \"nightly-801\" over web-12345 (12345)","server":{"id":12345,"name":"web-12345","ip":"192.0.2.10","status":"active","alone":true},"target":{"kind":"snapshot","id":801,"name":"nightly-801","created_at":"2025-01-15T18:31:04Z","size_mb":2048,"status":"completed"},"last_good":false,"safety_copy":"snapshot","losses":["everything written to web-12345 since 2025-01-15 18:31 UTC"],"steps":[{"name":"safety_copy","effect":"create","within":1800000000000},{"name":"restore_snapshot","effect":"overwrite","within":3600000000000}],"made_at":"2025-01-17T22:31:04.25Z","account":{"url":"https://api.vps.test/v1","owner":"ops@example.test"},"operation":"restore_snapshot","effect":"overwrite","digest":"42c796735bc88808c4615c86de643952e9284bad69e78ecdc18121b94349d276"},"planned":0,"mark":"m2345678","conditions":{"approvals":1,"ways":["slack","terminal"]},"state":"held","steps":[{"name":"safety_copy","effect":"create","within":1800000000000,"state":"waiting"},{"name":"restore_snapshot","effect":"overwrite","within":3600000000000,"state":"waiting"}],"fence":0,"purpose":"purpose of rq_444444","aim":"aim of rq_444444","filed_at":"2025-01-17T22:31:04.25Z","approve_by":"2025-01-17T23:01:04.25Z","due_at":"2025-01-17T23:01:04.25Z"}');
INSERT INTO audit_record VALUES (1, '{"seq":1,"at":"2025-01-17T22:31:04.25Z","event":"request.held","by":{"door":"mcp","subject":"agent","name":"agent","client":"example-client 1.0","vouched":"test"},"request":"rq_222222","rev":1,"to":"held","digest":"42c796735bc88808c4615c86de643952e9284bad69e78ecdc18121b94349d276","row":"61b47983eca5d60c36d2acb9382b6f78661f4a228cace9d91a4bb6b2fef5e2fa","detail":{"plan":"restore snapshot 801 \"nightly-801\" over web-12345 (12345)"}}', '', 'dd91ea6efc3276d61b2d993848fe4ad024d617e1e73705bd84a28b212bab3d80');
INSERT INTO audit_record VALUES (2, '{"seq":2,"at":"2025-01-17T22:31:04.25Z","event":"request.held","by":{"door":"mcp","subject":"agent","name":"agent","client":"example-client 1.0","vouched":"test"},"request":"rq_333333","rev":1,"to":"held","digest":"42c796735bc88808c4615c86de643952e9284bad69e78ecdc18121b94349d276","row":"bd7785258bf4da07fec63c7aeeb4282bb11a0b4d994828e809b26e35b9c58b43","detail":{"plan":"restore snapshot 801 \"nightly-801\" over web-12345 (12345)"}}', 'dd91ea6efc3276d61b2d993848fe4ad024d617e1e73705bd84a28b212bab3d80', '1cbf1dbd918ac573dab7d93ca8b6022f3a0fb41a8dce8d0592f12377c9d8a7db');
INSERT INTO audit_record VALUES (3, '{"seq":3,"at":"2025-01-17T22:31:04.25Z","event":"request.held","by":{"door":"mcp","subject":"agent","name":"agent","client":"example-client 1.0","vouched":"test"},"request":"rq_444444","rev":1,"to":"held","digest":"42c796735bc88808c4615c86de643952e9284bad69e78ecdc18121b94349d276","row":"34c1bf88e72a0f94ed3ecf6c6639ecdc90f7e1472237d179e32ed0fa32b309b3","detail":{"plan":"restore snapshot 801 \"nightly-801\" over web-12345 (12345)"}}', '1cbf1dbd918ac573dab7d93ca8b6022f3a0fb41a8dce8d0592f12377c9d8a7db', '5f672ac821f7279f4d573629906a6bbeb368db0ac6c11df431f420fc87ca1802');
INSERT INTO audit_record VALUES (4, '{"seq":4,"at":"2025-01-17T22:31:04.25Z","event":"request.held","by":{"door":"mcp","subject":"agent","name":"agent","client":"example-client 1.0","vouched":"test"},"request":"rq_333333","rev":2,"to":"held","digest":"42c796735bc88808c4615c86de643952e9284bad69e78ecdc18121b94349d276","row":"9007aee992bd1946c9edd31240b151b2aca4ced9ae9e2fd903667b1fb6bd4f01","detail":{"plan":"restore snapshot 801 \"nightly-801\" over web-12345 (12345)"}}', '5f672ac821f7279f4d573629906a6bbeb368db0ac6c11df431f420fc87ca1802', 'a97f7de6902d6cf8cad46bf3e831525ec0dba58f9620ef50734f0e4405ee2b7c');
INSERT INTO audit_record VALUES (5, '{"seq":5,"at":"2025-01-17T22:31:04.25Z","event":"passphrase.set","by":{"door":"","subject":"","name":"","vouched":""},"row":"a19919f0fbe94f8ed826ad8163b4f70a644a79bae0460fef1e53736d20a8a4c2","detail":{"setting":"passphrase"}}', 'a97f7de6902d6cf8cad46bf3e831525ec0dba58f9620ef50734f0e4405ee2b7c', '823b487a501bf83b08fcb14450d94b93e50582c1c4dc19494ab5f7820136f0a3');
INSERT INTO audit_record VALUES (6, '{"seq":6,"at":"2025-01-17T22:31:04.25Z","event":"test.refused","by":{"door":"","subject":"","name":"","vouched":""},"request":"rq_222222","row":"61b47983eca5d60c36d2acb9382b6f78661f4a228cace9d91a4bb6b2fef5e2fa"}', '823b487a501bf83b08fcb14450d94b93e50582c1c4dc19494ab5f7820136f0a3', 'd262b8409d296a8c01134d2255669ffceef2a8d36dedeb2459b1444eee3e4e0c');
INSERT INTO audit_record VALUES (7, '{"seq":7,"at":"2025-01-17T22:31:04.25Z","event":"test.refused","by":{"door":"","subject":"","name":"","vouched":""},"request":"rq_unknown"}', 'd262b8409d296a8c01134d2255669ffceef2a8d36dedeb2459b1444eee3e4e0c', 'd0429e2ad7b610c4b684a3d169ddae5c4e2aa440d9f15ed1df747ab7010474b6');
INSERT INTO audit_head VALUES (1, 7, 'd0429e2ad7b610c4b684a3d169ddae5c4e2aa440d9f15ed1df747ab7010474b6');
INSERT INTO setting VALUES ('passphrase', 'hash');
INSERT INTO river_migration VALUES ('main', 1, '2026-11-21 09:34:20');
INSERT INTO river_migration VALUES ('main', 2, '2026-11-21 09:34:20');
INSERT INTO river_migration VALUES ('main', 3, '2026-11-21 09:34:20');
INSERT INTO river_migration VALUES ('main', 4, '2026-11-21 09:34:20');
INSERT INTO river_migration VALUES ('main', 5, '2026-11-21 09:34:20');
INSERT INTO river_migration VALUES ('main', 6, '2026-11-21 09:34:20');
INSERT INTO river_migration VALUES ('main', 7, '2026-11-21 09:34:20');
INSERT INTO river_notification VALUES (1, '2026-11-21 09:34:20.191', '{"queue": "account_307e50e4231f5b1cc269942608961cd3"}', 'river_insert');
INSERT INTO river_job VALUES (1, X'CC1277726571756573749772715F323232323232', 0, NULL, NULL, '2025-01-17 22:31:04.250', NULL, NULL, 'advance', X'CC26C71272697665723A756E697175655F6E6F6E6365C71066373933373736626338323638656134', 1, 'account_307e50e4231f5b1cc269942608961cd3', 'available', '2025-01-17 22:31:04.250', X'0B', NULL, NULL, 25);

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

CREATE TRIGGER audit_record_update BEFORE UPDATE ON audit_record
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;

CREATE TRIGGER audit_record_delete BEFORE DELETE ON audit_record
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;

CREATE TRIGGER audit_record_replace BEFORE INSERT ON audit_record
WHEN EXISTS (SELECT 1 FROM audit_record WHERE seq >= NEW.seq OR prev = NEW.prev)
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;

CREATE TRIGGER audit_head_delete BEFORE DELETE ON audit_head
BEGIN SELECT RAISE(ABORT, 'the audit has a head'); END;

CREATE TRIGGER request_delete BEFORE DELETE ON request
BEGIN SELECT RAISE(ABORT, 'requests are kept'); END;

CREATE INDEX river_notification_created_at_idx ON river_notification (created_at);

CREATE INDEX river_notification_topic_id_idx ON river_notification (topic, id);

CREATE INDEX river_job_kind ON river_job (kind);

CREATE INDEX river_job_state_and_finalized_at_index ON river_job (state, finalized_at) WHERE finalized_at IS NOT NULL;

CREATE INDEX river_job_prioritized_fetching_index ON river_job (state, queue, priority, scheduled_at, id);

CREATE UNIQUE INDEX river_job_unique_idx ON river_job (unique_key)
    WHERE unique_key IS NOT NULL
        AND unique_states IS NOT NULL
        AND CASE state
            WHEN 'available' THEN unique_states & (1 << 0)
            WHEN 'cancelled' THEN unique_states & (1 << 1)
            WHEN 'completed' THEN unique_states & (1 << 2)
            WHEN 'discarded' THEN unique_states & (1 << 3)
            WHEN 'pending'   THEN unique_states & (1 << 4)
            WHEN 'retryable' THEN unique_states & (1 << 5)
            WHEN 'running'   THEN unique_states & (1 << 6)
            WHEN 'scheduled' THEN unique_states & (1 << 7)
            ELSE 0
        END >= 1;
