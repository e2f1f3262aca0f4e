-- The table of accounting.cfg: one row for each recipient that has the message or has finally
-- failed. For SQLite, PostgreSQL and MySQL.
--
-- The first seven columns are those that the module acc always writes; the others are variables of
-- the module cpm. sip_code and sip_reason are the recipient's answer, callid is that of the request
-- to it, sender_callid that of the sender's.
--
-- Load it:  sqlite3 -cmd "PRAGMA journal_mode = WAL" /path/cpm-acc.db < cpm-acc.sql
-- (with WAL a reader does not keep the proxy from writing)

CREATE TABLE cpm_acc (
    method VARCHAR(16) NOT NULL,
    from_tag VARCHAR(128) NOT NULL,
    to_tag VARCHAR(128),
    callid VARCHAR(255) NOT NULL,
    sip_code VARCHAR(3) NOT NULL,
    sip_reason VARCHAR(128) NOT NULL,
    time TIMESTAMP NOT NULL,
    kind VARCHAR(16),
    mode VARCHAR(16),
    originator VARCHAR(1024),
    recipient VARCHAR(1024),
    recipients INTEGER,
    bytes BIGINT,
    seconds DECIMAL(12, 3),
    message_id VARCHAR(255),
    conversation_id VARCHAR(255),
    contribution_id VARCHAR(255),
    sender_callid VARCHAR(255),
    icid VARCHAR(255),
    session VARCHAR(64)
);
