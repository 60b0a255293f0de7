-- The role of the gateways, the exposed tier: what agents' enrollment and carves need, and nothing else. It reads no
-- answers, no accounts, no tokens. Run it as the owner of the tables (who may create roles) after each `migrate`; safe to
-- run again:
--   psql "$DATABASE_URL" -v ON_ERROR_STOP=1 -v password="$GATEWAY_POSTGRES_PASSWORD" -f docker/gateway-role.sql
\set QUIET on
SELECT 'CREATE ROLE fleet_gateway' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'fleet_gateway') \gexec
ALTER ROLE fleet_gateway LOGIN NOINHERIT PASSWORD :'password';
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM fleet_gateway;
GRANT USAGE ON SCHEMA public TO fleet_gateway;

-- Enrollment. A secret with a quota is locked while its hosts are counted: a lock wants the right to update a column.
GRANT SELECT ON agents_installation, agents_enrollsecret, agents_enrollsecret_labels, agents_label,
    agents_housekeepingquery, agents_configdocument TO fleet_gateway;
GRANT UPDATE (created_at) ON agents_enrollsecret TO fleet_gateway;
GRANT SELECT, INSERT, UPDATE ON agents_host, agents_presence TO fleet_gateway;
GRANT SELECT, INSERT, DELETE ON agents_labelmembership TO fleet_gateway;

-- Carves: of campaigns only whether one that asks for carves still waits for this host's answer.
GRANT SELECT, INSERT, UPDATE ON agents_carve TO fleet_gateway;
GRANT SELECT, INSERT ON agents_carveblock TO fleet_gateway;
GRANT SELECT (id, status, ended_at, sql) ON campaigns_campaign TO fleet_gateway;
GRANT SELECT (id, campaign_id, host_id, state) ON campaigns_target TO fleet_gateway;
