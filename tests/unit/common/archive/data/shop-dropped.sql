-- A table dropped with all that depends on it: pg<major>-shop-dropped.dump.
\connect shop
DROP TABLE orders CASCADE;
DROP FUNCTION stamp();
