-- The table of group_source "db:postgres://…": one row for each group.
--
-- uri is the group's address in its canonical spelling, such as sip:group@example.com: scheme and
-- host in lower case; a telephone number without visual separators; no parameters except maddr,
-- method, transport, ttl and user; no unnecessary escapes. document is the group document of OMA
-- XDM whose list-service has that address.
--
-- Load it:  psql -d kamailio -f cpm-groups-postgres.sql

CREATE TABLE IF NOT EXISTS version (
    id SERIAL PRIMARY KEY NOT NULL,
    table_name VARCHAR(32) NOT NULL,
    table_version INTEGER DEFAULT 0 NOT NULL,
    CONSTRAINT version_table_name_idx UNIQUE (table_name)
);

CREATE TABLE cpm_group (
    id SERIAL PRIMARY KEY NOT NULL,
    uri VARCHAR(1024) NOT NULL,
    document BYTEA NOT NULL,
    modified TIMESTAMP WITHOUT TIME ZONE DEFAULT CURRENT_TIMESTAMP NOT NULL,
    CONSTRAINT cpm_group_uri_idx UNIQUE (uri)
);

INSERT INTO version (table_name, table_version) VALUES ('cpm_group', 1);
