-- The table of accounting.cfg: one row for each recipient that has the message or has finally
-- failed. For SQLite, PostgreSQL and MySQL. The columns are the parameters of the events
-- E_CPM_RECIPIENT_DELIVERED and E_CPM_RECIPIENT_FAILED: code and reason are the recipient's answer,
-- leg_call_id is of the request to it, call_id of the sender's.
--
-- Load it:  sqlite3 -cmd "PRAGMA journal_mode = WAL" /path/cpm-acc.db < cpm-acc.sql
-- (with WAL a reader does not keep the proxy from writing)

CREATE TABLE cpm_acc (
    time TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    leg_call_id VARCHAR(255) NOT NULL,
    recipient VARCHAR(1024) NOT NULL,
    code INTEGER NOT NULL,
    reason VARCHAR(128),
    kind VARCHAR(16),
    mode VARCHAR(16),
    originator VARCHAR(1024),
    recipients INTEGER,
    bytes BIGINT,
    seconds DECIMAL(12, 3),
    message_id VARCHAR(255),
    conversation_id VARCHAR(255),
    contribution_id VARCHAR(255),
    call_id VARCHAR(255),
    icid VARCHAR(255),
    session VARCHAR(64)
);
