"""The database that is measured."""

TABLES = 184
ROWS = 9_200_000


def build(server, scale):
    """Tables of very different sizes, with keys, a second index each, and foreign keys. Nothing to do if it is there
    already, of that scale. Returns the number of rows."""
    total = int(ROWS * scale)
    if server.sql("postgres", f"SELECT 1 FROM pg_database WHERE datname = 'bench' AND shobj_description(oid, 'pg_database') = '{scale}'"):
        return total
    server.create("bench")
    weights = [1.0 / (i + 1) ** 0.9 for i in range(TABLES)]
    unit = total / sum(weights)
    for i, weight in enumerate(weights):
        rows = max(1, int(weight * unit))
        server.sql("bench", f"""
            CREATE TABLE t{i} (id bigint, ref bigint, at timestamptz, amount numeric(12,2), name text, note text);
            INSERT INTO t{i} SELECT n, 1 + n % {rows}, '2024-01-01'::timestamptz + n * interval '7 seconds', (n * 7919 % 1000003) / 100.0,
              'name ' || n % 10007, substr(md5(n::text) || md5((n * 31)::text), 1, 24 + (n % 40)::int) FROM generate_series(1, {rows}::bigint) n;
            ALTER TABLE t{i} ADD PRIMARY KEY (id); CREATE INDEX ON t{i} (at);
            ALTER TABLE t{i} ADD FOREIGN KEY (ref) REFERENCES t{i} (id);""")
    server.sql("bench", "VACUUM ANALYZE")
    server.sql("postgres", f"COMMENT ON DATABASE bench IS '{scale}'")
    return total
