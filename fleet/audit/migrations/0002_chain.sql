-- Links a line to the chain while its transaction commits. The lock is the server's own matter from here to the end of
-- the commit: no client holds it. `fleet.audit.chain` computes the same digest.
CREATE FUNCTION audit_link_line() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    last record;
    here bigint;
    before text;
BEGIN
    PERFORM pg_advisory_xact_lock(1179403617, 1);
    SELECT number, digest INTO last FROM audit_auditlink ORDER BY number DESC LIMIT 1;
    here := coalesce(last.number, 0) + 1;
    before := coalesce(last.digest, '');
    INSERT INTO audit_auditlink (number, event_id, previous, digest) VALUES (
        here, NEW.id, before,
        encode(sha256(convert_to(before || E'\n' || jsonb_build_array(
            here, NEW.id, to_char(NEW.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
            NEW.person_id, NEW.who, NEW.token_id, NEW.address, NEW.action, NEW.subject, NEW.details
        )::text, 'UTF8')), 'hex')
    );
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER audit_is_chained AFTER INSERT ON audit_auditevent
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audit_link_line();

CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % is refused: the audit is only ever added to', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE TRIGGER audit_refuses_change BEFORE UPDATE OR DELETE ON audit_auditevent
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_refuses_change BEFORE UPDATE OR DELETE ON audit_auditlink
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_refuses_truncate BEFORE TRUNCATE ON audit_auditevent
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_refuses_truncate BEFORE TRUNCATE ON audit_auditlink
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
