-- Version 4, as in sqlite_4.sql.

ALTER TABLE schema_version ADD COLUMN oldest INTEGER NOT NULL DEFAULT 4;

UPDATE schema_version SET version = 4 WHERE one = 1;
