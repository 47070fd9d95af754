-- Version 3: a record is compared with the last one alone. EXISTS was planned once in
-- a session, by how long the audit was then: begun on an empty one, as a copy is, it
-- read the whole audit for each record. The largest key is read from its end always.

CREATE OR REPLACE FUNCTION audit_is_appended() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN
	IF NEW.seq <= (SELECT max(seq) FROM audit_record) THEN
		RAISE EXCEPTION 'the audit is append-only';
	END IF;
	RETURN NEW;
END $$;

UPDATE schema_version SET version = 3 WHERE one = 1;
