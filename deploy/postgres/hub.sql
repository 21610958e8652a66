-- The hub's role and database, and no password for the superuser: from now on that one logs in inside this container only (peer).
-- PostgreSQL's image runs it once, with an empty data folder. Harmless when run again, which takes up another password (docs/compose.md):
--   docker compose exec postgres psql -qU postgres -f /docker-entrypoint-initdb.d/hub.sql

SET log_statement = 'none';
SET log_min_error_statement = 'panic';  -- no statement that holds the password reaches the log
\set password `cat /run/countersign/database`
SELECT CAST(CASE WHEN length(:'password') < 32 THEN 'no password in /run/countersign/database' ELSE '1' END AS integer) AS found \gset

SELECT 'CREATE ROLE hub' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'hub') \gexec
-- Row-level security binds it, as it would not bind a superuser.
ALTER ROLE hub LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD :'password';
SELECT 'CREATE DATABASE hub OWNER hub ENCODING ''UTF8'' TEMPLATE template0' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'hub') \gexec
REVOKE ALL ON DATABASE hub FROM PUBLIC;
REVOKE CONNECT ON DATABASE postgres FROM PUBLIC;
ALTER ROLE CURRENT_USER PASSWORD NULL;
