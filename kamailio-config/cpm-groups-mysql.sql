-- The table of group_source "db:mysql://…": one row for each group.
--
-- uri is the group's address in its canonical spelling, such as sip:group@example.com: scheme and
-- host in lower case; a telephone number without visual separators; no parameters except maddr,
-- method, transport, ttl and user; no unnecessary escapes. document is the group document of OMA
-- XDM whose list-service has that address.
--
-- The user part of an address is case-sensitive, so uri is compared byte by byte. URIs are ASCII.
--
-- Load it:  mysql kamailio < cpm-groups-mysql.sql

CREATE TABLE IF NOT EXISTS `version` (
    `id` INT(10) UNSIGNED AUTO_INCREMENT PRIMARY KEY NOT NULL,
    `table_name` VARCHAR(32) NOT NULL,
    `table_version` INT UNSIGNED DEFAULT 0 NOT NULL,
    CONSTRAINT table_name_idx UNIQUE (`table_name`)
);

CREATE TABLE `cpm_group` (
    `id` INT(10) UNSIGNED AUTO_INCREMENT PRIMARY KEY NOT NULL,
    `uri` VARCHAR(1024) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    `document` MEDIUMBLOB NOT NULL,
    `modified` TIMESTAMP DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP NOT NULL,
    CONSTRAINT uri_idx UNIQUE (`uri`)
);

INSERT INTO `version` (`table_name`, `table_version`) VALUES ('cpm_group', 1);
