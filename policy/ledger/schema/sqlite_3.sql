-- Version 3: nothing changes here; see postgres_3.sql.

UPDATE schema_version SET version = 3 WHERE one = 1;
