-- A shop, as the demo's production database: 14 tables, about 1.2 million rows.
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE SCHEMA shop;
CREATE SCHEMA audit;
SET search_path = shop, public;

CREATE TYPE order_state AS ENUM ('cart', 'paid', 'shipped', 'returned');
CREATE DOMAIN email AS text CHECK (VALUE LIKE '%@%');

CREATE TABLE country (code char(2) PRIMARY KEY, name text NOT NULL);
INSERT INTO country SELECT chr(65 + i / 26) || chr(65 + i % 26), 'Country ' || i FROM generate_series(0, 199) i;

CREATE TABLE customer (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  email email UNIQUE NOT NULL, name text NOT NULL, country char(2) REFERENCES country,
  preferences jsonb NOT NULL DEFAULT '{}', created timestamptz NOT NULL DEFAULT now());
INSERT INTO customer (email, name, country, preferences)
  SELECT 'user' || i || '@example.org', 'User ' || md5(i::text), (SELECT code FROM country OFFSET i % 200 LIMIT 1), jsonb_build_object('theme', i % 3, 'news', i % 2 = 0)
  FROM generate_series(1, 60000) i;
CREATE INDEX customer_name_search ON customer USING gin (name gin_trgm_ops);

CREATE TABLE address (id bigserial PRIMARY KEY, customer bigint NOT NULL REFERENCES customer ON DELETE CASCADE, street text, city text, zip text);
INSERT INTO address (customer, street, city, zip) SELECT 1 + i % 60000, i || ' Main Street', 'City ' || i % 500, lpad((i % 99999)::text, 5, '0') FROM generate_series(1, 80000) i;

CREATE TABLE category (id int PRIMARY KEY, parent int REFERENCES category, name text NOT NULL);
INSERT INTO category SELECT i, nullif(i / 10, 0), 'Category ' || i FROM generate_series(1, 300) i;

CREATE TABLE product (id int PRIMARY KEY, category int REFERENCES category, name text NOT NULL, price numeric(10,2) CHECK (price >= 0),
  gross numeric(12,4) GENERATED ALWAYS AS (price * 1.19) STORED, tags text[], description text);
INSERT INTO product (id, category, name, price, tags, description)
  SELECT i, 1 + i % 300, 'Product ' || i, (i * 37 % 10000) / 100.0, ARRAY['t' || i % 7, 't' || i % 11], repeat(md5(i::text) || ' ', 1 + i % 20) FROM generate_series(1, 20000) i;

CREATE TABLE orders (id bigint NOT NULL, customer bigint NOT NULL REFERENCES customer, state order_state NOT NULL, placed timestamptz NOT NULL, total numeric(12,2),
  PRIMARY KEY (id, placed)) PARTITION BY RANGE (placed);
CREATE TABLE orders_2024 PARTITION OF orders FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE orders_2025 PARTITION OF orders FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE orders_2026 PARTITION OF orders DEFAULT;
INSERT INTO orders SELECT i, 1 + i % 60000, (ARRAY['cart','paid','shipped','returned'])[1 + i % 4]::order_state, '2024-01-01'::timestamptz + i * interval '5 minutes', (i % 50000) / 100.0
  FROM generate_series(1, 250000) i;
CREATE INDEX ON orders (customer, placed DESC);

CREATE TABLE order_line (order_id bigint, placed timestamptz, line int, product int REFERENCES product, quantity int CHECK (quantity > 0),
  PRIMARY KEY (order_id, placed, line), FOREIGN KEY (order_id, placed) REFERENCES orders);
INSERT INTO order_line SELECT id, placed, l, 1 + (id * l) % 20000, 1 + l FROM orders, generate_series(1, 2) l;

CREATE TABLE stock (product int PRIMARY KEY REFERENCES product, amount int NOT NULL) WITH (fillfactor = 60);
INSERT INTO stock SELECT id, id % 100 FROM product;
UPDATE stock SET amount = amount + 1 WHERE product % 3 = 0;

CREATE TABLE audit.log (id bigserial PRIMARY KEY, at timestamptz NOT NULL, who text, what jsonb);
INSERT INTO audit.log (at, who, what) SELECT '2026-01-01'::timestamptz + i * interval '1 minute', 'user' || i % 50, jsonb_build_object('action', i % 9, 'id', i) FROM generate_series(1, 200000) i;

CREATE VIEW revenue AS SELECT date_trunc('month', placed) AS month, sum(total) FROM orders WHERE state IN ('paid', 'shipped') GROUP BY 1;
CREATE MATERIALIZED VIEW best_sellers AS SELECT product, sum(quantity) AS sold FROM order_line GROUP BY product ORDER BY sold DESC LIMIT 100;
CREATE FUNCTION count_stock() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE shop.stock SET amount = amount - NEW.quantity WHERE product = NEW.product; RETURN NEW; END $$;
CREATE TRIGGER count_stock AFTER INSERT ON order_line FOR EACH ROW EXECUTE FUNCTION count_stock();
SELECT lo_from_bytea(0, decode(repeat(md5(i::text), 2000), 'hex')) FROM generate_series(1, 5) i;

CREATE ROLE shop_app;
CREATE ROLE shop_readonly;
GRANT USAGE ON SCHEMA shop TO shop_app, shop_readonly;
GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA shop TO shop_app;
GRANT SELECT ON ALL TABLES IN SCHEMA shop TO shop_readonly;
ALTER TABLE customer ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON customer TO shop_app USING (email = current_user || '@example.org');
ANALYZE;
