-- Version 4: the oldest version of a program that may use the tables as they are. A later
-- version that such programs can work with leaves it as it is; one that they would
-- do harm to, or misread, raises it, which stops those that are running too.

ALTER TABLE schema_version ADD COLUMN oldest INTEGER NOT NULL DEFAULT 4;

UPDATE schema_version SET version = 4 WHERE one = 1;
