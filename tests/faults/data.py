"""Databases that take their time to restore, and none to make."""


def slow_to_restore(seconds):
    """A table whose index takes so many seconds to build when pg_restore builds it: ten rows a second. A superuser who is
    in the copy meanwhile ends that with GO_ON."""
    return f"""
    CREATE FUNCTION slowly(i int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$BEGIN
        IF current_setting('application_name') = 'pg_restore' AND (pg_stat_file('go_on', true)).size IS NULL THEN PERFORM pg_sleep(0.1); END IF;
        RETURN i; END$$;
    CREATE TABLE slow (id int); CREATE INDEX slow_index ON slow (slowly(id)); INSERT INTO slow SELECT generate_series(1, {10 * seconds});"""


GO_ON = "COPY (SELECT 1) TO PROGRAM 'cat >go_on'"  # in the server's data directory
